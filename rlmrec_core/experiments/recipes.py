"""Which models a table or figure of the paper compares."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from rlmrec_core.config import PipelineConfig, TrainConfig

RecipeName = Literal["table1", "table2", "shuffled", "figure5"]
_FIRST_SEED = 2023


class Recipe(NamedTuple):
    """title: for people; train: settings of the section train."""

    title: str
    train: Mapping[str, Any]


RECIPES: Mapping[RecipeName, Recipe] = {
    "table1": Recipe(
        "Every backbone alone and with RLMRec (table 1 of the paper)",
        {
            "backbones": ("gccf", "lightgcn", "sgl", "simgcl", "dccf", "autocf"),
            "variants": ("base", "con", "gen"),
        },
    ),
    "table2": Recipe(
        "RLMRec beside KAR (table 2 of the paper)",
        {"backbones": ("lightgcn", "sgl"), "variants": ("base", "kar", "con", "gen")},
    ),
    "shuffled": Recipe(
        "RLMRec beside the same with the text's owners exchanged (figure 4 of the paper, without other encoders)",
        {
            "backbones": ("lightgcn", "gccf", "simgcl", "dccf"),
            "variants": ("base", "con", "gen"),
            "grid": {f"alignment_settings.{variant}.shuffle": (False, True) for variant in ("con", "gen")},
        },
    ),
    "figure5": Recipe(
        "What false interactions cost (figure 5 of the paper)",
        {
            "backbones": ("lightgcn",),
            "variants": ("base", "con", "gen"),
            "grid": {"noise": (0, 0.05, 0.1, 0.15, 0.2, 0.25)},
        },
    ),
}


def applied(name: RecipeName, config: PipelineConfig, n_seeds: int) -> PipelineConfig:
    """The settings with the recipe's models and the first `n_seeds` seeds where the settings are at their defaults.

    So a data set without text, whose preset wants Base alone, stays with Base, and whoever names other backbones,
    variants, seeds or a grid of their own gets these in the recipe's table.
    """
    seeds = tuple(range(_FIRST_SEED, _FIRST_SEED + n_seeds))
    plain = TrainConfig()
    wanted = {
        field: value
        for field, value in {**RECIPES[name].train, "seeds": seeds}.items()
        if getattr(config.train, field) == getattr(plain, field)
    }
    train = TrainConfig.model_validate(config.train.model_dump() | wanted)
    return config.model_copy(update={"train": train})
