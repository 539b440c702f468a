"""Training of a backbone with an alignment."""

from rlmrec_core.training.progress import STOPPING_METRIC
from rlmrec_core.training.trainer import EpochRecord, FitResult, TrainingDiverged, fit

__all__ = ["STOPPING_METRIC", "EpochRecord", "FitResult", "TrainingDiverged", "fit"]
