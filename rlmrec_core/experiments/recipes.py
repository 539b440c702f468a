"""Which models a table or figure of the paper compares, and on what."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rlmrec_core.config import PipelineConfig, TrainConfig
from rlmrec_core.config.training import changed

RecipeName = Literal["table1", "table2", "table3", "table4", "figure1", "figure4", "figure5", "figure6"]
_FIRST_SEED = 2023
_SIX = ("gccf", "lightgcn", "sgl", "simgcl", "dccf", "autocf")
_RLMREC = ("base", "con", "gen")


class Arm(NamedTuple):
    """Models of a recipe that share their data and their vectors: ordinary runs of the stages.

    Attributes:
        name: Stands before the names of its models, where other arms have others; may be empty.
        settings: Of any section, over those of the experiment, by dotted name.
        starts_from: Name of an earlier arm: each of its models starts one of these of its backbone and seed
            (`train.start_from`), beside one that starts afresh.
        is_measured: Whether its models stand in the table.
    """

    name: str = ""
    settings: Mapping[str, Any] = {}
    starts_from: str | None = None
    is_measured: bool = True


def _alone(config: PipelineConfig) -> Sequence[Arm]:
    return (Arm(),)


def _periods(config: PipelineConfig) -> Sequence[Arm]:
    """What came before `prepare.since`, and what came since; without that day, the halves of each user.

    Nothing stands in both halves of a user, so that nothing of the first can be right in a list of the second.
    """
    day = config.prepare.since
    earlier: Mapping[str, Any] = {"prepare.since": None, "prepare.before": day} if day else {"prepare.half": "first"}
    later: Mapping[str, Any] = {} if day else {"prepare.half": "second", "evaluate.leave_out_earlier": True}
    return (
        Arm("earlier", earlier, is_measured=False),
        Arm("later", {**later, "train.variants": ("base",)}, starts_from="earlier"),
    )


def _encoders(config: PipelineConfig) -> Sequence[Arm]:
    """The encoder of the settings, there also with shuffled rows, then MiniLM and counted words."""
    shuffled = {f"alignment_settings.{variant}.shuffle": (False, True) for variant in ("con", "gen")}
    own = Arm(config.embed.model or config.embed.encoder, {} if config.train.grid else {"train.grid": shuffled})
    others = [name for name in ("minilm", "tfidf") if name != config.embed.encoder]
    return (own, *(Arm(name, {"embed.encoder": name, "embed.model": None}) for name in others))


class Recipe(NamedTuple):
    """One table or figure.

    Attributes:
        title: For people.
        train: Settings of the section train.
        arms: What the models are trained on, one after the other, from the experiment's settings.
        shows: What stands in the rows: how good the lists are, how long an epoch takes, where far neighbours rank, or
            what a language model's order of candidates is worth.
    """

    title: str
    train: Mapping[str, Any]
    arms: Callable[[PipelineConfig], Sequence[Arm]] = _alone
    shows: Literal["accuracy", "seconds", "far neighbours", "orders"] = "accuracy"


RECIPES: Mapping[RecipeName, Recipe] = {
    "table1": Recipe(
        "Every backbone alone and with RLMRec (table 1 of the paper)", {"backbones": _SIX, "variants": _RLMREC}
    ),
    "table2": Recipe(
        "RLMRec beside KAR (table 2 of the paper)",
        {"backbones": ("lightgcn", "sgl"), "variants": ("base", "kar", "con", "gen")},
    ),
    "table3": Recipe(
        "Models of an earlier period start one of a later period (table 3 of the paper)",
        {"backbones": ("lightgcn",), "variants": _RLMREC},
        _periods,
    ),
    "table4": Recipe(
        "Seconds of a training epoch (table 4 of the paper)",
        {"backbones": _SIX, "variants": _RLMREC},
        shows="seconds",
    ),
    "figure1": Recipe(
        "Candidates in the order of a language model (figure 1 of the paper)",
        {"backbones": ("lightgcn",), "variants": ("base",)},
        shows="orders",
    ),
    "figure4": Recipe(
        "RLMRec with several encoders, and with the text's owners exchanged (figure 4 of the paper)",
        {"backbones": ("lightgcn", "gccf", "simgcl", "dccf"), "variants": _RLMREC},
        _encoders,
    ),
    "figure5": Recipe(
        "What false interactions cost (figure 5 of the paper)",
        {
            "backbones": ("lightgcn",),
            "variants": _RLMREC,
            "grid": {"noise": (0, 0.05, 0.1, 0.15, 0.2, 0.25)},
        },
    ),
    "figure6": Recipe(
        "Whether text brings together users who share no item (figure 6 of the paper)",
        {"backbones": ("lightgcn",), "variants": ("base", "con")},
        shows="far neighbours",
    ),
}


def applied(name: RecipeName, config: PipelineConfig, n_seeds: int) -> PipelineConfig:
    """The settings with the recipe's models and the first `n_seeds` seeds where the settings are at their defaults.

    So a data set without text, whose preset wants Base alone, stays with Base, and whoever names other backbones,
    variants, seeds or a grid of their own gets these in the recipe's table. How fast a model is takes one seed, and
    so does whose candidates are put in order.
    """
    n_seeds = 1 if RECIPES[name].shows in ("seconds", "orders") else n_seeds
    seeds = tuple(range(_FIRST_SEED, _FIRST_SEED + n_seeds))
    plain = TrainConfig()
    wanted = {
        field: value
        for field, value in {**RECIPES[name].train, "seeds": seeds}.items()
        if getattr(config.train, field) == getattr(plain, field)
    }
    train = TrainConfig.model_validate(config.train.model_dump() | wanted)
    return config.model_copy(update={"train": train})


def arms(name: RecipeName, config: PipelineConfig) -> list[tuple[Arm, PipelineConfig]]:
    """The arms of a recipe, each with its settings; config: as `applied` returns it."""
    plain = config.model_dump()
    return [(arm, PipelineConfig.model_validate(changed(plain, arm.settings))) for arm in RECIPES[name].arms(config)]


def n_models(name: RecipeName, config: PipelineConfig) -> int:
    """How many models a recipe takes; config: as `applied` returns it."""
    of_arm: dict[str, list[str]] = {}
    for arm, settings in arms(name, config):
        data, vectors = settings.prepare.model_dump_json(), settings.embed.model_dump_json()
        found = [
            run.model_dump_json() + data + (vectors if run.reads_semantics else "") for run in settings.train.runs()
        ]
        starts = len(of_arm.get(arm.starts_from or "", ())) // len(config.train.seeds) // len(config.train.backbones)
        of_arm[arm.name] = found + [f"{run} {start}" for run in found for start in range(starts)]
    return len({run for found in of_arm.values() for run in found})
