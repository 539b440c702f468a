"""Settings of the stages that learn and rank: train, evaluate and recommend."""

from typing import Literal

from pydantic import Field

from rlmrec_core.config.section import Section

BackboneName = Literal["lightgcn"]
VariantName = Literal["base", "con", "gen"]
HyperPreset = Literal["amazon-book", "yelp", "steam", "movielens", "sample"]


class TrainConfig(Section):
    """What is trained and how (RLMRec, section 4.1.3 and appendix B).

    A hyper-parameter left empty takes the preset's value for its backbone and variant.
    """

    backbones: tuple[BackboneName, ...] = Field(("lightgcn",), min_length=1, description="Graph recommenders to train")
    variants: tuple[VariantName, ...] = Field(("base", "con", "gen"), min_length=1, description="Base, RLMRec-Con, RLMRec-Gen")
    seeds: tuple[int, ...] = Field((2023,), min_length=1, description="One model is trained per seed")
    preset: HyperPreset = Field("amazon-book", description="Data set whose hyper-parameters are taken")
    embedding_size: int = Field(32, ge=1, le=4096, description="Width d of the id embeddings")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam")
    batch_size: int = Field(4096, ge=1, description="Positive pairs per step")
    max_epochs: int = Field(3000, ge=1, description="Upper bound of epochs")
    validate_every: int = Field(3, ge=1, description="Epochs between two validations")
    patience: int = Field(5, ge=1, description="Validations without a better Recall@20 before training stops")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where tensors live")
    threads: int = Field(1, ge=1, le=64, description="CPU threads; part of the result, since sums are ordered by it")
    n_layers: int | None = Field(None, ge=1, le=8, description="Propagation layers L")
    weight_decay: float | None = Field(None, ge=0, description="L2 weight lambda on the sum of squares of all parameters")
    align_weight: float | None = Field(None, ge=0, description="Weight of the alignment loss")
    align_tau: float | None = Field(None, gt=0, description="Temperature of the alignment loss")
    mask_ratio: float | None = Field(None, gt=0, lt=1, description="Gen: share of nodes whose embedding is masked")
    shuffle_semantics: bool = Field(False, description="Control: permute the rows of the semantic vectors")


class EvaluateConfig(Section):
    """All-rank evaluation (RLMRec, section 4.1.2)."""

    ks: tuple[int, ...] = Field((5, 10, 20), min_length=1, description="Cut-offs of Recall and NDCG")


class RecommendConfig(Section):
    """Top-K lists for every user."""

    k: int = Field(20, ge=1, le=1000, description="Items per user")
    variant: Literal["best", "base", "con", "gen"] = Field("best", description="best: highest validation Recall@20")
    exclude: Literal["train", "all"] = Field("train", description="Known interactions left out: train only, or every part")
