"""Graph recommenders, one file each, found by name."""

from importlib import import_module

from rlmrec_core.config.training import BackboneName
from rlmrec_core.models.graph.backbones.base import Backbone, Batch, Step

__all__ = ["Backbone", "Batch", "Step", "backbone_class"]


def backbone_class(name: BackboneName) -> type[Backbone]:
    """The class that `<name>.py` in this folder names as its BACKBONE, imported only when it is wanted."""
    backbone: type[Backbone] = import_module(f"rlmrec_core.models.graph.backbones.{name}").BACKBONE
    return backbone
