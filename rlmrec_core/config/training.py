"""Settings of training."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from rlmrec_core.canonical import digest_of
from rlmrec_core.config.device import DEVICE, Device, NamedDevice, kind_of, settled
from rlmrec_core.config.registry import (
    BackboneName,
    DataSize,
    HyperPreset,
    PresetProtocol,
    VariantName,
    alignment_settings,
    backbone_settings,
    family_of,
    preset,
)
from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section, key_fields
from rlmrec_core.model_id import ModelId

AlignedName = Literal["con", "gen", "kar"]
FittedOn = Literal["train", "all"]

# Of a run, and of a form where an empty field leaves the value to the preset.
_PATIENCE = Field(ge=1, description="Validations without a better Recall@20 before training stops")
_WEIGHT_DECAY = Field(ge=0, description="L2 weight lambda on the sum of squares of all parameters")


class SemanticSettings(Section):
    """Hyper-parameters of a backbone that itself reads the semantic vectors, whatever its variant."""

    shuffle: bool = Field(False, description="Control: permute the rows of the semantic vectors that it reads")

    @property
    def reads_semantics(self) -> bool:
        """Whether it does under these settings."""
        return True


class TrainingLoop(Section):
    """What every training has, whatever the model."""

    embedding_size: int = Field(32, ge=1, le=4096, description="Width d of the id embeddings")
    learning_rate: Annotated[float, SearchRange(3e-4, 1e-2, log=True)] = Field(
        1e-3, gt=0, description="Step size of Adam"
    )
    batch_size: int = Field(4096, ge=1, description="Positive pairs per step")
    max_epochs: int = Field(3000, ge=1, description="Upper bound of epochs")
    fixed_epochs: int = Field(100, ge=1, description="Epochs where there is no validation part; max_epochs at most")
    validate_every: int = Field(3, ge=1, description="Epochs between two validations")
    device: Device = DEVICE
    tf32: bool = Field(
        False, description="GPU: operands of float32 products in TF32, ten bits of mantissa; faster, and rounds more"
    )
    cuda_graphs: bool = Field(
        False, description="GPU: start the kernels of a step together, as a CUDA graph; AutoCF's steps vary too much"
    )
    threads: int = Field(1, ge=1, le=64, description="CPU threads; part of the result, since sums are ordered by it")
    noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="False pairs among those it learns from, as a share of the train part: how much a model suffers "
        "(RLMRec, figure 5). Drawn by the model's seed, never from what is held out",
    )
    start_from: str | None = Field(
        None,
        pattern="^[0-9a-f]{12,64}$",
        description="Key of a trained model, or its first twelve digits, whose id embeddings it starts from: those of "
        "the users and items that both know (RLMRec, table 3)",
    )


class RunSettings(TrainingLoop):
    """One model's training with every hyper-parameter settled, and nothing that does not matter to it."""

    backbone: BackboneName = Field(description="The recommender")
    variant: VariantName = Field(description="Base, RLMRec-Con, RLMRec-Gen or KAR")
    seed: int = Field(description="Seed of every random number of the run")
    backbone_settings: SerializeAsAny[Section] = Field(description="The backbone's own hyper-parameters")
    alignment: SerializeAsAny[Section] | None = Field(description="None for Base")
    weight_decay: Annotated[float, _WEIGHT_DECAY, SearchRange(1e-8, 1e-3, log=True)] = 1e-6
    patience: Annotated[int, _PATIENCE] = 5
    fit_on: FittedOn = Field("train", description="The interactions it learns from: train, or those of every part")
    device: NamedDevice = Field("cpu", description="What computes: cpu, cuda or cuda:N")

    @property
    def model_id(self) -> ModelId:
        """Which model this is; the digest covers all that enters the key, but for the seed."""
        fields = {name: value for name, value in key_fields(self).items() if name != "seed"}
        return ModelId(self.backbone, self.variant, self.seed, digest_of(fields)[:8])

    def flat(self) -> dict[str, Any]:
        """All settings but the seed, by dotted name."""
        return dict(_flat(self.model_dump(mode="json", exclude={"seed"}) | {"device": kind_of(self.device)}))

    @property
    def reads_semantics(self) -> bool:
        """Whether training needs the profiles and their vectors."""
        own = self.backbone_settings
        backbone_reads = isinstance(own, SemanticSettings) and own.reads_semantics
        return backbone_reads or self.alignment is not None or family_of(self.backbone).reads_text

    @field_validator("backbone_settings", mode="before")
    @classmethod
    def _of_the_backbone(cls, value: Any, info: ValidationInfo) -> Any:
        return _typed(value, backbone_settings(info.data["backbone"])) if "backbone" in info.data else value

    @field_validator("alignment", mode="before")
    @classmethod
    def _of_the_variant(cls, value: Any, info: ValidationInfo) -> Any:
        if not {"backbone", "variant"} <= info.data.keys():
            return value
        backbone, variant = info.data["backbone"], info.data["variant"]
        if variant not in (offered := family_of(backbone).variants):
            raise ValueError(f"{backbone} has no variant {variant!r}; it has {', '.join(offered)}")
        declared = alignment_settings(backbone, variant)
        if (declared is None) != (value is None):
            raise ValueError(f"variant {variant!r}: alignment settings belong to con, gen and kar, and only to them")
        return None if declared is None else _typed(value, declared)


def _typed(value: Any, declared: type[Section]) -> Section:
    return declared.model_validate(value if isinstance(value, Mapping) else value.model_dump())


class _Overrides:
    """Values by owner and field, of fields that each owner declares beside its code; the UI's form is drawn from there.

    Each owner's class is looked up when a value or the form is wanted, so that reading settings loads no model.
    """

    def __init__(self, owners: tuple[str, ...], declared: Callable[[str], type[Section] | None]) -> None:
        self._owners, self._declared = owners, declared

    def checked(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The values as their owners type them. Raises pydantic.ValidationError on one that an owner does not take."""
        checked = {owner: self._checked(owner, dict(values)) for owner, values in given.items() if values}
        return {owner: values for owner, values in checked.items() if values}

    def _checked(self, owner: str, values: dict[str, Any]) -> dict[str, Any]:
        declared = self._declared(owner)
        assert declared is not None
        if unknown := sorted(values.keys() - declared.model_fields.keys()):
            known = ", ".join(declared.model_fields)
            raise ValueError(f"{owner} has no setting {unknown[0]!r}; it has {known}")
        whole = declared.model_validate({name: value for name, value in values.items() if value is not None})
        return {name: getattr(whole, name) for name in values if values[name] is not None}

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "properties": {owner: self._form(owner) for owner in self._owners}}

    def _form(self, owner: str) -> dict[str, Any]:
        declared = self._declared(owner)
        assert declared is not None
        fields = declared.model_json_schema()["properties"]
        # No default: an empty field takes the preset's value.
        empty = {name: {key: of for key, of in field.items() if key != "default"} for name, field in fields.items()}
        return {"type": "object", "title": owner, "properties": empty}


_OF_BACKBONES = _Overrides(get_args(BackboneName), backbone_settings)
_OF_ALIGNMENTS = _Overrides(get_args(AlignedName), lambda variant: alignment_settings("lightgcn", variant))


class ModelChoice(Section):
    """Which models are trained: one for each backbone, variant and seed."""

    backbones: tuple[BackboneName, ...] = Field(("lightgcn",), min_length=1, description="Recommenders to train")
    variants: tuple[VariantName, ...] = Field(
        ("base", "con", "gen"), min_length=1, description="base, con (RLMRec-Con), gen (RLMRec-Gen) and kar (KAR)"
    )
    seeds: tuple[int, ...] = Field((2023,), min_length=1, description="One model is trained per seed")
    preset: HyperPreset = Field(
        "amazon-book",
        description="Data set whose hyper-parameters are taken; auto: starting values by the size and density of the "
        "data, for those that nobody has searched on",
    )
    protocol: PresetProtocol = Field(
        "tuned",
        description="paper: the values of RLMRec's experiments alone; tuned: ours over them where we searched",
    )


class TrainConfig(TrainingLoop, ModelChoice):
    """What is trained and how (RLMRec, section 4.1.3 and appendix B).

    A hyper-parameter left empty takes the preset's value for its backbone and variant.
    """

    patience: Annotated[int | None, _PATIENCE] = None
    weight_decay: Annotated[float | None, _WEIGHT_DECAY] = None
    backbone_settings: Annotated[dict[BackboneName, dict[str, Any]], _OF_BACKBONES] = Field(
        {}, description="Hyper-parameters of single backbones, e.g. train.backbone_settings.lightgcn.n_layers=2"
    )
    alignment_settings: Annotated[dict[AlignedName, dict[str, Any]], _OF_ALIGNMENTS] = Field(
        {}, description="Settings of con, gen and kar, e.g. train.alignment_settings.con.tau=0.1"
    )
    per_model: dict[BackboneName, dict[VariantName, dict[str, Any]]] = Field(
        {},
        description="Settings of one backbone and variant alone, over all others, e.g. "
        "train.per_model.lightgcn.con.alignment.tau=0.1; best.toml of a search has what it found here",
    )
    grid: dict[str, Annotated[tuple[int | float | bool | str, ...], Field(min_length=1)]] = Field(
        {},
        description="Several values for a setting of this section, e.g. train.grid.learning_rate=[0.001, 0.01]: "
        "one model for each, and for each combination where there are several such settings",
    )

    @field_validator("backbone_settings")
    @classmethod
    def _known_to_the_backbone(cls, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return _OF_BACKBONES.checked(given)

    @field_validator("alignment_settings")
    @classmethod
    def _known_to_the_alignment(cls, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return _OF_ALIGNMENTS.checked(given)

    @field_validator("grid", mode="before")
    @classmethod
    def _dotted(cls, given: Any) -> Any:
        return dict(_flat(given)) if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _names_settings(self) -> Self:
        for _ in self.settings():  # each is checked as it is made
            pass
        for backbone, variants in self.per_model.items():
            for variant in variants:
                self.run(backbone, variant, self.seeds[0])
        return self

    def settings(self) -> Iterator[Self]:
        """These settings with the grid's values in place of it, one after the other; themselves where it is empty.

        Raises pydantic.ValidationError if the grid names no setting, or a value is none for it.
        """
        if not self.grid:
            yield self
            return
        plain = self.model_dump(exclude={"grid"})
        for values in product(*self.grid.values()):
            yield type(self).model_validate(changed(plain, dict(zip(self.grid, values, strict=True))))

    def runs(self, size: DataSize | None = None) -> list[RunSettings]:
        """The models asked for, each once. size: of the data, which the preset auto goes by."""
        found: list[RunSettings] = []
        for config in self.settings():
            for backbone in config.backbones:
                offered = family_of(backbone).variants
                # A backbone that has none of the wanted variants is trained as it is.
                variants = [name for name in config.variants if name in offered] or ["base"]
                for variant, seed in product(variants, config.seeds):
                    run = config.run(backbone, variant, seed, size)
                    found += [] if run in found else [run]
        return found

    def run(self, backbone: BackboneName, variant: VariantName, seed: int, size: DataSize | None = None) -> RunSettings:
        """The settings of one model: the preset's values, under those set here, under those of `per_model`.

        Raises pydantic.ValidationError if together they make no valid run.
        """
        chosen = preset(backbone, variant, self.preset, self.protocol, size)
        left_open = {
            name: value
            for source in (chosen, self)
            for name in ("patience", "weight_decay")
            if (value := getattr(source, name)) is not None
        }
        settings = {
            "backbone": backbone,
            "variant": variant,
            "seed": seed,
            "backbone_settings": _over(chosen.backbone_settings, self.backbone_settings, backbone),
            "alignment": chosen.alignment and _over(chosen.alignment, self.alignment_settings, variant),
        }
        shared = {name: getattr(self, name) for name in TrainingLoop.model_fields}
        shared["device"] = settled(self.device)
        own = self.per_model.get(backbone, {}).get(variant, {})
        return RunSettings.model_validate(changed(settings | left_open | shared, own))


def _over(chosen: Section, given: Mapping[Any, Mapping[str, Any]], owner: str) -> dict[str, Any]:
    return {**chosen.model_dump(), **given.get(owner, {})}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def changed(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of settings with other values in it; names may be dotted, and values may be trees."""
    result = dict(tree)
    for name, value in values.items():
        head, _, rest = name.partition(".")
        inner = result.get(head)
        if rest or isinstance(value, Mapping):
            result[head] = changed(inner if isinstance(inner, Mapping) else {}, {rest: value} if rest else value)
        else:
            result[head] = value
    return result
