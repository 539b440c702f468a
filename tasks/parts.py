"""A stage divided among workers: what each is told, what it leaves behind, and how the stage finds that.

A part that is computed is an artifact of its own, `<stage>_part`, until the stage has been put together from it. A part
that is paid for leaves its answers in the ledger, where the stage finds them like those of an earlier run. Whatever no
worker has done the stage does itself, so that its bytes do not depend on who did what.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from rlmrec_core.parts import Part
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreError
from tasks.stage import Stage, StageResult


class UnlikeWorker(RuntimeError):
    """A worker would make, or pay for, something other than its part of the stage."""


@dataclass(frozen=True)
class Share:
    """What a worker is told: its part, of which artifact, and where paid answers are kept."""

    part: Part
    key: str
    ledger: str

    @property
    def title(self) -> str:
        """The part's name for people."""
        return f"part {self.part.number + 1} of {self.part.total}"


def shares(stage: Stage, artifacts: ArtifactStore, total: int, at_once: int) -> list[Share]:
    """The stage cut into `total` shares, at most `at_once` of them worked on at the same time."""
    place = ledger_place(artifacts)
    return [Share(Part(number, total, min(at_once, total)), stage.key, place) for number in range(total)]


def ledger_place(artifacts: ArtifactStore) -> str:
    """Names the ledger's folder on this machine: SQLite's write-ahead log cannot be shared between machines."""
    folder = artifacts.ledger_path.parent.stat()
    machine = platform.node()
    with suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()  # the same in every container
    return f"{machine} {folder.st_dev} {folder.st_ino}"


def check_worker(stage: Stage, share: Share, artifacts: ArtifactStore, *, pays: bool) -> None:
    """Raise UnlikeWorker where code or prompts differ from those of the flow, or the ledger cannot be shared."""
    if stage.key != share.key:
        raise UnlikeWorker(
            f"this worker has another version of rlmrec or of the prompts: its {stage.name} has {stage.key}"
        )
    if pays and ledger_place(artifacts) != share.ledger:
        raise UnlikeWorker("this worker does not share the ledger of paid answers, so it asks nothing")


def run_part(
    stage: Stage,
    share: Share,
    artifacts: ArtifactStore,
    table: str,
    write: Callable[[ArtifactWriter], None],
    force: bool,
) -> StageResult:
    """A computed part as an artifact of one table: found, or made by `write`."""
    part = share.part
    config = {**stage.config, "part": [part.number, part.total]}
    labels = {"part": share.title}
    piece = replace(stage, name=f"{stage.name}_part", tables=(table,), config=config, labels=labels)
    return piece.run(artifacts, write, force=force)


def joined(artifacts: ArtifactStore, pieces: Sequence[ArtifactRef], table: str) -> pa.Table | None:
    """One table of all pieces, in their order; those that are gone or damaged are left out. None if none is left."""
    sound = [ref for ref in pieces if artifacts.find(ref.stage, ref.key)]
    return pa.concat_tables([artifacts.table(ref, table) for ref in sound]) if sound else None


def remove(artifacts: ArtifactStore, pieces: Iterable[ArtifactRef]) -> None:
    """Remove pieces that have served."""
    for ref in pieces:
        with suppress(StoreError, FileNotFoundError):  # another run that used them was quicker
            artifacts.remove(ref)
