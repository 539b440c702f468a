"""Top-K lists, their measures and their significance, and the baselines beside them."""

from rlmrec_core.ranking.evaluate import BASELINES, SEMANTIC_ONLY, evaluate, measure, popularity, semantic_only
from rlmrec_core.ranking.significance import significance

__all__ = ["BASELINES", "SEMANTIC_ONLY", "evaluate", "measure", "popularity", "semantic_only", "significance"]
