"""How good an order of candidates is, beside the model's own, and what is wrong with the answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rlmrec_core.config.ranking import MetricName
from rlmrec_core.config.rerank import PLACES
from rlmrec_core.ranking.by_user import OF_HITS
from rlmrec_core.ranking.intervals import Interval, bootstrap
from rlmrec_core.ranking.metrics import Float64Array, Hits, find_hits
from rlmrec_core.ranking.significance import holm, wilcoxon
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Edges, Int32Array
from rlmrec_core.tables import ORDER_SCORES

_METRICS: tuple[MetricName, ...] = ("recall", "ndcg")
_KS = (PLACES // 2, PLACES)
_SAMPLES, _SEED = 2_000, 2023
_OWN, _REPAIRED, _STRICT, _ANSWERS = "model", "repaired", "strict", "answers"
"""Whose order a score is of; and what is said of the answers themselves."""


def strict(answer: Sequence[int], candidates: Sequence[int]) -> list[int]:
    """An answer as PLACES items; one that is invented, repeated or missing leaves its place empty (PADDING)."""
    known, found = set(candidates), list[int]()
    for item in answer[:PLACES]:
        found.append(item if item in known else PADDING)
        known.discard(item)
    return found + [PADDING] * (PLACES - len(found))


def repaired(answer: Sequence[int], candidates: Sequence[int]) -> list[int]:
    """The same without empty places: the rest moves up, and the best candidates that it lacks follow."""
    chosen = [item for item in strict(answer, candidates) if item != PADDING]
    found = [*chosen, *(item for item in candidates if item not in set(chosen))][:PLACES]
    return found + [PADDING] * (PLACES - len(found))


class Faults(NamedTuple):
    """What is wrong with one answer, as shares of the places asked for."""

    invented: float
    repeated: float
    missing: float


def faults(answer: Sequence[int], candidates: Sequence[int]) -> Faults:
    """The faults of an answer that holds a list. An item that no candidate has is invented, however often it stands."""
    places, given = min(PLACES, len(candidates)), answer[:PLACES]
    of_candidates = [item for item in given if item in set(candidates)]
    counts = len(given) - len(of_candidates), len(of_candidates) - len(set(of_candidates)), places - len(given)
    return Faults(*(max(count, 0) / places for count in counts))


def scores(answers: pa.Table, test: Edges, n_users: int, n_items: int) -> pa.Table:
    """Recall and NDCG of the first 10 and 20 of every order, and the shares of faulty answers.

    For each number of candidates, over the users who were answered with it: the model's own order, the repaired and the
    strict one, each with its gain over the model's and Wilcoxon's test over users, corrected for all that is compared
    at one metric and k (Holm, 1979). Intervals are the percentile bootstrap's over users.

    Args:
        answers: ORDERS.
        test: What is held out of the users.
        n_users: How many the data have.
        n_items: How many the data have.

    Returns:
        ORDER_SCORES.
    """
    rows: list[dict[str, Any]] = []
    for n in sorted(set(answers["n_candidates"].to_pylist())):
        answered = [row for row in answers.to_pylist() if row["n_candidates"] == n and row["status"] != "unanswered"]
        if answered:
            rows += [
                {"n_candidates": n, "n_users": len(answered), **row}
                for row in _of_number(answered, test, n_users, n_items)
            ]
    tested = {(row["metric"], row["k"]) for row in rows if row["p_wilcoxon"] is not None}
    for metric, k in tested:
        family = {
            place: row["p_wilcoxon"]
            for place, row in enumerate(rows)
            if (row["metric"], row["k"]) == (metric, k) and row["p_wilcoxon"] is not None
        }
        for place, corrected in holm(family).items():
            rows[place]["p_wilcoxon_holm"] = corrected
    return pa.Table.from_pylist(rows, schema=ORDER_SCORES)


def _of_number(
    answered: Sequence[Mapping[str, Any]], test: Edges, n_users: int, n_items: int
) -> Iterator[dict[str, Any]]:
    """The rows of one number of candidates."""
    users = np.array([row["user"] for row in answered])
    own = {
        whose: _by_user(
            np.array([order(row["items"] or (), row["candidates"]) for row in answered], np.int32),
            users,
            test,
            n_users,
            n_items,
        )
        for whose, order in _ORDERS.items()
    }
    reference = own[_OWN]
    for whose, columns in own.items():
        for (metric, k), values in columns.items():
            base = reference[metric, k]
            compared = whose != _OWN
            gain = float(values.mean() / base.mean() - 1) if compared and base.any() else None
            p = wilcoxon([(values, base)]) if compared else None
            yield _row(whose, metric, k, values) | {"gain": gain, "p_wilcoxon": p}
    with_list = [row for row in answered if row["items"] is not None]
    if with_list:
        found = np.array([faults(row["items"], row["candidates"]) for row in with_list])
        for name, values in zip(Faults._fields, found.T, strict=True):
            yield _row(_ANSWERS, name, PLACES, values)
    yield _row(_ANSWERS, "unparseable", PLACES, np.array([float(row["again"]) for row in answered]))
    yield _row(_ANSWERS, "without_list", PLACES, np.array([float(row["items"] is None) for row in answered]))


_ORDERS: Mapping[str, Callable[[Sequence[int], Sequence[int]], list[int]]] = {
    _OWN: lambda answer, candidates: repaired((), candidates),
    _REPAIRED: repaired,
    _STRICT: strict,
}


def _row(whose: str, metric: str, k: int, values: Float64Array) -> dict[str, Any]:
    (found,) = bootstrap(values[:, None], _SAMPLES, _SEED)
    assert isinstance(found, Interval)
    empty = {"gain": None, "p_wilcoxon": None, "p_wilcoxon_holm": None}
    return {"list": whose, "metric": metric, "k": k, **found._asdict(), **empty}


def _by_user(
    lists: Int32Array, users: npt.NDArray[np.int64], test: Edges, n_users: int, n_items: int
) -> dict[tuple[str, int], Float64Array]:
    """Each metric of each user, in the order of the lists. Raises ValueError on a user without a held-out item."""
    ranked = np.full((n_users, PLACES), PADDING, np.int32)
    ranked[users] = lists
    hits = find_hits(ranked, test, n_items)
    place = np.searchsorted(hits.users, users)
    if not len(hits.users) or (hits.users[place.clip(max=len(hits.users) - 1)] != users).any():
        raise ValueError("some of these users have no held-out item: the answers belong to another split")
    own = Hits(users, hits.hit[place], hits.n_held_out[place])
    return {(metric, k): OF_HITS[metric](own, k) for metric in _METRICS for k in _KS}
