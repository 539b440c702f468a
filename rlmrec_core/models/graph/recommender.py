"""A backbone composed with an alignment."""

import torch
from torch import Tensor, nn

from rlmrec_core.config.training import RunSettings, SemanticSettings
from rlmrec_core.device import opened
from rlmrec_core.models.graph.alignments import Alignment, build_alignment, entry_size
from rlmrec_core.models.graph.backbones import Backbone, Batch, build_backbone
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.split import Split
from rlmrec_core.vectors import SemanticEmbeddings


class Recommender(nn.Module):
    """What is trained: any backbone with any alignment (RLMRec, figure 2)."""

    def __init__(self, backbone: Backbone, alignment: Alignment) -> None:
        super().__init__()
        self.backbone, self.alignment = backbone, alignment

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The weighted losses of one step by name; their sum is minimised."""
        entry = self.alignment.enter(self.backbone.initial(generator), generator)
        nodes, losses = self.backbone.step(entry.table, batch, generator)
        return losses | self.alignment.losses(nodes, batch, entry)

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        """Users (n_users, D) and items (n_items, D) for ranking by dot product."""
        return self.backbone.sides(self.backbone.encode(self.alignment.whole(self.backbone.initial())))


def build_recommender(split: Split, settings: RunSettings, semantic: SemanticEmbeddings | None) -> Recommender:
    """The model of a run with fresh weights, on the run's device.

    Weights are drawn on the CPU, so that every device starts from the same ones. Raises ValueError on
    settings that do not fit each other, or if the semantic vectors do not fit the split, and DeviceMissing.
    """
    generator, device = torch.Generator().manual_seed(settings.seed), opened(settings.device)
    graph = Graph.from_split(split, device)
    if semantic is not None:
        _check_fit(split, semantic)
    width, own = entry_size(settings), settings.backbone_settings
    backbone = build_backbone(settings.backbone, graph, width, generator, own, _read(settings, semantic))
    if width != settings.embedding_size:
        backbone.draw_table(settings.embedding_size, generator)
    alignment = build_alignment(settings, semantic, backbone.output_size(width), generator)
    return Recommender(backbone, alignment).to(device)


def _read(settings: RunSettings, semantic: SemanticEmbeddings | None) -> SemanticEmbeddings | None:
    """What the backbone itself reads of the vectors; None for one that reads none. Raises ValueError if they lack."""
    own = settings.backbone_settings
    if not isinstance(own, SemanticSettings) or not own.reads_semantics:
        return None
    if semantic is None:
        raise ValueError(f"backbone {settings.backbone!r} needs semantic vectors; run the embed stage")
    return semantic.shuffled(settings.seed) if own.shuffle else semantic


def _check_fit(split: Split, semantic: SemanticEmbeddings) -> None:
    found, expected = (len(semantic.users), len(semantic.items)), (split.n_users, split.n_items)
    if found != expected:
        raise ValueError(
            f"semantic vectors of {found} users and items for a split of {expected}; embed this split anew"
        )
