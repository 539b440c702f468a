"""Graph recommenders: a backbone with an alignment, and their training."""

from pathlib import Path

from rlmrec_core.config.registry import DataSize, HyperPreset, Preset, PresetProtocol
from rlmrec_core.config.section import Section
from rlmrec_core.config.training import RunSettings
from rlmrec_core.models.family import FitResult, Inputs, OnEpoch
from rlmrec_core.models.graph.alignments import ALIGNMENT_SETTINGS
from rlmrec_core.models.graph.backbones import backbone_class
from rlmrec_core.models.graph.presets import preset
from rlmrec_core.models.graph.trainer import fit

__all__ = ["FAMILY", "GraphFamily", "fit"]


class GraphFamily:
    """Any backbone with any alignment (RLMRec, figure 2)."""

    def backbone_settings(self, backbone: str) -> type[Section]:
        """What the backbone's class names as its Settings."""
        return backbone_class(backbone).Settings

    def alignment_settings(self, variant: str) -> type[Section] | None:
        """Those of Con, Gen or KAR."""
        return ALIGNMENT_SETTINGS.get(variant)

    def preset(
        self, backbone: str, variant: str, dataset: HyperPreset, protocol: PresetProtocol, size: DataSize | None
    ) -> Preset:
        """RLMRec's values or our own: see `rlmrec_core.models.graph.presets`."""
        return preset(backbone, variant, dataset, protocol, size)

    def files(self, settings: RunSettings) -> dict[str, str]:
        """None."""
        return {}

    def fit(
        self, inputs: Inputs, settings: RunSettings, *, checkpoint: Path | None = None, on_epoch: OnEpoch | None = None
    ) -> FitResult:
        """Train with early stopping: see `rlmrec_core.models.graph.trainer`."""
        return fit(
            inputs.split, settings, inputs.semantic, start=inputs.start, checkpoint=checkpoint, on_epoch=on_epoch
        )


FAMILY = GraphFamily()
