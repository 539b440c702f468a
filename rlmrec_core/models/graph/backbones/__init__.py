"""Graph recommenders, one file each, found by name."""

from importlib import import_module
from typing import Any

import torch

from rlmrec_core.config.section import Section
from rlmrec_core.config.training import SemanticSettings
from rlmrec_core.models.graph.backbones.base import Backbone, Batch, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.vectors import SemanticEmbeddings

__all__ = ["Backbone", "Batch", "Step", "backbone_class", "build_backbone"]


def backbone_class(name: str) -> type[Backbone]:
    """The class that `<name>.py` in this folder names as its BACKBONE, imported only when it is wanted."""
    backbone: type[Backbone] = import_module(f"rlmrec_core.models.graph.backbones.{name}").BACKBONE
    return backbone


def build_backbone(
    name: str,
    graph: Graph,
    size: int,
    generator: torch.Generator,
    settings: Section,
    semantic: SemanticEmbeddings | None = None,
) -> Backbone:
    """A backbone with fresh weights.

    settings: of the class's own `Settings`; semantic: vectors for a backbone that reads them, see `SemanticSettings`.
    """
    kind: Any = backbone_class(name)
    read = (semantic,) if issubclass(kind.Settings, SemanticSettings) else ()
    backbone: Backbone = kind(graph, size, generator, settings, *read)
    return backbone
