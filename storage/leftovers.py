"""What writers that died left behind in a store."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StoreError, explained
from storage.store import TEMPORARY, WORK, ArtifactStore

DAY = 86_400.0
# A killed writer's half-written files serve nobody; a checkpoint lets training go on, so it may wait longer.
_PATIENCE = {TEMPORARY: 0.0, WORK: 7 * DAY}


@dataclass(frozen=True)
class Leftover:
    """A folder or file that no living writer holds."""

    path: Path
    age: float
    """Seconds since it was last touched."""

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.stat().st_size for file in _files(self.path))


def leftovers(store: ArtifactStore) -> list[Leftover]:
    """Half-written artifacts, checkpoints untouched for a week, and half-written notes of a day ago; by name."""
    return sorted((left for left in _candidates(store)), key=lambda left: left.path)


def sweep(store: ArtifactStore, left: Leftover) -> bool:
    """Remove a leftover, unless a writer has come back to it meanwhile; whether it is gone."""
    stage, _, key = left.path.name.removesuffix(".old").rpartition("-")
    if left.path.is_file():
        left.path.unlink(missing_ok=True)
        return True
    with store.try_lock(stage, key) as free, explained(f"remove {left.path}"):
        if free:
            shutil.rmtree(left.path)
        return free


def _candidates(store: ArtifactStore) -> Iterator[Leftover]:
    now = time.time()
    for place, patience in _PATIENCE.items():
        for folder in (store.scratch / place).glob("*-*"):
            left = Leftover(folder, now - _touched(folder))
            if left.age >= patience and _is_free(store, folder):
                yield left
    for file in (*store.scratch.glob("*.json.*.tmp"), *store.scratch.glob("*/*/*.json.*.tmp")):
        if (age := now - file.stat().st_mtime) >= DAY:
            yield Leftover(file, age)


def _is_free(store: ArtifactStore, folder: Path) -> bool:
    stage, _, key = folder.name.removesuffix(".old").rpartition("-")
    try:
        with store.try_lock(stage, key) as free:
            return free
    except StoreError:
        return False  # not a name that the store gives


def _touched(folder: Path) -> float:
    return max((file.stat().st_mtime for file in [folder, *_files(folder)]), default=0.0)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
