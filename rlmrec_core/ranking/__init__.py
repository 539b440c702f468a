"""Top-K lists, their measures and their significance, and the baselines beside them."""

from rlmrec_core.ranking.evaluate import BASELINES, SEMANTIC_ONLY, evaluate, measure, popularity, semantic_only
from rlmrec_core.ranking.findings import findings
from rlmrec_core.ranking.item_based import EASE, ITEM_KNN, ease_left_out
from rlmrec_core.ranking.significance import significance

__all__ = [
    "BASELINES",
    "EASE",
    "ITEM_KNN",
    "SEMANTIC_ONLY",
    "ease_left_out",
    "evaluate",
    "findings",
    "measure",
    "popularity",
    "semantic_only",
    "significance",
]
