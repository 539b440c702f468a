"""RLMRec's alignments, composed with any backbone: Con, Gen, and the absence of both."""

import torch

from rlmrec_core.config.training import RunSettings
from rlmrec_core.models.graph.alignments.base import Alignment, AlignmentSettings, Entry
from rlmrec_core.models.graph.alignments.contrastive import ContrastiveAlignment, ContrastiveSettings
from rlmrec_core.models.graph.alignments.generative import GenerativeAlignment, GenerativeSettings
from rlmrec_core.vectors import SemanticEmbeddings

__all__ = [
    "ALIGNMENT_SETTINGS",
    "Alignment",
    "AlignmentSettings",
    "ContrastiveAlignment",
    "ContrastiveSettings",
    "Entry",
    "GenerativeAlignment",
    "GenerativeSettings",
    "build_alignment",
]

ALIGNMENT_SETTINGS: dict[str, type[AlignmentSettings]] = {"con": ContrastiveSettings, "gen": GenerativeSettings}


def build_alignment(
    settings: RunSettings, semantic: SemanticEmbeddings | None, size: int, generator: torch.Generator
) -> Alignment:
    """The alignment of a run on a backbone whose nodes have width `size`.

    Raises ValueError if an aligned variant comes without semantic vectors.
    """
    if not isinstance(settings.alignment, AlignmentSettings):
        return Alignment()
    if semantic is None:
        raise ValueError(
            f"variant {settings.variant!r} needs semantic vectors; run the embed stage, or train base only"
        )
    if settings.alignment.shuffle:
        semantic = semantic.shuffled(settings.seed)
    if isinstance(settings.alignment, ContrastiveSettings):
        return ContrastiveAlignment(semantic, size, settings.alignment, generator)
    assert isinstance(settings.alignment, GenerativeSettings)
    return GenerativeAlignment(semantic, size, settings.embedding_size, settings.alignment, generator)
