"""What ranks: families of models, each behind the same door."""

from rlmrec_core.models.family import (
    EpochRecord,
    Family,
    FitResult,
    Inputs,
    OnEpoch,
    TrainingDiverged,
    files,
    fit,
    learnt_from,
)
from rlmrec_core.models.progress import STOPPING_METRIC

__all__ = [
    "STOPPING_METRIC",
    "EpochRecord",
    "Family",
    "FitResult",
    "Inputs",
    "OnEpoch",
    "TrainingDiverged",
    "files",
    "fit",
    "learnt_from",
]
