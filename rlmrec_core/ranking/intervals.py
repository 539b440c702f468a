"""How sure a measure is that was taken of a sample of users: 95 % intervals."""

from typing import NamedTuple

import numpy as np

from rlmrec_core.config.ranking import EvaluateConfig
from rlmrec_core.ranking.metrics import Float64Array, coverage, gini
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Int32Array, Int64Array

_Z = 1.959964
"""The standard normal distribution has 95 % of its mass between -z and z."""

_CHUNK_DRAWS = 1 << 22
"""Users drawn at once by the bootstrap: 32 MiB."""


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def of_means(
    columns: Float64Array, config: EvaluateConfig, weights: Float64Array | None = None
) -> list[Interval | None]:
    """The mean of each column with its interval, by the way that the settings name; None where it has no value at all.

    columns: (n users, m measures), NaN where a user has no value; weights: (n, m) of each value, 0 where there is none;
    without them all weigh alike.
    """
    if config.intervals == "bootstrap":
        return bootstrap(columns, config.bootstrap_samples, config.bootstrap_seed, weights)
    if weights is not None:
        return [of_weighted(column, weight) for column, weight in zip(columns.T, weights.T, strict=True)]
    known = (column[~np.isnan(column)] for column in columns.T)
    return [of_mean(values) if len(values) else None for values in known]


def of_mean(values: Float64Array) -> Interval:
    """The mean of one value for each user, (n,), by the normal approximation; one user tells no spread."""
    mean = float(values.mean())
    error = _Z * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Interval(mean, mean - error, mean + error)


def of_weighted(values: Float64Array, weights: Float64Array) -> Interval | None:
    """The weighted mean of one value for each user, (n,), by the jackknife; None where no user weighs anything."""
    values, weights = values[weights > 0], weights[weights > 0]
    if not len(values):
        return None
    total, whole = values @ weights, weights.sum()
    if len(values) == 1:
        return Interval(float(values[0]), float(values[0]), float(values[0]))
    return _jackknife(float(total / whole), (total - values * weights) / (whole - weights))


def bootstrap(
    columns: Float64Array, samples: int, seed: int, weights: Float64Array | None = None
) -> list[Interval | None]:
    """The mean of each column by the percentile bootstrap over users (Efron & Tibshirani, 1993, chapter 13).

    Every column sees the same users in every sample, so that the interval of a difference is a paired one. Users
    without a value of a column weigh nothing in it.

    Args:
        columns: (n users, m measures), NaN where a user has no value.
        samples: How often n users are drawn with replacement.
        seed: Of the draws.
        weights: (n, m) of each value, 0 where there is none; without them all weigh alike.

    Returns:
        m intervals; None where no user has a value.
    """
    n, width = columns.shape
    rng = np.random.default_rng(seed)
    known = (~np.isnan(columns)).astype(np.float64) if weights is None else weights
    products = np.where(known > 0, columns, 0) * known
    both = np.concatenate([products, known], axis=1)
    means = np.empty((samples, width))
    for start in range(0, samples, rows := max(1, _CHUNK_DRAWS // n)):
        size = min(rows, samples - start)
        draws = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(draws.reshape(-1), minlength=size * n).reshape(size, n)
        sums, wholes = np.split(counts @ both, 2, axis=1)
        means[start : start + size] = np.divide(sums, wholes, out=np.full_like(sums, np.nan), where=wholes > 0)
    found: list[Interval | None] = []
    for product, drawn, weight in zip(products.T, means.T, known.T, strict=True):
        if not weight.any():
            found.append(None)
            continue
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        found.append(Interval(float(product.sum() / weight.sum()), float(low), float(high)))
    return found


def of_coverage(ranked: Int32Array, k: int, n_items: int) -> Interval:
    """Share of the catalogue in the first k of at least one list, by the jackknife over users (Efron, 1981).

    Without a user, the items go that no other list has. ranked: (n, k or more).
    """
    shown = ranked[:, :k]
    lists = np.bincount(shown[shown != PADDING], minlength=n_items)
    value = coverage(ranked, k, n_items)
    only = ((shown != PADDING) & (lists[shown] == 1)).sum(axis=1) / n_items
    return _jackknife(value, value - only)


def of_gini(ranked: Int32Array, k: int, n_items: int) -> Interval:
    """Gini index of the items in the first k (see `metrics.gini`), by the jackknife over users.

    It is half the sum of |t_i - t_j| over all pairs of items, which stand in t lists each, over what it is at most.
    Without a user each of their items is in one list less: closer to those in fewer lists, farther from all others but
    the user's own. ranked: (n, k or more).
    """
    shown = ranked[:, :k]
    there = shown != PADDING
    times = np.bincount(shown[there], minlength=n_items)
    value = gini(ranked, k, n_items)
    left = times.sum() - there.sum(axis=1)
    if n_items < 2 or not left.all():
        return Interval(value, value, value)
    fewer = np.searchsorted(np.sort(times), times[shown])
    apart = ((n_items - 1 - 2 * fewer) * there).sum(axis=1) - 2 * _tied_pairs(np.where(there, times[shown], -1))
    return _jackknife(value, (value * times.sum() * (n_items - 1) + apart) / (left * (n_items - 1)))


def _tied_pairs(times: Int64Array) -> Int64Array:
    """How many pairs of each row's numbers are equal, (n, k) to (n,); -1 stands for none."""
    ordered = np.sort(times, axis=1)
    place = np.broadcast_to(np.arange(ordered.shape[1]), ordered.shape)
    is_new = np.diff(ordered, axis=1, prepend=-2) != 0
    since = np.maximum.accumulate(np.where(is_new, place, 0), axis=1)
    found: Int64Array = ((place - since) * (ordered >= 0)).sum(axis=1)
    return found


def _jackknife(value: float, without: Float64Array) -> Interval:
    """A value with its interval from what it is without each of the users, (n,) (Efron, 1981)."""
    error = _Z * float(np.sqrt((len(without) - 1) * without.var()))
    return Interval(value, value - error, value + error)
