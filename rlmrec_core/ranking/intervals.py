"""How sure a measure is that was taken of a sample of users: 95 % intervals."""

from typing import NamedTuple

import numpy as np

from rlmrec_core.config.ranking import EvaluateConfig
from rlmrec_core.ranking.metrics import Float64Array, coverage
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Int32Array

_Z = 1.959964
"""The standard normal distribution has 95 % of its mass between -z and z."""

_CHUNK_DRAWS = 1 << 22
"""Users drawn at once by the bootstrap: 32 MiB."""


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def of_means(columns: Float64Array, config: EvaluateConfig) -> list[Interval | None]:
    """The mean of each column with its interval, by the way that the settings name; None where it has no value at all.

    columns: (n users, m measures), NaN where a user has no value.
    """
    if config.intervals == "bootstrap":
        return bootstrap(columns, config.bootstrap_samples, config.bootstrap_seed)
    known = (column[~np.isnan(column)] for column in columns.T)
    return [of_mean(values) if len(values) else None for values in known]


def of_mean(values: Float64Array) -> Interval:
    """The mean of one value for each user, (n,), by the normal approximation; one user tells no spread."""
    mean = float(values.mean())
    error = _Z * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Interval(mean, mean - error, mean + error)


def bootstrap(columns: Float64Array, samples: int, seed: int) -> list[Interval | None]:
    """The mean of each column by the percentile bootstrap over users (Efron & Tibshirani, 1993, chapter 13).

    Every column sees the same users in every sample, so that the interval of a difference is a paired one. Users
    without a value of a column weigh nothing in it.

    Args:
        columns: (n users, m measures), NaN where a user has no value.
        samples: How often n users are drawn with replacement.
        seed: Of the draws.

    Returns:
        m intervals; None where no user has a value.
    """
    n, width = columns.shape
    rng = np.random.default_rng(seed)
    present = ~np.isnan(columns)
    both = np.concatenate([np.where(present, columns, 0), present], axis=1)
    means = np.empty((samples, width))
    for start in range(0, samples, rows := max(1, _CHUNK_DRAWS // n)):
        size = min(rows, samples - start)
        draws = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(draws.reshape(-1), minlength=size * n).reshape(size, n)
        sums, weights = np.split(counts @ both, 2, axis=1)
        means[start : start + size] = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)
    found: list[Interval | None] = []
    for column, drawn, known in zip(columns.T, means.T, present.T, strict=True):
        if not known.any():
            found.append(None)
            continue
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        found.append(Interval(float(column[known].mean()), float(low), float(high)))
    return found


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
