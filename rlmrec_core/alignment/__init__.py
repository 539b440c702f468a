"""RLMRec's alignments, composed with any backbone: Con, Gen, and the absence of both."""

import torch

from rlmrec_core.alignment.base import Alignment, Entry, Semantic
from rlmrec_core.alignment.contrastive import ContrastiveAlignment
from rlmrec_core.alignment.generative import GenerativeAlignment
from rlmrec_core.config.training import RunSettings

__all__ = ["Alignment", "ContrastiveAlignment", "Entry", "GenerativeAlignment", "Semantic", "build_alignment"]


def build_alignment(
    settings: RunSettings, semantic: Semantic | None, size: int, generator: torch.Generator
) -> Alignment:
    """The alignment of a run on a backbone whose nodes have width `size`.

    Raises ValueError if an aligned variant comes without semantic vectors.
    """
    if settings.alignment is None:
        return Alignment()
    if semantic is None:
        raise ValueError(
            f"variant {settings.variant!r} needs semantic vectors; run the embed stage, or train base only"
        )
    if settings.alignment.shuffle:
        semantic = semantic.shuffled(settings.seed)
    if settings.variant == "con":
        return ContrastiveAlignment(semantic, size, settings.alignment, generator)
    return GenerativeAlignment(semantic, size, settings.embedding_size, settings.alignment, generator)
