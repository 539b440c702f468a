"""Users who share no item: does a model that reads text bring those together whose texts are alike? (figure 6)"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from rlmrec_core.experiments.sheet import Bar, Sheet
from rlmrec_core.model_id import ModelId
from rlmrec_core.split import Split
from rlmrec_core.vectors import Float32Array, unit_rows

FAR_NEIGHBOURS = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("backbone", "variant", "settings", "label")),
        pa.field("seed", pa.int64(), nullable=False),
        # Of the sampled users' far neighbours that are nearest by text: the mean rank by the model, and the mean of
        # the rank as a share of all far users, 0.5 where the model knows nothing of them.
        pa.field("users", pa.int32(), nullable=False),
        pa.field("mean_rank", pa.float64(), nullable=False),
        pa.field("mean_share", pa.float64(), nullable=False),
        # The pair of the sample that is most alike by text: the model's cosine of it, and its rank of so many.
        pa.field("case_user", pa.string(), nullable=False),
        pa.field("case_neighbour", pa.string(), nullable=False),
        pa.field("case_text_cosine", pa.float64(), nullable=False),
        pa.field("case_cosine", pa.float64(), nullable=False),
        pa.field("case_rank", pa.float64(), nullable=False),
        pa.field("case_far_users", pa.int32(), nullable=False),
    ]
)
"""Where models rank far neighbours; one row for each seed."""

NEAREST, SAMPLED = 5, 1000
_CHUNK = 256


@dataclass(frozen=True)
class FarNeighbours:
    """Pairs of users more than three hops apart in the train graph, alike by text.

    Attributes:
        users: The sampled users, (n,).
        nearest: Of each, those of the users without a common train item whose texts are nearest, nearest first, as
            numbers, (n, nearest); -1 where there are fewer.
        cosines: Of the texts, (n, nearest).
        seen: Who has which item in train, (n_users, n_items).
    """

    users: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.int64]
    cosines: Float32Array
    seen: sp.csr_matrix

    @classmethod
    def find(
        cls, split: Split, texts: Float32Array, *, seed: int, sampled: int = SAMPLED, nearest: int = NEAREST
    ) -> "FarNeighbours":
        """The far neighbours of a sample of users.

        Users without a train item or without a text neither are sampled nor count as neighbours. Raises ValueError
        where nobody has a far neighbour.

        Args:
            split: The interactions.
            texts: Semantic vectors of the users, (n_users, d).
            seed: Draws the sample.
            sampled: How many users at most.
            nearest: How many neighbours of each.
        """
        shape = (split.n_users, split.n_items)
        pairs = (split.train.user, split.train.item)
        seen = sp.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape)
        can = (np.diff(seen.indptr) > 0) & texts.any(axis=1)
        order = np.random.default_rng(seed).permutation(np.flatnonzero(can))
        unit, found = unit_rows(texts), []
        for start in range(0, min(len(order), sampled), _CHUNK):
            users = order[start : min(start + _CHUNK, sampled)]
            cosines = np.where(_far(seen, users) & can, unit[users] @ unit.T, -np.inf)
            places = np.argsort(-cosines, axis=1, kind="stable")[:, :nearest]
            found.append((users, places, np.take_along_axis(cosines, places, axis=1)))
        users, places, best = (np.concatenate(column) for column in zip(*found, strict=True)) if found else _NOBODY
        some = np.isfinite(best).any(axis=1) if len(users) else np.zeros(0, bool)
        if not some.any():
            raise ValueError("every two users share a train item: nobody has a far neighbour")
        places = np.where(np.isfinite(best), places, -1)
        return cls(users[some], places[some], best[some].astype(np.float32), seen)

    def ranks(self, vectors: Float32Array) -> tuple[Float32Array, Float32Array, npt.NDArray[np.int64]]:
        """Where a model ranks them, by the cosine of its user vectors among all users who share no item.

        vectors: (n_users, D). Returns ranks from 1 on, (n, nearest), NaN where there is no neighbour, equal ones the
        mean of their places; the cosines, (n, nearest); and how many far users there are, (n,).
        """
        unit, ranks, cosines, totals = unit_rows(vectors), [], [], []
        known = np.diff(self.seen.indptr) > 0
        for start in range(0, len(self.users), _CHUNK):
            users, places = self.users[start : start + _CHUNK], self.nearest[start : start + _CHUNK]
            far, scores = _far(self.seen, users) & known, unit[users] @ unit.T
            own = np.take_along_axis(scores, np.maximum(places, 0), axis=1)
            rank = np.empty(places.shape, np.float32)
            for column in range(places.shape[1]):
                wanted = own[:, column, None]
                above, equal = ((scores > wanted) & far).sum(axis=1), ((scores == wanted) & far).sum(axis=1)
                rank[:, column] = above + (equal + 1) / 2
            ranks.append(np.where(places >= 0, rank, np.nan))
            cosines.append(np.where(places >= 0, own, np.nan))
            totals.append(far.sum(axis=1))
        return np.concatenate(ranks), np.concatenate(cosines), np.concatenate(totals)


_NOBODY = (np.zeros(0, np.int64), np.zeros((0, NEAREST), np.int64), np.zeros((0, NEAREST), np.float32))


def _far(seen: sp.csr_matrix, users: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Who shares no item with each of `users`, (len(users), n_users)."""
    far: npt.NDArray[np.bool_] = (seen[users] @ seen.T).toarray() == 0
    return far


def rows_of(
    found: FarNeighbours, models: Mapping[ModelId, Float32Array], labels: Mapping[ModelId, str], user_ids: Sequence[str]
) -> pa.Table:
    """Rows of FAR_NEIGHBOURS; models: their user vectors."""
    case = int(np.argmax(found.cosines[:, 0]))
    user, neighbour = int(found.users[case]), int(found.nearest[case, 0])
    rows = []
    for model, vectors in models.items():
        ranks, cosines, totals = found.ranks(vectors)
        rows.append(
            {
                **model._asdict(),
                "label": labels[model],
                "users": len(found.users),
                "mean_rank": float(np.nanmean(ranks)),
                "mean_share": float(np.nanmean(ranks / totals[:, None])),
                "case_user": user_ids[user],
                "case_neighbour": user_ids[neighbour],
                "case_text_cosine": float(found.cosines[case, 0]),
                "case_cosine": float(cosines[case, 0]),
                "case_rank": float(ranks[case, 0]),
                "case_far_users": int(totals[case]),
            }
        )
    return pa.Table.from_pylist(rows, schema=FAR_NEIGHBOURS)


def sheet(rows: pa.Table) -> Sheet:
    """One line for each model, the mean over its seeds, and the case as the first seed has it."""
    models: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        models.setdefault((row["label"], row["settings"]), []).append(row)
    lines, bars, notes = [], [], []
    for (label, _), seeds in models.items():
        (rank, deviation), (share, _) = (_over(seeds, name) for name in ("mean_rank", "mean_share"))
        spread = "" if deviation is None else f" ± {deviation:.1f}"
        case = seeds[0]
        lines.append(
            [label, f"{rank:,.1f}{spread}", f"{share:.1%}", f"{case['case_cosine']:.4f}", f"{case['case_rank']:,.0f}"]
        )
        bars.append(Bar(label, rank, deviation, is_reference=case["variant"] == "base"))
    if models:
        case = next(iter(models.values()))[0]
        notes = [
            f"Users more than three hops apart have no train item in common. Of each of {case['users']:,} users drawn "
            f"at random, the {NEAREST} such users whose texts are nearest are ranked by the model among all such: the "
            "lower, the nearer the model brings them; one that knows nothing of them ranks them at 50 %.",
            f"The case is the pair of the sample that is most alike by text (cosine {case['case_text_cosine']:.3f}): "
            f"{case['case_user']} and {case['case_neighbour']}, among {case['case_far_users']:,} users.",
        ]
    header = ["model", "mean rank", "of all far users", "cosine of the case", "rank of the case"]
    return Sheet(header, lines, "mean rank of far neighbours that are near by text", bars, notes)


def _over(seeds: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float | None]:
    values = np.array([row[name] for row in seeds])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None
