"""All-rank evaluation."""

from rlmrec_core.evaluation.evaluate import POPULARITY, ModelName, evaluate, popularity

__all__ = ["POPULARITY", "ModelName", "evaluate", "popularity"]
