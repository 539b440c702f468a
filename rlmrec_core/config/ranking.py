"""Settings of the stages that rank: evaluate and recommend."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from rlmrec_core.config.device import DEVICE, Device
from rlmrec_core.config.section import Section
from rlmrec_core.config.training import FittedOn

MetricName = Literal[
    "recall",
    "ndcg",
    "coverage",
    "novelty",
    "capped_recall",
    "precision",
    "hit_rate",
    "mrr",
    "map",
    "average_popularity",
    "diversity",
    "gini",
]

BaselineName = Literal["item_knn", "ease"]


class EvaluateConfig(Section):
    """All-rank evaluation (RLMRec, section 4.1.2)."""

    ks: tuple[int, ...] = Field(
        (5, 10, 20), min_length=1, title="List lengths", description="How long the lists are that every metric looks at"
    )
    metrics: tuple[MetricName, ...] = Field(
        ("recall", "ndcg", "coverage", "novelty"),
        min_length=1,
        description="What is measured; capped_recall divides by min(k, held-out items), as CLLM4Rec's paper does; "
        "diversity needs semantic vectors",
    )
    intervals: Literal["normal", "bootstrap"] = Field(
        "normal", description="95 % intervals over users: by the normal approximation, or by drawing users anew"
    )
    bootstrap_samples: int = Field(1000, ge=100, le=100_000, description="How often the bootstrap draws the users")
    bootstrap_seed: int = Field(2023, ge=0, description="Seed of the bootstrap")
    baselines: tuple[BaselineName, ...] = Field(
        ("item_knn", "ease"),
        description="What is measured beside popularity and the text alone: ItemKNN, and EASE in closed form",
    )
    knn_neighbours: int = Field(200, ge=1, description="item_knn: neighbours of each item")
    ease_l2: float = Field(100.0, gt=0, description="ease: L2 weight of its ridge regression")
    ease_max_items: int = Field(
        10_000, ge=1, description="ease: most items; it holds two matrices of items x items, 0.8 GB for 10,000"
    )
    leave_out_earlier: bool = Field(
        False,
        description="Leave out of all lists what their users had in the data of the models that these started from "
        "(train.start_from), too: where nobody takes an item twice, it cannot be right",
    )
    device: Device = DEVICE
    threads: int = Field(1, ge=1, le=64, description="CPU threads")

    @field_validator("metrics")
    @classmethod
    def _recall_chooses_the_model(cls, metrics: tuple[MetricName, ...]) -> tuple[MetricName, ...]:
        if "recall" not in metrics:
            raise ValueError("recall is needed: recommend takes the model with the best validation recall")
        return metrics


class RecommendConfig(Section):
    """Top-K lists for every user."""

    k: int = Field(20, ge=1, le=1000, title="List length", description="How many items each user gets")
    variant: Literal["best", "base", "con", "gen", "kar"] = Field(
        "best", description="Which model writes the lists; best: the one with the highest validation Recall@20"
    )
    fit_on: FittedOn = Field(
        "train",
        description="What the model of the lists learns from: train, as it was measured; or all interactions, with "
        "which it is trained once more for its best number of epochs",
    )
    profiles: Literal["keep", "rebuild"] = Field(
        "keep",
        description="fit_on = all: keep the profiles and vectors that the model was measured with, or rebuild them, "
        "too, from all interactions, which may cost as much again",
    )
    exclude: Literal["train", "all"] = Field(
        "train", description="Known interactions left out: train only, or every part, as always with fit_on = all"
    )
    device: Device = DEVICE

    @model_validator(mode="after")
    def _measured_profiles_stay(self) -> Self:
        if self.rebuilds and self.fit_on != "all":
            raise ValueError("profiles = rebuild goes with fit_on = all: what is measured on train sees nothing else")
        return self

    @property
    def rebuilds(self) -> bool:
        """Whether profiles and vectors are made once more, of all interactions."""
        return self.profiles == "rebuild"

    @property
    def left_out(self) -> Literal["train", "all"]:
        """The known interactions that no list holds: all that its model learnt from."""
        return "all" if self.fit_on == "all" else self.exclude
