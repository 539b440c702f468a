"""CLLM4Rec (Zhu et al., WWW 2024): a language model with tokens of users and items."""

from rlmrec_core.models.cllm4rec.documents import Texts
from rlmrec_core.models.cllm4rec.settings import CLLM4RecSettings
from rlmrec_core.models.cllm4rec.training import fit
from rlmrec_core.models.cllm4rec.trunk import UnusableTrunk

__all__ = ["CLLM4RecSettings", "Texts", "UnusableTrunk", "fit"]
