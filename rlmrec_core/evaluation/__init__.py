"""All-rank evaluation, and the baselines beside it."""

from rlmrec_core.evaluation.baselines import BASELINES, SEMANTIC_ONLY, ModelName, popularity, semantic_only
from rlmrec_core.evaluation.evaluate import evaluate
from rlmrec_core.evaluation.significance import significance

__all__ = ["BASELINES", "SEMANTIC_ONLY", "ModelName", "evaluate", "popularity", "semantic_only", "significance"]
