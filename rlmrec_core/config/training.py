"""Settings of the stages that learn and rank: train, evaluate and recommend."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rlmrec_core.config.presets import HyperPreset, Protocol, Value, hyper_parameters
from rlmrec_core.config.section import Section

# The registry of backbones: a name here is a file of that name in rlmrec_core/models/graph/backbones.
BackboneName = Literal["lightgcn", "gccf", "sgl", "simgcl", "dccf", "autocf"]
VariantName = Literal["base", "con", "gen"]


class AlignmentSettings(Section):
    """How collaborative vectors are aligned with semantic ones (RLMRec, section 3.3)."""

    weight: float = Field(ge=0, description="Weight of the alignment loss")
    tau: float = Field(ge=0.03, description="Temperature of the alignment loss")
    mask_ratio: float | None = Field(None, gt=0, lt=1, description="Gen: share of nodes whose embedding is masked")
    in_batch: bool | None = Field(None, description="Con: contrast users within the batch, not with all users")
    shuffle: bool = Field(False, description="Control: permute the rows of the semantic vectors")
    bf16: bool = Field(False, description="Large products of the alignment in bfloat16")


class RunSettings(Section):
    """One model's training with every hyper-parameter settled, and nothing that does not matter to it."""

    backbone: BackboneName = Field(description="Graph recommender")
    variant: VariantName = Field(description="Base, RLMRec-Con or RLMRec-Gen")
    seed: int = Field(description="Seed of every random number of the run")
    hyper: dict[str, Value] = Field(description="The backbone's own hyper-parameters")
    alignment: AlignmentSettings | None = Field(description="None for Base")
    embedding_size: int = Field(32, ge=1, description="Width d of the id embeddings")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam")
    weight_decay: float = Field(ge=0, description="L2 weight lambda on the sum of squares of all parameters")
    batch_size: int = Field(4096, ge=1, description="Positive pairs per step")
    max_epochs: int = Field(3000, ge=1, description="Upper bound of epochs")
    validate_every: int = Field(3, ge=1, description="Epochs between two validations")
    patience: int = Field(5, ge=1, description="Validations without a better Recall@20 before training stops")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where tensors live")
    threads: int = Field(1, ge=1, description="CPU threads")

    @model_validator(mode="after")
    def _variant_has_its_alignment(self) -> Self:
        if (self.variant == "base") != (self.alignment is None):
            raise ValueError(f"variant {self.variant!r}: alignment settings belong to con and gen, and only to them")
        if self.alignment and (self.variant == "gen") != (self.alignment.mask_ratio is not None):
            raise ValueError(f"variant {self.variant!r}: a mask ratio belongs to gen, and only to it")
        if self.alignment and (self.variant == "con") != (self.alignment.in_batch is not None):
            raise ValueError(f"variant {self.variant!r}: in_batch belongs to con, and only to it")
        return self


class TrainConfig(Section):
    """What is trained and how (RLMRec, section 4.1.3 and appendix B).

    A hyper-parameter left empty takes the preset's value for its backbone and variant.
    """

    backbones: tuple[BackboneName, ...] = Field(("lightgcn",), min_length=1, description="Graph recommenders to train")
    variants: tuple[VariantName, ...] = Field(
        ("base", "con", "gen"), min_length=1, description="Base, RLMRec-Con, RLMRec-Gen"
    )
    seeds: tuple[int, ...] = Field((2023,), min_length=1, description="One model is trained per seed")
    preset: HyperPreset = Field("amazon-book", description="Data set whose hyper-parameters are taken")
    protocol: Protocol = Field(
        "tuned",
        description="paper: the values of RLMRec's experiments alone; tuned: ours over them where we searched",
    )
    embedding_size: int = Field(32, ge=1, le=4096, description="Width d of the id embeddings")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam")
    batch_size: int = Field(4096, ge=1, description="Positive pairs per step")
    max_epochs: int = Field(3000, ge=1, description="Upper bound of epochs")
    validate_every: int = Field(3, ge=1, description="Epochs between two validations")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where tensors live")
    threads: int = Field(1, ge=1, le=64, description="CPU threads; part of the result, since sums are ordered by it")
    patience: int | None = Field(None, ge=1, description="Validations without a better Recall@20 before training stops")
    n_layers: int | None = Field(None, ge=1, le=8, description="Propagation layers L")
    weight_decay: float | None = Field(
        None, ge=0, description="L2 weight lambda on the sum of squares of all parameters"
    )
    align_weight: float | None = Field(None, ge=0, description="Weight of the alignment loss")
    align_tau: float | None = Field(None, ge=0.03, description="Temperature of the alignment loss")
    mask_ratio: float | None = Field(None, gt=0, lt=1, description="Gen: share of nodes whose embedding is masked")
    align_in_batch: bool | None = Field(
        None, description="Con: contrast users within the batch (the paper's text), not with all (its experiments)"
    )
    shuffle_semantics: bool = Field(False, description="Control: permute the rows of the semantic vectors")
    align_bf16: bool = Field(
        False,
        description="Large products of the alignment in bfloat16: several times faster on GPUs and on CPUs with AMX, "
        "twice with AVX-512 BF16, slower elsewhere; only rounding differs",
    )
    backbone_settings: dict[BackboneName, dict[str, Value]] = Field(
        {}, description="Hyper-parameters of single backbones, e.g. train.backbone_settings.lightgcn.edge_keep=0.9"
    )

    def run(self, backbone: BackboneName, variant: VariantName, seed: int) -> RunSettings:
        """The settings of one model: the preset's values, under those set here.

        Raises pydantic.ValidationError if together they make no valid run.
        """
        chosen = hyper_parameters(self.preset, backbone, variant, self.protocol)
        own = {name: getattr(self, name) for name in _OVERRIDES}
        chosen |= {name: value for name, value in own.items() if value is not None}
        chosen |= self.backbone_settings.get(backbone, {})
        align = {name: chosen.pop(key, None) for name, key in _ALIGNMENT.items()}
        return RunSettings(
            backbone=backbone,
            variant=variant,
            seed=seed,
            weight_decay=chosen.pop("weight_decay"),
            patience=chosen.pop("patience"),
            hyper=dict(sorted(chosen.items())),
            alignment=self._alignment(variant, align),
            **{name: getattr(self, name) for name in _SHARED},
        )

    def _alignment(self, variant: VariantName, values: dict[str, Value | None]) -> AlignmentSettings | None:
        if variant == "base":
            return None
        foreign = {"con": "mask_ratio", "gen": "in_batch"}[variant]
        own = {foreign: None, "shuffle": self.shuffle_semantics, "bf16": self.align_bf16}
        return AlignmentSettings.model_validate({**values, **own})


_OVERRIDES = ("patience", "n_layers", "weight_decay", "align_weight", "align_tau", "mask_ratio", "align_in_batch")
_ALIGNMENT = {"weight": "align_weight", "tau": "align_tau", "mask_ratio": "mask_ratio", "in_batch": "align_in_batch"}
_SHARED = (
    "embedding_size",
    "learning_rate",
    "batch_size",
    "max_epochs",
    "validate_every",
    "device",
    "threads",
)


class EvaluateConfig(Section):
    """All-rank evaluation (RLMRec, section 4.1.2)."""

    ks: tuple[int, ...] = Field(
        (5, 10, 20), min_length=1, title="List lengths", description="How long the lists are that every metric looks at"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where scores are computed")
    threads: int = Field(1, ge=1, le=64, description="CPU threads")


class RecommendConfig(Section):
    """Top-K lists for every user."""

    k: int = Field(20, ge=1, le=1000, title="List length", description="How many items each user gets")
    variant: Literal["best", "base", "con", "gen"] = Field(
        "best", description="Which model writes the lists; best: the one with the highest validation Recall@20"
    )
    exclude: Literal["train", "all"] = Field(
        "train", description="Known interactions left out: train only, or every part"
    )
