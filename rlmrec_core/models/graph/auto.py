"""Starting values for data that nobody has searched on yet, from their size and density alone."""

from typing import Any

from rlmrec_core.config.registry import DataSize, Preset
from rlmrec_core.models.graph.alignments import ContrastiveSettings, GenerativeSettings, KnowledgeSettings
from rlmrec_core.models.graph.backbones import backbone_class

_USUAL = DataSize(10_000, 10_000, 200_000)
"""For whoever asks before the data are there."""
_DECAY = {"sgl": 0.2, "simgcl": 0.2, "dccf": 2.0}
_USUAL_DECAY = 0.02
"""Weight decay times the number of nodes."""
_PATIENCE = 10
"""Validations of few users rise by fits and starts: with five of patience, chance decides where training stops."""
_MANY = 10_000
"""Users, or items, above which a contrast with all of them costs more than everything else."""
_DROPOUT_OF_MANY = 0.2
"""Of Weft's free vectors, where a step's softmax is over a part of the items: it learns fewer of them by heart."""
_DENSE = 50.0
"""Interactions of a node above which its neighbours' neighbours are nearly everybody."""


def auto(backbone: str, variant: str, size: DataSize | None) -> Preset:
    """What a search would begin with on data of this size; size: None where it is not known yet.

    The loss is a mean over pairs, of which a node has a share of about 1 / n_nodes, while the decay of each node's
    vector is whole: so the weight decay that means the same everywhere is inverse to the number of nodes. The factor is
    that of the settings which the paper and our own searches found on data of 1,000 to 30,000 nodes.
    """
    size = size or _USUAL
    large = max(size.n_users, size.n_items) > _MANY
    n_nodes = max(size.n_users + size.n_items, 1)
    decay = float(f"{_DECAY.get(backbone, _USUAL_DECAY) / n_nodes:.1e}")
    alignment = {
        "con": ContrastiveSettings(weight=0.01, tau=0.2, in_batch=large),
        "gen": GenerativeSettings(weight=0.01, tau=0.2, mask_ratio=0.05),
        "kar": KnowledgeSettings(),
    }
    return Preset(_of_backbone(backbone, size, large), alignment.get(variant), decay, _PATIENCE)


def _of_backbone(backbone: str, size: DataSize, large: bool) -> Any:
    declared = backbone_class(backbone).Settings
    values: dict[str, Any] = {}
    if backbone in ("lightgcn", "sgl", "simgcl"):
        values["n_layers"] = 2 if size.per_node > _DENSE else 3
    if "cl_in_batch" in declared.model_fields:
        values["cl_in_batch"] = large
    if backbone == "weft" and size.n_items > _MANY:
        values["dropout"] = _DROPOUT_OF_MANY
    return declared(**values)
