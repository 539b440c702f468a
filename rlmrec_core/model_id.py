"""Which model something is about, and how people tell models apart."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


class ModelId(NamedTuple):
    """A model: two that differ in any hyper-parameter are two.

    settings: the digest of all its settings but the seed (`RunSettings.model_id`); empty for a baseline.
    """

    backbone: str
    variant: str
    seed: int
    settings: str = ""

    @property
    def label(self) -> str:
        """Backbone and variant; of a baseline, its name."""
        return " ".join(dict.fromkeys((self.backbone, self.variant)))


Settings = Mapping[str, Any]


def labels(settings: Mapping[ModelId, Settings]) -> dict[ModelId, str]:
    """A name for each model: backbone and variant, and what differs where one variant stands with several settings.

    settings: each model's, by dotted name. "lightgcn base n_layers=2" beside "lightgcn base n_layers=3".
    """
    found = {}
    for model, own in settings.items():
        others = [settings[other] for other in settings if other[:2] == model[:2]]
        differing = [name for name in own if any(other.get(name) != own[name] for other in others)]
        found[model] = " ".join([model.label, *(f"{name.rpartition('.')[2]}={own[name]}" for name in differing)])
    return found


def base_of(model: ModelId, settings: Mapping[ModelId, Settings], readers: Collection[ModelId] = ()) -> ModelId | None:
    """The Base that a model is compared with: of its backbone, the one with most values in common.

    Presets give Base and its variants other values here and there, so that none need be equal throughout. The first of
    several wins a tie. A Base that reads text in itself (`readers`) is compared with one that reads none, of LightGCN
    if there is one. None if there is no Base.
    """
    own = settings.get(model, {})
    every = [other for other in settings if other.variant == "base"]
    plain = [other for other in every if other not in readers] if model in readers and model.variant == "base" else []
    bases = [other for other in plain if other.backbone == "lightgcn"] or plain
    bases = bases or [other for other in every if other.backbone == model.backbone]
    if not bases:
        return None
    shared = {base: sum(own.get(name) == value for name, value in settings[base].items()) for base in bases}
    return max(bases, key=lambda base: shared[base])
