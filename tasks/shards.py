"""A stage divided among workers: what each is told, what it leaves behind, and how the stage joins that.

A shard that is computed is an artifact of its own, `<stage>_shard`, until the stage has joined it. A shard that is paid
for leaves its answers in the ledger, where the stage finds them like those of an earlier run. Whatever no worker has
done the stage does itself, so that its bytes do not depend on who did what.
"""

import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from rlmrec_core.shard import Shard
from storage import ArtifactStore, ArtifactWriter, StoreError
from tasks.stage import Stage, StageResult


class UnlikeWorker(RuntimeError):
    """A worker would make, or pay for, something other than its shard of the stage."""


def cut(stage: Stage, artifacts: ArtifactStore, total: int, at_once: int) -> list[Shard]:
    """The stage cut into `total` shards, at most `at_once` of them worked on at the same time."""
    place = ledger_place(artifacts)
    return [Shard(number, total, min(at_once, total), stage.key, place) for number in range(total)]


def ledger_place(artifacts: ArtifactStore) -> str:
    """Names the ledger's folder on this machine: SQLite's write-ahead log cannot be shared between machines."""
    folder = artifacts.ledger_path.parent.stat()
    machine = platform.node()
    with suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()  # the same in every container
    return f"{machine} {folder.st_dev} {folder.st_ino}"


def check_worker(stage: Stage, shard: Shard, artifacts: ArtifactStore, *, pays: bool) -> None:
    """Raise UnlikeWorker where code or prompts differ from those of the flow, or the ledger cannot be shared."""
    if stage.key != shard.stage_key:
        raise UnlikeWorker(
            f"this worker has another version of rlmrec or of the prompts: its {stage.name} has {stage.key}"
        )
    if pays and ledger_place(artifacts) != shard.ledger:
        raise UnlikeWorker("this worker does not share the ledger of paid answers, so it asks nothing")


def run_shard(
    stage: Stage,
    shard: Shard,
    artifacts: ArtifactStore,
    table: str,
    write: Callable[[ArtifactWriter], object],
    force: bool,
) -> StageResult:
    """A computed shard as an artifact of one table: found, or made by `write`."""
    labelled = replace(_stage_of(stage, shard), tables=(table,), labels={"shard": shard.title})
    return labelled.run(artifacts, write, force=force)


def joined(stage: Stage, artifacts: ArtifactStore, n_shards: int, table: str) -> pa.Table | None:
    """One table of all shards, in their order; those that are gone or damaged are left out. None if none is left."""
    made = [_stage_of(stage, Shard(number, n_shards)) for number in range(n_shards)]
    sound = [ref for shard in made if (ref := artifacts.find(shard.name, shard.key))]
    return pa.concat_tables([artifacts.table(ref, table) for ref in sound]) if sound else None


def remove(stage: Stage, artifacts: ArtifactStore, n_shards: int) -> None:
    """Remove shards that the stage has joined."""
    for number in range(n_shards):
        with suppress(StoreError, FileNotFoundError):  # paid for, or another run that joined them was quicker
            artifacts.remove(_stage_of(stage, Shard(number, n_shards)).ref(artifacts))


def _stage_of(stage: Stage, shard: Shard) -> Stage:
    return replace(stage, name=f"{stage.name}_shard", config={**stage.config, "shard": [shard.number, shard.total]})
