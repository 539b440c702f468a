"""The artifact store: same key same bytes, all or nothing, damage is noticed."""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError, artifact_key
from tests.waiting import wait_until

TABLE = pa.table({"user": pa.array([0, 1, 2], pa.int32()), "name": ["a", None, "c"]})


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    monkeypatch.setenv("RLMREC_SCRATCH", str(tmp_path / "scratch"))
    if request.param == "local":
        return ArtifactStore.open(StoreConfig(url=str(tmp_path / "store")))
    fsspec.filesystem("memory").store.clear()
    return ArtifactStore.open(StoreConfig(url="memory://bucket/store"))


def write(store: ArtifactStore, key: str, table: pa.Table = TABLE, **files: bytes) -> ArtifactRef:
    with store.writer("prepare", key, version=1, config={"k": 10}, inputs={"ingest": "0" * 64}) as writer:
        writer.table("split", table)
        for name, content in files.items():
            writer.file(name, content)
    ref = store.find("prepare", key)
    assert ref is not None
    return ref


KEY = artifact_key("prepare", 1, {"k": 10}, {"ingest": "0" * 64})


def test_what_was_written_is_read_back(store: ArtifactStore) -> None:
    assert store.find("prepare", KEY) is None
    ref = write(store, KEY, weights=b"\x00\x01")
    assert store.table(ref, "split").equals(TABLE)
    assert store.table(ref, "split", columns=["user"]).column_names == ["user"]
    assert store.dataset(ref, "split").count_rows() == 3
    assert store.read_bytes(ref, "weights") == b"\x00\x01"
    manifest = store.manifest(ref)
    assert manifest.rows == 3 and manifest.content.config == {"k": 10}
    assert manifest.content.files["split.parquet"].columns == {"user": "int32", "name": "string"}


def test_the_key_depends_on_everything_that_matters_and_nothing_else() -> None:
    same = artifact_key("prepare", 1, {"k": 10}, {"ingest": "0" * 64})
    others = {
        artifact_key("ingest", 1, {"k": 10}, {"ingest": "0" * 64}),
        artifact_key("prepare", 2, {"k": 10}, {"ingest": "0" * 64}),
        artifact_key("prepare", 1, {"k": 11}, {"ingest": "0" * 64}),
        artifact_key("prepare", 1, {"k": 10}, {"ingest": "1" * 64}),
    }
    assert same == KEY and len(others | {KEY}) == 5


def test_a_block_that_fails_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        store.writer("prepare", KEY, version=1, config={}, inputs={}) as writer,
    ):
        writer.table("split", TABLE)
        raise ZeroDivisionError
    assert store.find("prepare", KEY) is None
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest"])
def test_damage_is_noticed_and_the_artifact_rebuilt(tmp_path: Path, damage: str) -> None:
    store = ArtifactStore(str(tmp_path))
    ref = write(store, KEY)
    path = Path(store.address(ref, "split.parquet"))
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    elif damage == "truncate":
        path.write_bytes(content[:-1])
    elif damage == "delete":
        path.unlink()
    else:
        manifest = json.loads((path.parent / "manifest.json").read_text())
        manifest["content"]["config"]["k"] = 11
        (path.parent / "manifest.json").write_text(json.dumps(manifest))
    assert store.find("prepare", KEY) is None
    assert write(store, KEY) == ref
    assert path.read_bytes() == content


def test_the_same_key_gives_the_same_bytes_however_batches_were_cut(tmp_path: Path) -> None:
    long = pa.table({"x": pa.array(range(150_000), pa.int64())})
    digests = set()
    for number, size in enumerate([1_000, 65_536, 150_000]):
        store = ArtifactStore(str(tmp_path / str(number)))
        with store.writer("ingest", KEY, version=1, config={}, inputs={}) as writer:
            assert writer.batches("x", long.schema, long.to_batches(max_chunksize=size)) == 150_000
        ref = store.find("ingest", KEY)
        assert ref is not None and store.table(ref, "x").equals(long)
        digests.add(hashlib.sha256(Path(store.address(ref, "x.parquet")).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_an_empty_table_keeps_its_columns(store: ArtifactStore) -> None:
    ref = write(store, KEY, TABLE.slice(0, 0))
    assert store.table(ref, "split").schema.equals(TABLE.schema)


def test_schema_metadata_survives(store: ArtifactStore) -> None:
    ref = write(store, KEY, TABLE.replace_schema_metadata({"encoder": "minilm"}))
    assert store.table(ref, "split").schema.metadata[b"encoder"] == b"minilm"


def test_refs_are_newest_first(store: ArtifactStore) -> None:
    other = artifact_key("prepare", 1, {"k": 5}, {})
    first, second = write(store, KEY), write(store, other)
    assert store.refs() == store.refs("prepare") == [second, first] and store.refs("embed") == []
    store.remove(second)
    assert store.refs() == [first]


@pytest.mark.parametrize("stage, key", [("../evil", KEY), ("prepare", "../" + KEY), ("prepare", "abc"), ("", KEY)])
def test_names_from_outside_cannot_leave_the_store(store: ArtifactStore, stage: str, key: str) -> None:
    with pytest.raises(StoreError):
        store.find(stage, key)
    with pytest.raises(StoreError):
        store.work_dir(stage, key)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".hidden", "a/b", ""])
def test_file_names_from_outside_cannot_leave_the_artifact(store: ArtifactStore, name: str) -> None:
    with pytest.raises(StoreError), store.writer("prepare", KEY, version=1, config={}, inputs={}) as writer:
        writer.file(name, b"")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".hidden", "a/../x", "a//x", "a/.hidden", ""])
def test_paths_from_outside_cannot_leave_the_store(store: ArtifactStore, name: str) -> None:
    with pytest.raises(StoreError):
        store.write_json(name, {})
    with pytest.raises(StoreError):
        store.read_json(name)


def test_a_missing_table_names_the_way_out(store: ArtifactStore) -> None:
    with pytest.raises(StoreError, match="run the stage 'embed' first"):
        store.table(ArtifactRef("embed", KEY, store.url), "items")
    with pytest.raises(StoreError, match=r"has no file nothing\.parquet"):
        store.table(write(store, KEY), "nothing")


def test_small_json_at_the_root(store: ArtifactStore) -> None:
    assert store.read_json("last-run.json") is None
    store.write_json("last-run.json", {"stages": []})
    assert store.read_json("last-run.json") == {"stages": []}


def test_a_work_folder_outlives_a_failure_and_goes_with_success(store: ArtifactStore) -> None:
    (store.work_dir("prepare", KEY) / "checkpoint").write_text("half")
    with pytest.raises(ZeroDivisionError), store.writer("prepare", KEY, version=1, config={}, inputs={}):
        raise ZeroDivisionError
    assert (store.work_dir("prepare", KEY) / "checkpoint").read_text() == "half"
    write(store, KEY)
    assert not store.work_dir_path("prepare", KEY).exists()


def _hold(url: str, marker: str) -> None:
    with ArtifactStore(url).lock("prepare", KEY):
        Path(marker).touch()
        time.sleep(60)


def test_the_time_of_interrupted_attempts_counts(store: ArtifactStore) -> None:
    with store.writer("prepare", KEY, version=1, config={"k": 10}, inputs={"ingest": "0" * 64}) as writer:
        writer.table("split", TABLE)
        writer.earlier_seconds = 3600
    ref = store.find("prepare", KEY)
    assert ref is not None
    assert store.manifest(ref).run.seconds > 3600


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    marker = tmp_path / "held"
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(str(tmp_path), str(marker)))
    holder.start()
    wait_until(marker.exists, "a holder of the lock")
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with ArtifactStore(str(tmp_path)).lock("prepare", KEY):
        pass


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir(mode=0o500)
    if os.access(blocked, os.W_OK):
        pytest.skip("permissions do not bind this user")
    with pytest.raises(StoreError, match="permission denied"):
        write(ArtifactStore(str(blocked)), KEY)


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    left = tmp_path / ".tmp" / f"prepare-{KEY}" / "half.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1")
    ref = write(store, KEY)
    assert "half.parquet" not in store.manifest(ref).content.files and not list((tmp_path / ".tmp").iterdir())
