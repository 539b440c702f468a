"""Disks that are full or read-only: a clear error, and a store as sound as before."""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage import ArtifactRef, ArtifactStore, StoreError, artifact_key, leftovers

SMALL = pa.table({"n": [1, 2, 3]})
# Random, so that it cannot be compressed.
LARGE = pa.table({"n": np.random.default_rng(0).integers(0, 2**62, 500_000)})


def key(version: int) -> str:
    return artifact_key("prepare", version, {}, {})


def write(store: ArtifactStore, version: int, table: pa.Table) -> ArtifactRef:
    with store.writer("prepare", key(version), version=version, config={}, inputs={}) as out:
        out.table("numbers", table)
    return ArtifactRef("prepare", key(version), store.url)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        mounted = os.geteuid() == 0 and not subprocess.run(command, check=False, capture_output=True).returncode
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def is_sound(store: ArtifactStore, ref: ArtifactRef) -> bool:
    return store.refs() == [ref] and store.find("prepare", ref.key) == ref and leftovers(store) == []


def test_a_full_disk_is_named_and_harms_nothing(small_disk):
    store = ArtifactStore(str(small_disk))
    before = write(store, 1, SMALL)
    with pytest.raises(StoreError, match=r"the disk is full.*rlmrec artifacts gc"):
        write(store, 2, LARGE)
    assert is_sound(store, before)
    assert write(store, 3, SMALL)


def test_a_full_disk_keeps_the_last_notes(small_disk):
    store = ArtifactStore(str(small_disk))
    store.write_json("last-run.json", {"run": 1})
    with pytest.raises(StoreError, match="the disk is full"):
        store.write_json("last-run.json", {"run": "2" * 2_000_000})
    assert store.read_json("last-run.json") == {"run": 1}
    assert [path.name for path in small_disk.iterdir()] == ["last-run.json"]


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_limit_on_files_is_named_and_harms_nothing(tmp_path):
    store = ArtifactStore(str(tmp_path))
    before = write(store, 1, SMALL)
    with largest_file(100_000), pytest.raises(StoreError, match="ulimit"):
        write(store, 2, LARGE)
    assert is_sound(store, before)


def test_a_read_only_store_is_named_and_can_be_read(small_disk):
    store = ArtifactStore(str(small_disk))
    before = write(store, 1, SMALL)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match="read-only; keep the store in another place"), store.lock("prepare", key(2)):
        write(store, 2, SMALL)
    with pytest.raises(StoreError, match="read-only"):
        store.write_json("last-run.json", {})
    assert store.find("prepare", before.key) == before and store.table(before, "numbers").equals(SMALL)
