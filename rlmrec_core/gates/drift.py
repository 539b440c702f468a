"""How a data set changed: distributions and vectors of one run against those of another."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rlmrec_core.gates.figures import Figure
from rlmrec_core.vectors import Float32Array

Float64Array = npt.NDArray[np.float64]
_GROUPS = 10
_LEAST_SHARE = 1e-3
"""Stands for an empty group, whose logarithm there is none of."""


def population_stability(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """Population stability index of counts in the same groups: sum of (q - p) ln(q / p) over the shares p and q.

    Symmetric, 0 where the shares are equal. An empty group counts as a thousandth.
    """
    p, q = (_shares(np.asarray(counts, np.float64)) for counts in (before, after))
    return float(((q - p) * np.log(q / p)).sum())


def _shares(counts: Float64Array) -> Float64Array:
    shares = np.maximum(counts / max(counts.sum(), 1), _LEAST_SHARE)
    found: Float64Array = shares / shares.sum()
    return found


def of_histograms(before: pa.Table, after: pa.Table) -> list[Figure]:
    """The index of each histogram that both have: interactions per user and item, lengths of texts. HISTOGRAMS."""
    old, new = histograms(before), histograms(after)
    return [
        Figure("drift", f"drift of {name}", population_stability(*aligned(old[name], new[name])), "score")
        for name in new
        if name in old
    ]


def of_lengths(what: str, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> Figure:
    """The index of lengths of texts, in bins each twice as wide as the one before it. before, after: (n,)."""
    old, new = (
        np.bincount(np.frexp(lengths.astype(np.float64))[1].clip(0), minlength=32) for lengths in (before, after)
    )
    return Figure("drift", f"drift of the lengths of {what}", population_stability(old, new), "score")


def histograms(table: pa.Table) -> dict[str, dict[float, int]]:
    """Counts by the lower end of their bin, for each name. table: HISTOGRAMS."""
    found: dict[str, dict[float, int]] = {}
    for row in table.to_pylist():
        found.setdefault(row["name"], {})[row["low"]] = row["count"]
    return found


def aligned(before: Mapping[float, int], after: Mapping[float, int]) -> tuple[list[int], list[int]]:
    """The counts of both in all bins that either has."""
    bins = sorted(before.keys() | after.keys())
    return [before.get(low, 0) for low in bins], [after.get(low, 0) for low in bins]


def of_popularity(before: Mapping[str, int], after: Mapping[str, int]) -> Figure:
    """The index of what is popular: items in ten groups of equal weight in the promoted run, new ones in another.

    before, after: interactions by the item's id.
    """
    ranked = sorted(before, key=lambda item: (-before[item], item))
    weight = np.cumsum([before[item] for item in ranked])
    group = {
        item: min(int(_GROUPS * (end - before[item]) / weight[-1]), _GROUPS - 1)
        for item, end in zip(ranked, weight, strict=True)
    }
    old, new = np.zeros(_GROUPS + 1), np.zeros(_GROUPS + 1)
    for counted, counts in ((old, before), (new, after)):
        for item, count in counts.items():
            counted[group.get(item, _GROUPS)] += count
    return Figure("drift", "drift of which items are popular", population_stability(old, new), "score")


def vector_shift(side: str, before: Float32Array, after: Float32Array) -> list[Figure]:
    """Cosine distance of the mean vectors of one side, (n, d) each; zero rows do not count. Empty if sizes differ."""
    if before.shape[1] != after.shape[1]:
        return []
    old, new = (vectors.sum(axis=0, dtype=np.float64) for vectors in (before, after))
    lengths = float(np.linalg.norm(old) * np.linalg.norm(new))
    distance = 1 - float(old @ new) / lengths if lengths > 0 else 0.0
    return [Figure("vector_shift", f"shift of the mean {side} vector", max(distance, 0.0), "score")]
