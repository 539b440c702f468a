"""Items and users that no model was trained on: a place for them in its space, and how good that is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from rlmrec_core.ranking.recommender import Recommender
from rlmrec_core.ranking.top_k import PADDING, Ranker, Ranking
from rlmrec_core.split import Edges, Int32Array, Int64Array, Split
from rlmrec_core.tables import COLD_METRICS
from rlmrec_core.vectors import Float32Array, SemanticEmbeddings, Vectors, unit_rows

_ALPHAS = np.logspace(-2, 4, 13)
_NEIGHBOURS = 10
_FEWEST, _MOST = 10, 50_000
"""Items or users with a semantic vector from which a map can be learnt, and of which no more are read."""


class TextMap(NamedTuple):
    """Where a text stands in a model's space. coefficients: (d_s, D); intercept: (D,)."""

    coefficients: Float32Array
    intercept: Float32Array

    @classmethod
    def learn(cls, semantic: Float32Array, vectors: Float32Array, popularity: Int64Array) -> "TextMap | None":
        """The map from what is said of items, or users, to what a model has learnt of them; None of fewer than ten.

        A ridge regression, weighted by the root of how many interactions each has, since what was learnt of a rare one
        is mostly noise. Its strength is chosen by leave-one-out error.

        Args:
            semantic: (n, d_s); rows of zeros are left out.
            vectors: (n, D) that the model learnt.
            popularity: (n,) train interactions.
        """
        from sklearn.linear_model import RidgeCV  # takes a second to load; only this needs it

        known = np.flatnonzero(semantic.any(axis=1))
        if len(known) < _FEWEST:
            return None
        if len(known) > _MOST:
            known = np.sort(np.random.default_rng(0).choice(known, _MOST, replace=False))
        weights = np.sqrt(np.maximum(popularity[known], 1))
        ridge = RidgeCV(alphas=_ALPHAS).fit(semantic[known], vectors[known], sample_weight=weights)
        size = vectors.shape[1]
        return cls(
            np.ascontiguousarray(ridge.coef_.reshape(size, -1).T, np.float32),
            np.broadcast_to(ridge.intercept_, size).astype(np.float32),
        )

    def place(self, semantic: Float32Array) -> Float32Array:
        """The places of semantic vectors, (n, d_s) to (n, D); a row of zeros has none, and stays zero."""
        placed: Float32Array = semantic @ self.coefficients + self.intercept
        placed[~semantic.any(axis=1)] = 0
        return placed


def into_space(
    semantic: Float32Array, vectors: Float32Array, popularity: Int64Array, new: Float32Array
) -> Float32Array:
    """Where new items stand in a model's space, from what is said of them (`TextMap`).

    Args:
        semantic: (n_items, d_s) of the known items.
        vectors: (n_items, D) that the model learnt.
        popularity: (n_items,) train interactions.
        new: (n_new, d_s) semantic vectors of the new items.

    Returns:
        (n_new, D); zeros where there is nothing to learn from.
    """
    learnt = TextMap.learn(semantic, vectors, popularity)
    return np.zeros((len(new), vectors.shape[1]), np.float32) if learnt is None else learnt.place(new)


def best_new(users: Float32Array, placed: Float32Array, k: int) -> Ranking:
    """The k best of the new items for each user; an item that has no place stands in no list.

    users: (n_users, d); placed: (n_new, d).
    """
    nothing = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32))
    here = np.flatnonzero(placed.any(axis=1)).astype(np.int32)
    if not len(here):
        return Ranking(np.full((len(users), k), PADDING, np.int32), np.full((len(users), k), -np.inf, np.float32))
    items = torch.from_numpy(placed[here])
    ranked, scores = Ranker(len(users), nothing).rank(torch.from_numpy(np.ascontiguousarray(users)), items, k)
    places = ranked.int().numpy()
    return Ranking(np.where(places == PADDING, PADDING, here[places]), scores.numpy())


class ColdItems(NamedTuple):
    """Held-out items, and who took them.

    vectors: (n_cold, d_s) semantic ones; user, item: (n,) users that the models know, and places in `vectors`.
    """

    vectors: Float32Array
    user: Int32Array
    item: Int32Array


def measure_items(
    split: Split,
    cold: ColdItems,
    models: Mapping[str, Vectors],
    semantic: SemanticEmbeddings,
    ks: Sequence[int],
) -> pa.Table:
    """Recall among the held-out items alone, for the users who took some: rows of COLD_METRICS.

    Beside the models stand `semantic`, which ranks by the text alone, `popularity`, which takes the mean popularity of
    an item's ten nearest by text, and `random`, what chance reaches.
    """
    popularity = split.train_popularity()
    nearest = best_new(unit_rows(cold.vectors), unit_rows(semantic.items), _NEIGHBOURS).items
    crowd = np.ma.masked_array(popularity[nearest], nearest == PADDING).mean(axis=1).filled(0).astype(np.float32)
    compared = {
        label: (vectors.users, into_space(semantic.items, vectors.items, popularity, cold.vectors))
        for label, vectors in models.items()
    }
    compared |= {
        "semantic": (unit_rows(semantic.users), unit_rows(cold.vectors)),
        "popularity": (np.ones((split.n_users, 1), np.float32), crowd[:, None]),
    }
    order = np.argsort(cold.user, kind="stable")
    users, starts = np.unique(cold.user[order], return_index=True)
    relevant = [set(taken.tolist()) for taken in np.split(cold.item[order], starts[1:])]
    rows = []
    for label, (sides, placed) in compared.items():
        ranked = best_new(sides[users], placed, max(ks)).items
        rows += [("items", label, k, _recall(ranked[:, :k], relevant), len(users)) for k in ks]
    rows += [("items", "random", k, min(1.0, k / max(len(cold.vectors), 1)), len(users)) for k in ks]
    return _table(rows)


def measure_users(
    split: Split, histories: Sequence[npt.NDArray[np.integer]], models: Mapping[str, Vectors], ks: Sequence[int]
) -> pa.Table:
    """Recall for held-out users, folded in from the first half of what they took: rows of COLD_METRICS.

    histories: the items of each, by number and in time's order where times are known; those with fewer than two are
    left out. The second half is what is looked for.
    """
    halves = [(items[: len(items) // 2], items[len(items) // 2 :]) for items in histories if len(items) > 1]
    relevant = [set(later.tolist()) for _, later in halves]
    rows = []
    compared = {label: Recommender(vectors, split.train) for label, vectors in models.items()}
    popular = np.argsort(-split.train_popularity(), kind="stable")
    for label, recommender in compared.items():
        ranked = [recommender.for_items(first.tolist(), max(ks)).items for first, _ in halves]
        rows += [("users", label, k, _recall([row[:k] for row in ranked], relevant), len(halves)) for k in ks]
    ranked = [popular[~np.isin(popular, first)][: max(ks)] for first, _ in halves]
    rows += [("users", "popularity", k, _recall([row[:k] for row in ranked], relevant), len(halves)) for k in ks]
    return _table(rows)


def _recall(ranked: Sequence[npt.NDArray[np.integer]] | Int32Array, relevant: Sequence[set[int]]) -> float:
    shares = [len(set(row.tolist()) & wanted) / len(wanted) for row, wanted in zip(ranked, relevant, strict=True)]
    return float(np.mean(shares)) if shares else 0.0


def _table(rows: Sequence[tuple[str, str, int, float, int]]) -> pa.Table:
    columns: Iterator[tuple[object, ...]] = zip(*rows, strict=True) if rows else iter([()] * len(COLD_METRICS))
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, COLD_METRICS, strict=True)], schema=COLD_METRICS
    )
