"""The search for hyper-parameters: what is varied, which settings are tried next, and which trials are stopped."""

from rlmrec_core.search.pruning import Thresholds, Validations, median_thresholds, stopped_at
from rlmrec_core.search.space import Dimension, Space, space_of
from rlmrec_core.search.study import Outcome, Study, Trial

__all__ = [
    "Dimension",
    "Outcome",
    "Space",
    "Study",
    "Thresholds",
    "Trial",
    "Validations",
    "median_thresholds",
    "space_of",
    "stopped_at",
]
