"""How sure a measure is that was taken of a sample of users: 95 % intervals."""

from typing import NamedTuple

import numpy as np

from rlmrec_core.ranking.metrics import Float64Array, coverage
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Int32Array

_Z = 1.959964
"""The standard normal distribution has 95 % of its mass between -z and z."""


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def of_mean(values: Float64Array) -> Interval:
    """The mean of one value for each user, (n,), by the normal approximation; one user tells no spread."""
    mean = float(values.mean())
    error = _Z * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Interval(mean, mean - error, mean + error)


def of_coverage(ranked: Int32Array, k: int, n_items: int) -> Interval:
    """Share of the catalogue in the first k of at least one list, by the jackknife over users (Efron, 1981).

    Without a user, the items go that no other list has. ranked: (n, k or more).
    """
    shown = ranked[:, :k]
    lists = np.bincount(shown[shown != PADDING], minlength=n_items)
    value = coverage(ranked, k, n_items)
    only = ((shown != PADDING) & (lists[shown] == 1)).sum(axis=1) / n_items
    error = _Z * float(np.sqrt((len(shown) - 1) * only.var()))
    return Interval(value, value - error, value + error)
