"""CLLM4Rec (Zhu et al., WWW 2024): a language model with tokens of users and items."""

from pathlib import Path

from rlmrec_core.config.registry import DataSize, HyperPreset, Preset, PresetProtocol
from rlmrec_core.config.section import Section
from rlmrec_core.config.training import RunSettings
from rlmrec_core.models.cllm4rec.documents import Texts
from rlmrec_core.models.cllm4rec.settings import CLLM4RecRun, CLLM4RecSettings, folder_digest
from rlmrec_core.models.family import FitResult, Inputs, OnEpoch

__all__ = ["FAMILY", "CLLM4RecFamily", "CLLM4RecSettings", "Texts"]


class CLLM4RecFamily:
    """One model, whose documents are made of the train part and of the profiles."""

    def backbone_settings(self, backbone: str) -> type[Section]:
        """Its only settings."""
        return CLLM4RecSettings

    def alignment_settings(self, variant: str) -> type[Section] | None:
        """It has none."""
        return None

    def preset(
        self, backbone: str, variant: str, dataset: HyperPreset, protocol: PresetProtocol, size: DataSize | None
    ) -> Preset:
        """The defaults, whatever the data set."""
        return Preset(CLLM4RecSettings())

    def files(self, settings: RunSettings) -> dict[str, str]:
        """The model's folder, where a folder is the trunk."""
        digest = folder_digest(getattr(settings.backbone_settings, "model", None))
        return {"model": digest} if digest else {}

    def fit(
        self, inputs: Inputs, settings: RunSettings, *, checkpoint: Path | None = None, on_epoch: OnEpoch | None = None
    ) -> FitResult:
        """Train in phases: see `rlmrec_core.models.cllm4rec.training`."""
        from rlmrec_core.models.cllm4rec.training import fit  # transformers takes seconds to load

        if inputs.start is not None:
            raise ValueError("cllm4rec has no id table that start_from could fill: leave it out, or train others")
        if inputs.texts is None:
            raise ValueError("cllm4rec reads profiles and reviews: run it in the pipeline, or hand it a TrainCorpus")
        own = CLLM4RecRun.model_fields.keys() - CLLM4RecSettings.model_fields.keys()
        shared = {name: getattr(settings, name) for name in own}
        run = CLLM4RecRun.model_validate({**settings.backbone_settings.model_dump(), **shared})
        texts = Texts.of(inputs.texts, inputs.item_profiles, inputs.user_profiles)
        return fit(inputs.split, run, texts, inputs.semantic, checkpoint=checkpoint, on_epoch=on_epoch)


FAMILY = CLLM4RecFamily()
