"""Starting values for data that nobody has searched on yet, from their size and density alone."""

from rlmrec_core.config.registry import DataSize, Preset
from rlmrec_core.models.graph.alignments import ContrastiveSettings, GenerativeSettings, KnowledgeSettings
from rlmrec_core.models.graph.backbones import backbone_class

# Between the data sets whose settings were searched on; for whoever asks before the data are there.
_USUAL = DataSize(10_000, 10_000, 200_000)
_MANY_NODES = 10_000
"""Of one side: above, a contrast with all of them costs more than everything else."""


def auto(backbone: str, variant: str, size: DataSize | None) -> Preset:
    """What a search would begin with on data of this size; size: None where it is not known yet."""
    size = size or _USUAL
    weight_decay = 1e-6
    large = max(size.n_users, size.n_items) > _MANY_NODES
    settings = backbone_class(backbone).Settings()
    alignment = {
        "con": ContrastiveSettings(in_batch=large),
        "gen": GenerativeSettings(weight=0.01, mask_ratio=0.05),
        "kar": KnowledgeSettings(),
    }
    return Preset(settings, alignment.get(variant), weight_decay=weight_decay)
