"""What text adds to any backbone: RLMRec's alignments Con and Gen, KAR's experts, and the absence of all."""

import torch

from rlmrec_core.config.training import RunSettings
from rlmrec_core.models.graph.alignments.base import Alignment, AlignmentSettings, Entry, VariantSettings
from rlmrec_core.models.graph.alignments.contrastive import ContrastiveAlignment, ContrastiveSettings
from rlmrec_core.models.graph.alignments.generative import GenerativeAlignment, GenerativeSettings
from rlmrec_core.models.graph.alignments.knowledge import KnowledgeAugmentation, KnowledgeSettings
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
    "KnowledgeAugmentation",
    "KnowledgeSettings",
    "VariantSettings",
    "build_alignment",
    "entry_size",
]

ALIGNMENT_SETTINGS: dict[str, type[VariantSettings]] = {
    "con": ContrastiveSettings,
    "gen": GenerativeSettings,
    "kar": KnowledgeSettings,
}


def entry_size(settings: RunSettings) -> int:
    """Width of what a run's backbone propagates: its table's, and what KAR puts beside it."""
    beside = settings.alignment.size if isinstance(settings.alignment, KnowledgeSettings) else 0
    return settings.embedding_size + beside


def build_alignment(
    settings: RunSettings, semantic: SemanticEmbeddings | None, size: int, generator: torch.Generator
) -> Alignment:
    """The alignment of a run on a backbone whose nodes have width `size`.

    Raises ValueError if a variant that reads semantic vectors comes without semantic vectors.
    """
    if not isinstance(settings.alignment, VariantSettings):
        return Alignment()
    if semantic is None:
        raise ValueError(
            f"variant {settings.variant!r} needs semantic vectors; run the embed stage, or train base only"
        )
    if settings.alignment.shuffle:
        semantic = semantic.shuffled(settings.seed)
    if isinstance(settings.alignment, ContrastiveSettings):
        return ContrastiveAlignment(semantic, size, settings.alignment, generator)
    if isinstance(settings.alignment, KnowledgeSettings):
        return KnowledgeAugmentation(semantic, settings.alignment, generator)
    assert isinstance(settings.alignment, GenerativeSettings)
    return GenerativeAlignment(semantic, size, settings.embedding_size, settings.alignment, generator)
