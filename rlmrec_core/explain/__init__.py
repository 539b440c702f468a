"""Why an item stands in a list: evidence that can be checked, and a sentence made of it."""

from rlmrec_core.explain.asking import OUTSIDE, Reason, reasons_job, reasons_prompt_digest
from rlmrec_core.explain.evidence import Evidence, evidence
from rlmrec_core.explain.grounding import Catalogue
from rlmrec_core.explain.sentences import sentence

__all__ = [
    "OUTSIDE",
    "Catalogue",
    "Evidence",
    "Reason",
    "evidence",
    "reasons_job",
    "reasons_prompt_digest",
    "sentence",
]
