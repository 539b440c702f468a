"""The registry of models: families, their backbones and variants, and where each one's settings stand.

Importing this file loads no model; a model's file is imported when its settings are first wanted.
"""

from importlib import import_module
from typing import Any, Literal, NamedTuple, get_args

from rlmrec_core.config.section import Section

# Each name is a file in rlmrec_core/models/graph/backbones.
GraphBackbone = Literal["lightgcn", "gccf", "sgl", "simgcl", "dccf", "autocf", "alpharec", "weft"]
BackboneName = Literal[GraphBackbone, "cllm4rec"]
VariantName = Literal["base", "con", "gen", "kar"]
HyperPreset = Literal["auto", "amazon-book", "yelp", "steam", "movielens", "xrec-yelp", "sample"]
PresetProtocol = Literal["tuned", "paper"]


class DataSize(NamedTuple):
    """How much there is to learn from: users and items of the prepared data, and the interactions of train."""

    n_users: int
    n_items: int
    n_interactions: int

    @property
    def per_node(self) -> float:
        """Interactions of a user or item, on average over both."""
        return 2 * self.n_interactions / max(self.n_users + self.n_items, 1)


class Preset(NamedTuple):
    """What is chosen for a backbone and variant on a data set; None: the default of `RunSettings`."""

    backbone_settings: Section
    alignment: Section | None = None
    weight_decay: float | None = None
    patience: int | None = None


class FamilySpec(NamedTuple):
    """Models that are trained alike, by the package rlmrec_core/models/<name>, whose FAMILY says how.

    reads_text: whether `fit` is handed train reviews, the items' texts, profiles and their vectors.
    ignores: fields of RunSettings that its models do not read, so that no search varies them.
    """

    name: str
    backbones: tuple[str, ...]
    variants: tuple[str, ...]
    reads_text: bool = False
    ignores: tuple[str, ...] = ()


_MADE_OF_TEXT = ("alpharec", "weft")

# It has a width, step sizes, a schedule and a regularisation of its own.
_NOT_OF_CLLM4REC = ("embedding_size", "learning_rate", "batch_size", "max_epochs", "weight_decay")

FAMILIES = (
    FamilySpec(
        "graph", tuple(name for name in get_args(GraphBackbone) if name not in _MADE_OF_TEXT), get_args(VariantName)
    ),
    # Their initial embeddings are made of the text already: KAR would put it beside itself.
    FamilySpec("graph", _MADE_OF_TEXT, ("base", "con", "gen")),
    FamilySpec("cllm4rec", ("cllm4rec",), ("base",), reads_text=True, ignores=_NOT_OF_CLLM4REC),
)


def family_of(backbone: str) -> FamilySpec:
    """The family a backbone belongs to."""
    return next(family for family in FAMILIES if backbone in family.backbones)


def door(backbone: str) -> Any:
    """What the package of a backbone's family offers as FAMILY: a `rlmrec_core.models.family.Family`."""
    return import_module(f"rlmrec_core.models.{family_of(backbone).name}").FAMILY


def backbone_settings(backbone: str) -> type[Section]:
    """The hyper-parameters that a backbone declares, every one with a default."""
    return door(backbone).backbone_settings(backbone)  # type: ignore[no-any-return]


def alignment_settings(backbone: str, variant: str) -> type[Section] | None:
    """The settings of a variant's alignment; None where it has none."""
    return door(backbone).alignment_settings(variant)  # type: ignore[no-any-return]


def preset(
    backbone: str, variant: str, dataset: HyperPreset, protocol: PresetProtocol, size: DataSize | None = None
) -> Preset:
    """What a backbone's family chooses for a data set; size: of the data at hand, which auto goes by."""
    return door(backbone).preset(backbone, variant, dataset, protocol, size)  # type: ignore[no-any-return]
