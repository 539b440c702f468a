"""Why an item stands in a list: evidence that can be checked, and a sentence made of it."""

from rlmrec_core.explain.evidence import Evidence, evidence
from rlmrec_core.explain.sentences import sentence

__all__ = ["Evidence", "evidence", "sentence"]
