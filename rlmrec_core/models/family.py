"""The door of every family of models: how its settings are declared, and how one of its models is trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from torch import Tensor

from rlmrec_core.config.registry import DataSize, HyperPreset, Preset, PresetProtocol, door
from rlmrec_core.config.section import Section
from rlmrec_core.config.training import RunSettings
from rlmrec_core.split import Split
from rlmrec_core.vectors import Float32Array, SemanticEmbeddings, Vectors

if TYPE_CHECKING:  # with it come the clients of model servers, which training can do without
    from rlmrec_core.profiling.corpus import TrainCorpus


class TrainingDiverged(RuntimeError):
    """A loss is no longer a finite number."""


@dataclass(frozen=True)
class EpochRecord:
    """What `on_epoch` is told. losses: weighted means by name; validation: recall@20 and ndcg@20, if it was due;
    best_value: the best recall@20 so far, that of a resumed run's earlier epochs included; phase: of a training with
    several; seconds_left: at most, where that can be told.
    """

    epoch: int
    max_epochs: int
    losses: dict[str, float]
    validation: dict[str, float] | None
    best_epoch: int
    best_value: float
    phase: str = ""
    seconds_left: float | None = None
    validations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """All so far by epoch, those of a resumed run's earlier epochs included: recall@20 and ndcg@20."""
    seconds: float = 0.0
    """Spent so far by the wall clock, in the attempts that a resumed run goes on from, too."""


@dataclass(frozen=True)
class FitResult:
    """A trained model at its best epoch.

    user_vectors (n_users, D), item_vectors (n_items, D): float32, score = dot product; weights: the model's own tensors
    by name; history: see Progress.history; earlier_seconds: what the attempts took that this one resumed; metadata:
    what the head of the weights' file says.
    """

    user_vectors: Float32Array
    item_vectors: Float32Array
    weights: dict[str, Tensor]
    history: pa.Table
    best_epoch: int
    earlier_seconds: float
    metadata: Mapping[str, str] = field(default_factory=dict)


OnEpoch = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class Inputs:
    """What a model may learn from, all of it of the train part or blind to who interacted.

    semantic: vectors of the profiles, where the run's settings say that it reads them; start: rows of the id table to
    start from, NaN for nodes that have none; texts: train reviews and the
    items' texts, item_profiles and user_profiles: the summarization of each or None, where the family reads text.
    """

    split: Split
    semantic: SemanticEmbeddings | None = None
    start: Vectors | None = None
    texts: "TrainCorpus | None" = None
    item_profiles: Sequence[str | None] = ()
    user_profiles: Sequence[str | None] = ()


class Family(Protocol):
    """What the package of a family offers as FAMILY."""

    def backbone_settings(self, backbone: str) -> type[Section]:
        """The class of a backbone's hyper-parameters: flat, every field with a default, a bound and a description."""

    def alignment_settings(self, variant: str) -> type[Section] | None:
        """The class of the settings of a variant's alignment; None for a variant without one."""

    def preset(
        self, backbone: str, variant: str, dataset: HyperPreset, protocol: PresetProtocol, size: DataSize | None
    ) -> Preset:
        """The settings chosen for a data set; an alignment for every variant but Base.

        size: of the data at hand, for the preset auto; None where it is not known yet.
        """

    def files(self, settings: RunSettings) -> dict[str, str]:
        """sha256 of files that a run reads beside its inputs, by role: its key depends on them."""

    def fit(
        self, inputs: Inputs, settings: RunSettings, *, checkpoint: Path | None = None, on_epoch: OnEpoch | None = None
    ) -> FitResult:
        """Train one model. The same arguments give the same bytes, whether or not the run was resumed on its way.

        checkpoint: a file that is written as training goes and resumed from if it belongs to this very run.
        Raises TrainingDiverged on a loss that is not finite, ValueError on inputs that do not fit the settings.
        """


def learnt_from(split: Split, settings: RunSettings) -> Split:
    """What a run learns from, of these data: the train part, with false pairs if it wants some, or every part."""
    noisy = split.with_noise(settings.noise, settings.seed) if settings.noise else split
    return noisy.all_in_train() if settings.fit_on == "all" else noisy


def files(settings: RunSettings) -> dict[str, str]:
    """See `Family.files`."""
    family: Family = door(settings.backbone)
    return family.files(settings)


def fit(
    inputs: Inputs, settings: RunSettings, *, checkpoint: Path | None = None, on_epoch: OnEpoch | None = None
) -> FitResult:
    """Train one model of any family: see `Family.fit`."""
    family: Family = door(settings.backbone)
    return family.fit(inputs, settings, checkpoint=checkpoint, on_epoch=on_epoch)
