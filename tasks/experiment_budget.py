"""How long an experiment may take: said before a model is trained."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

from storage import ArtifactStore
from tasks.models import model_settings
from tasks.report import minutes
from tasks.speed import seconds_of, speed
from tasks.train import Training

_EPOCHS = 100
"""Taken for a model of data that nothing was trained on yet."""

_Model = tuple[str, str, str]
"""Key of the data, backbone and variant."""


class Planned(NamedTuple):
    """A model of an experiment, and whether it is in the store."""

    training: Training
    is_trained: bool


class _Past(NamedTuple):
    seconds: float
    epochs: int


def estimate(artifacts: ArtifactStore, planned: Sequence[Planned]) -> str:
    """How much training is missing, in a sentence.

    A model takes what its backbone and variant took on the same data. One of a kind that was never trained there takes
    as many epochs as the others on average, or a hundred, of the length that a few measured ones have.
    """
    missing = [one.training for one in planned if not one.is_trained]
    found = f"{len(planned)} models, {len(planned) - len(missing)} of them trained already"
    if not missing:
        return f"{found}: nothing is left to train"
    past = _trained(artifacts, {training.prepare.key for training in missing})
    known = {model: mean(one.seconds for one in trained) for model, trained in past.items()}
    seconds, measured = 0.0, 0
    for training in missing:
        model = _model(training)
        if model not in known:
            beside = [one.epochs for other, trained in past.items() if other[0] == model[0] for one in trained]
            known[model] = (mean(beside) if beside else _EPOCHS) * seconds_of(artifacts, speed(training))[0]
            measured += 1
        seconds += known[model]
    source = "by what such models took on these data"
    if measured:
        source += f", and for {measured} kinds of them by a few measured epochs"
    return f"{found}; about {minutes(seconds)} of training for the others, one after the other, {source}"


def _model(training: Training) -> _Model:
    return training.prepare.key, training.settings.backbone, training.settings.variant


def _trained(artifacts: ArtifactStore, data: set[str]) -> dict[_Model, list[_Past]]:
    """What models of these data took."""
    found: dict[_Model, list[_Past]] = defaultdict(list)
    for ref in artifacts.refs("train"):
        manifest = artifacts.manifest(ref)
        if (prepare := manifest.content.inputs.get("prepare")) in data:
            settings = model_settings(artifacts, ref)
            epochs = manifest.content.files["history.parquet"].rows or 0
            found[prepare, settings.backbone, settings.variant].append(_Past(manifest.run.seconds, epochs))
    return found
