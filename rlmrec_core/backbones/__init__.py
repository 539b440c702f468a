"""Graph recommenders, one file each, found by name."""

from importlib import import_module

from rlmrec_core.backbones.base import Backbone, Batch, Step
from rlmrec_core.config.training import BackboneName

__all__ = ["Backbone", "Batch", "Step", "backbone_class"]


def backbone_class(name: BackboneName) -> type[Backbone]:
    """The class that `rlmrec_core/backbones/<name>.py` names as its BACKBONE; importing it waits until it is wanted."""
    backbone: type[Backbone] = import_module(f"rlmrec_core.backbones.{name}").BACKBONE
    return backbone
