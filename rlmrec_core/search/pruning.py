"""Median pruning: a trial is stopped that is worse than half of the finished ones were at the same epoch."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Validations = Mapping[int, float]
"""The metric of a training by the epoch it was measured after, in ascending order."""
Thresholds = tuple[tuple[int, float], ...]
"""Epochs in ascending order, and what a trial must have reached from each on; empty: it is never stopped.

They are settled before a trial begins, so that its result depends on nothing that happens beside it.
"""
ENOUGH = 4
"""Finished trials that a median is taken of."""


def median_thresholds(finished: Sequence[Validations], spared: int) -> Thresholds:
    """The median of what finished trials had reached at each epoch; one that ended before keeps its best.

    spared: the validations that every trial may have before the first threshold.
    """
    if len(finished) < ENOUGH:
        return ()
    epochs = sorted({epoch for validations in finished for epoch in list(validations)[spared:]})
    levels = np.median([_reached(validations, epochs) for validations in finished], axis=0)
    rises = [at for at in range(len(epochs)) if not at or levels[at] > levels[at - 1]]
    return tuple((epochs[at], float(levels[at])) for at in rises)


def stopped_at(validations: Validations, thresholds: Thresholds) -> int | None:
    """The epoch at whose validation a trial is stopped; None: at none."""
    if not thresholds or not validations:
        return None
    epochs = list(validations)
    firsts, levels = zip(*thresholds, strict=True)
    asked = np.searchsorted(firsts, epochs, side="right") - 1
    below = (asked >= 0) & (_reached(validations, epochs) < np.array(levels)[asked])
    return epochs[int(below.argmax())] if below.any() else None


def _reached(validations: Validations, epochs: Sequence[int]) -> npt.NDArray[np.float64]:
    """The best value up to each of the epochs; 0 before the first validation."""
    best = np.maximum.accumulate([0.0, *validations.values()])
    found: npt.NDArray[np.float64] = best[np.searchsorted(list(validations), epochs, side="right")]
    return found
