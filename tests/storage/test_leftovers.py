"""What killed writers left behind, and what living ones hold."""

import os
import time
from pathlib import Path

import pytest

from storage import ArtifactStore, artifact_key, leftovers, sweep

KEY = artifact_key("train", 1, {}, {})


def make(path: Path, age: float = 0.0) -> Path:
    """A folder with one file, both of this age in seconds."""
    path.mkdir(parents=True)
    (path / "half").write_bytes(b"1234")
    for touched in (path / "half", path):
        os.utime(touched, (time.time() - age,) * 2)
    return path


@pytest.fixture
def store(tmp_path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def test_half_written_files_and_old_checkpoints_are_found_and_swept(store, tmp_path):
    half = make(tmp_path / ".tmp" / f"train-{KEY}")
    replaced = make(tmp_path / ".tmp" / f"train-{KEY}.old")
    forgotten = make(tmp_path / ".work" / f"train-{KEY}", age=8 * 86_400)
    note = tmp_path / "last-run.json.0123.tmp"
    note.write_text("{")
    os.utime(note, (time.time() - 2 * 86_400,) * 2)
    found = leftovers(store)
    assert {left.path for left in found} == {half, replaced, forgotten, note}
    assert sum(left.bytes for left in found) == 13
    assert all(sweep(store, left) for left in found)
    assert leftovers(store) == [] and not half.exists()


def test_a_fresh_checkpoint_and_a_fresh_note_are_left_alone(store, tmp_path):
    make(tmp_path / ".work" / f"train-{KEY}", age=86_400)
    (tmp_path / "last-run.json.0123.tmp").write_text("{")
    assert leftovers(store) == []


def test_what_a_living_writer_holds_is_left_alone(store, tmp_path):
    folder = make(tmp_path / ".tmp" / f"train-{KEY}")
    (left,) = leftovers(store)
    with ArtifactStore(str(tmp_path)).lock("train", KEY):
        assert leftovers(store) == []
        assert not sweep(store, left)
    assert folder.exists()


def test_folders_of_others_are_left_alone(store, tmp_path):
    make(tmp_path / ".tmp" / "some-thing", age=1e9)
    assert leftovers(store) == []
