"""One trial of a search: an ordinary model, or what was seen of one that was not worth training to its end.

A trial that goes through is a model of the stage train, with that stage's key: a run with its settings finds it, and a
search finds what a run has trained. One that is stopped leaves its validations, an artifact of the stage trial.
"""

import shutil
from dataclasses import replace
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
from prefect import State, task

from rlmrec_core.config.training import RunSettings
from rlmrec_core.models import STOPPING_METRIC, EpochRecord, TrainingDiverged
from rlmrec_core.search import Outcome, Thresholds, Validations
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks.stage import UNCACHED, Stage, StageResult, as_state
from tasks.train import Narrator, Training

VERSION = 1
_SECONDS_BETWEEN_LINES = 30.0


class _Stopped(Exception):
    """Ends the training of a trial; seconds: what it took so far."""

    def __init__(self, outcome: Outcome, seconds: float) -> None:
        super().__init__(outcome.state)
        self.outcome, self.seconds = outcome, seconds


@task(
    name="trial",
    task_run_name="trial {settings.backbone} {settings.variant} {settings.seed} {settings.model_id.settings}",
    **UNCACHED,
)
def trial(
    settings: RunSettings,
    thresholds: Thresholds,
    store: StoreConfig,
    prepare: ArtifactRef,
    embed: ArtifactRef | None = None,
) -> StageResult | State[StageResult]:
    """The trained model, or the validations of one that the thresholds stopped or that diverged.

    Either is found where it is there. A trial killed in the making goes on from its last checkpoint.
    """
    artifacts = ArtifactStore.open(store)
    training = Training(artifacts, settings, prepare, embed)
    stopped = _stopped_stage(training, thresholds)
    if artifacts.find(stopped.name, stopped.key):
        return as_state(stopped.run(artifacts, _found_before, force=False))
    try:
        return as_state(training.stage.run(artifacts, lambda out: _write(out, training, thresholds), force=False))
    except _Stopped as ended:
        reason = ended
    result = stopped.run(artifacts, lambda out: _write_stopped(out, reason), force=False)
    shutil.rmtree(artifacts.work_dir_path(training.stage.name, training.stage.key), ignore_errors=True)
    return as_state(result)


def outcome_of(artifacts: ArtifactStore, ref: ArtifactRef, thresholds: Thresholds) -> Outcome:
    """How a trial went, from its artifact; the same whether it was trained for this search or for something else."""
    history = artifacts.table(ref, "history")
    if STOPPING_METRIC not in history.column_names:
        return Outcome("diverged") if ref.stage == "trial" else Outcome("finished")
    known = history.filter(pc.field(STOPPING_METRIC).is_valid())
    validations = dict(zip(known["epoch"].to_pylist(), known[STOPPING_METRIC].to_pylist(), strict=True))
    return Outcome.of(validations, thresholds)


def _stopped_stage(training: Training, thresholds: Thresholds) -> Stage:
    """The artifact of a trial that is stopped: what it is depends on the thresholds, too."""
    model = training.stage
    config = {**model.config, "thresholds": [list(pair) for pair in thresholds], "train_version": model.version}
    return replace(model, name="trial", version=VERSION, tables=("history",), config=config)


def _write(out: ArtifactWriter, training: Training, thresholds: Thresholds) -> None:
    """Train to the end; raises _Stopped where the thresholds or a diverged loss end it before."""
    narrator = Narrator(training.settings, _SECONDS_BETWEEN_LINES)
    seconds = 0.0

    def watch(record: EpochRecord) -> None:
        nonlocal seconds
        seconds = record.seconds
        narrator(record)
        # All validations, not the last alone: a training that is resumed may have fallen short before it was killed.
        outcome = Outcome.of(_by_epoch(record), thresholds)
        if outcome.state == "pruned":
            raise _Stopped(outcome, seconds)

    try:
        training.write(out, watch)
    except TrainingDiverged as error:
        raise _Stopped(Outcome("diverged"), seconds) from error
    narrator.finish()


def _by_epoch(record: EpochRecord) -> Validations:
    return {int(epoch): metrics[STOPPING_METRIC] for epoch, metrics in record.validations.items() if metrics}


def _write_stopped(out: ArtifactWriter, stopped: _Stopped) -> None:
    out.earlier_seconds, outcome = stopped.seconds, stopped.outcome
    columns = {"epoch": pa.array(outcome.validations.keys(), pa.int32())}
    if outcome.state == "pruned":
        columns[STOPPING_METRIC] = pa.array(outcome.validations.values(), pa.float64())
    out.table("history", pa.table(columns))


def _found_before(out: ArtifactWriter) -> NoReturn:
    raise AssertionError("an artifact that is there is not written")
