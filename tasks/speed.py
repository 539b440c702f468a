"""How long an epoch of a model takes on this machine: measured once, and kept like whatever else was computed."""

import platform
import time
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import torch

from rlmrec_core.config.device import kind_of
from rlmrec_core.models import EpochRecord, fit
from storage import ArtifactStore, ArtifactWriter
from tasks.stage import Stage, StageResult
from tasks.train import Training

VERSION = 1
_EPOCHS = 3


class _Enough(Exception):
    """Ends a training of which only the speed was wanted."""


def speed(training: Training) -> StageResult:
    """Seconds of three epochs after the first, without evaluation; found where this machine measured them before.

    What else the machine does meanwhile is in them: measure on one that has nothing else to do.
    """
    model = training.stage
    config = {**model.config, "machine": machine(training.settings.device), "train_version": model.version}
    stage = Stage("speed", VERSION, ("epochs",), config, model.inputs, model.labels)
    return stage.run(training.artifacts, lambda out: _write(out, training), force=False)


def seconds_of(artifacts: ArtifactStore, result: StageResult) -> tuple[float, float]:
    """The median and the least of what was measured."""
    found = artifacts.table(result.ref, "epochs")["seconds"].to_pylist()
    return median(found), min(found)


def of_row(artifacts: ArtifactStore, result: StageResult) -> dict[str, Any]:
    """What is told of the measurement beside the model's name."""
    middle, least = seconds_of(artifacts, result)
    where = artifacts.manifest(result.ref).content.config["machine"]
    return {"seconds": middle, "least": least, "epochs": _EPOCHS, "machine": where}


def _write(out: ArtifactWriter, training: Training) -> None:
    # Only the first epoch and the last are evaluated then, and neither is measured.
    unevaluated = {"max_epochs": _EPOCHS + 2, "fixed_epochs": _EPOCHS + 2, "validate_every": _EPOCHS + 2}
    ends: list[float] = []

    def watch(record: EpochRecord) -> None:
        if kind_of(training.settings.device) == "cuda":
            torch.cuda.synchronize(training.settings.device)
        ends.append(time.monotonic())
        if len(ends) > _EPOCHS:
            raise _Enough

    with suppress(_Enough):
        fit(training.inputs(), training.settings.model_copy(update=unevaluated), on_epoch=watch)
    seconds = [after - before for before, after in pairwise(ends)]
    out.table("epochs", pa.table({"epoch": pa.array(range(1, len(ends)), pa.int32()), "seconds": pa.array(seconds)}))


@cache
def machine(device: str) -> str:
    """The processor that tensors live on, by its maker's name."""
    if kind_of(device) == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
