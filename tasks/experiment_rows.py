"""What the rows of an experiment are made from: metrics of the arms' models, seconds, user vectors, or orders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core import reranking
from rlmrec_core.config import PipelineConfig
from rlmrec_core.config.training import RunSettings
from rlmrec_core.data import DataError
from rlmrec_core.experiments import Arm, Sheet, efficiency
from rlmrec_core.experiments import accuracy as accuracies
from rlmrec_core.experiments import far_neighbours as neighbours
from rlmrec_core.experiments import orders as of_orders
from rlmrec_core.model_id import labels
from rlmrec_core.tables import vectors_of
from storage import ArtifactRef, ArtifactStore
from tasks import report
from tasks.metrics import shown_part
from tasks.models import load_semantic, load_split, model_settings, role_of, started_from
from tasks.prepare import data_size
from tasks.speed import of_row, speed
from tasks.stage import StageResult
from tasks.stages import Done
from tasks.train import Training, runs

RunStages = Callable[[PipelineConfig, str, str, Done], Done]
"""Runs the stages from a first to a last one, on what others made; returns what all of these made."""

Rerank = Callable[[PipelineConfig, Done], StageResult]
"""Has a language model put the candidates of the first of the models that were made in order."""


@dataclass(frozen=True)
class ArmRun:
    """An arm, its settings as they are for these data, and what the stages made for it so far."""

    arm: Arm
    config: PipelineConfig
    done: Done

    @property
    def prepare(self) -> ArtifactRef:
        """The data of its models."""
        return self.done["prepare"][0].ref

    def training(self, artifacts: ArtifactStore, settings: RunSettings) -> Training:
        """One of its models, trained or not."""
        reads = settings.reads_semantics
        return Training(artifacts, settings, self.prepare, self.done["embed"][0].ref if reads else None)


@dataclass(frozen=True)
class Material:
    """Keys of what the rows are made from, by role, and how they are made, with the table for people."""

    inputs: Mapping[str, str]
    make: Callable[[], tuple[pa.Table, Sheet]]


def accuracy(artifacts: ArtifactStore, arms: Sequence[ArmRun], run_stages: RunStages) -> Material:
    """How good the lists of the models of all arms are."""
    evaluated = {
        arm.arm.name: run_stages(arm.config, "evaluate", "evaluate", arm.done)["evaluate"][0].ref for arm in arms
    }

    def make() -> tuple[pa.Table, Sheet]:
        size = data_size(artifacts, arms[0].prepare)
        measured = _measured(artifacts, arms, evaluated)
        rows = accuracies.rows_of(measured, size.n_users, size.n_items)
        return rows, accuracies.sheet(rows, measured[0].part)

    inputs = {f"evaluate/{name}" if name else "evaluate": ref.key for name, ref in evaluated.items()}
    return Material({"prepare": arms[0].prepare.key, **inputs}, make)


def _measured(
    artifacts: ArtifactStore, arms: Sequence[ArmRun], evaluated: Mapping[str, ArtifactRef]
) -> list[accuracies.Measured]:
    models = {arm.arm.name: {result.ref.key: result.ref for result in arm.done["train"]} for arm in arms}
    found = []
    for name, ref in evaluated.items():
        elsewhere = {key for other, keys in models.items() if other != name for key in keys}
        settings = {key: model_settings(artifacts, model) for key, model in models[name].items()}
        tables = {table: artifacts.table(ref, table) for table in ("metrics", "user_metrics", "significance")}
        found.append(
            accuracies.Measured(
                name,
                tables["metrics"],
                tables["user_metrics"],
                tables["significance"],
                shown_part(tables["metrics"].to_pylist()),
                own={one.model_id.settings for key, one in settings.items() if key not in elsewhere}
                if elsewhere
                else (),
                starts=dict(filter(None, (_start(artifacts, one) for one in settings.values()))),
            )
        )
    return found


def _start(artifacts: ArtifactStore, settings: RunSettings) -> tuple[str, accuracies.Start] | None:
    """A model's settings and what it started from; None where it started afresh."""
    if not (ref := started_from(artifacts, settings)):
        return None
    plain, start = settings.model_copy(update={"start_from": None}), model_settings(artifacts, ref).model_id
    own = settings.model_id.settings
    return own, accuracies.Start(plain.model_id.settings, start.label, start.settings, start.variant)


def seconds(artifacts: ArtifactStore, arm: ArmRun) -> Material:
    """How long an epoch of each model takes, one after the other in this process."""
    trainings = [arm.training(artifacts, settings) for settings in runs(arm.config.train, arm.prepare)]
    progress = report.Progress("experiment-speed-progress", "models timed", every=0.0)
    timed = {}
    for training in trainings:
        timed[training.settings.model_id] = speed(training)
        progress(len(timed), len(trainings), training.settings.model_id.label)

    def make() -> tuple[pa.Table, Sheet]:
        named = labels({training.settings.model_id: training.settings.flat() for training in trainings})
        n_pairs = data_size(artifacts, arm.prepare).n_interactions
        told = [
            {
                "backbone": one.backbone,
                "variant": one.variant,
                "label": named[one.model_id],
                "pairs": n_pairs,
                "device": one.device,
                "threads": one.threads,
                **of_row(artifacts, timed[one.model_id]),
            }
            for one in (training.settings for training in trainings)
        ]
        rows = efficiency.rows_of(told)
        return rows, efficiency.sheet(rows)

    inputs = {role_of(model).replace("train", "speed", 1): result.ref.key for model, result in timed.items()}
    return Material({"prepare": arm.prepare.key, **inputs}, make)


def check_has_text(arm: ArmRun) -> None:
    """Raise DataError where there are no texts that far neighbours could be found by."""
    if "embed" not in arm.done:
        problem = "far neighbours are found by texts: the data hold none, or Base alone is trained, which reads none"
        raise DataError.at(problem, "take data with text, and a variant that reads it")


def far_neighbours(artifacts: ArtifactStore, arms: Sequence[ArmRun], run_stages: RunStages) -> Material:
    """Where models rank users who share no item and whose texts are alike."""
    (arm,) = arms
    prepare, embed = arm.prepare, arm.done["embed"][0].ref
    models = [(model_settings(artifacts, result.ref), result.ref) for result in arm.done["train"]]

    def make() -> tuple[pa.Table, Sheet]:
        texts, split = load_semantic(artifacts, embed).users, load_split(artifacts, prepare)
        found = neighbours.FarNeighbours.find(split, texts, seed=2023)
        vectors = {one.model_id: vectors_of(artifacts.table(ref, "user_vectors")) for one, ref in models}
        named = labels({one.model_id: one.flat() for one, _ in models})
        user_ids = artifacts.table(prepare, "user_index").sort_by("user")["user_id"].to_pylist()
        rows = neighbours.rows_of(found, vectors, named, user_ids)
        return rows, neighbours.sheet(rows)

    inputs = {role_of(one.model_id): ref.key for one, ref in models}
    return Material({"prepare": prepare.key, "embed": embed.key, **inputs}, make)


def orders(artifacts: ArtifactStore, arms: Sequence[ArmRun], rerank: Rerank) -> Material:
    """What a language model's order of a model's candidates is worth."""
    (arm,) = arms
    prepare, model = arm.prepare, arm.done["train"][0].ref
    answered = rerank(arm.config, arm.done).ref

    def make() -> tuple[pa.Table, Sheet]:
        split, table = load_split(artifacts, prepare), artifacts.table(answered, "orders")
        scored = reranking.scores(table, split.test, split.n_users, split.n_items)
        names = set(table.filter(pc.not_equal(table["status"], "unanswered"))["model"].drop_null().to_pylist())
        label = model_settings(artifacts, model).model_id.label
        rows = of_orders.rows_of(scored, label, ", ".join(sorted(names)) or None)
        return rows, of_orders.sheet(rows)

    return Material({"prepare": prepare.key, "rerank": answered.key}, make)
