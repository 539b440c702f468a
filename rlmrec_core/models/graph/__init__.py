"""Graph recommenders: a backbone with an alignment, and their training."""

from rlmrec_core.models.graph.trainer import EpochRecord, FitResult, TrainingDiverged, fit
from rlmrec_core.models.progress import STOPPING_METRIC

__all__ = ["STOPPING_METRIC", "EpochRecord", "FitResult", "TrainingDiverged", "fit"]
