"""The store on S3: a real server in a process of its own, reached through the network."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError, artifact_key, leftovers

TABLE = pa.table({"user": pa.array([0, 1, 2], pa.int32()), "name": ["a", None, "c"]})
KEY = artifact_key("prepare", 1, {}, {})


def open_store(url: str) -> ArtifactStore:
    return ArtifactStore.open(StoreConfig(url=url))


def write(store: ArtifactStore, key: str = KEY) -> ArtifactRef:
    with store.lock("prepare", key), store.writer("prepare", key, version=1, config={}, inputs={}) as out:
        out.table("split", TABLE)
        out.file("weights.safetensors", b"\x00\x01")
    return ArtifactRef("prepare", key, store.url)


def files(store: ArtifactStore) -> dict[str, bytes]:
    return {path.partition("/a/store/")[2]: store._fs.cat_file(path) for path in store._fs.find(store._root)}


def test_what_one_process_writes_another_finds(s3):
    ref = write(open_store(s3))
    other = open_store(s3)
    assert other.find("prepare", KEY) == ref and other.refs("prepare") == [ref]
    assert other.table(ref, "split").equals(TABLE)
    assert other.dataset(ref, "split").count_rows() == 3
    assert other.read_bytes(ref, "weights.safetensors") == b"\x00\x01"
    assert other.address(ref, "split.parquet") == f"{s3}/prepare/{KEY}/split.parquet"


def test_the_bytes_are_those_of_a_local_store(s3, tmp_path):
    local = ArtifactStore(str(tmp_path / "local"))
    digests = []
    for store in (open_store(s3), local):
        entries = store.manifest(write(store)).content.files
        digests.append({name: entry.sha256 for name, entry in entries.items()})
    assert digests[0] == digests[1]
    stored = files(open_store(s3))[f"prepare/{KEY}/split.parquet"]
    assert hashlib.sha256(stored).hexdigest() == digests[1]["split.parquet"]


def test_an_upload_that_breaks_off_before_the_manifest_leaves_no_artifact(s3, monkeypatch):
    store = open_store(s3)
    put = store._fs.put_file

    def broken(source, target, **options):
        if target.endswith("manifest.json"):
            raise ConnectionResetError("cable pulled")
        return put(source, target, **options)

    monkeypatch.setattr(store._fs, "put_file", broken)
    with pytest.raises(ConnectionResetError):
        write(store)
    assert any(name.endswith("split.parquet") for name in files(store))
    assert store.find("prepare", KEY) is None and store.refs() == []
    monkeypatch.undo()
    monkeypatch.setattr(store._fs, "put_file", put)
    assert store.find("prepare", write(store).key)


def test_damage_is_noticed_and_repaired(s3):
    store = open_store(s3)
    path = store.address(write(store), "split.parquet").removeprefix("s3://")
    sound = store._fs.cat_file(path)
    store._fs.pipe_file(path, sound[:-1])
    assert store.find("prepare", KEY) is None
    assert store._fs.cat_file(store.address(write(store), "split.parquet").removeprefix("s3://")) == sound


def test_removal_and_notes(s3):
    store = open_store(s3)
    ref = write(store)
    store.write_json("last-run.json", {"stages": []})
    assert store.read_json("last-run.json") == {"stages": []} and store.read_json("nothing.json") is None
    store.remove(ref)
    assert list(files(store)) == ["last-run.json"]
    assert leftovers(store) == []


def test_no_credential_is_written(s3, s3_server, tmp_path):
    store = open_store(s3)
    write(store)
    secret = s3_server["AWS_SECRET_ACCESS_KEY"].encode()
    local = [path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert not any(secret in content for content in [*files(store).values(), *local])


@pytest.mark.parametrize("url", ["s3://id:secret-word@bucket/store", "abfs://box@account/store?sig=secret-word"])
def test_an_address_with_credentials_is_refused_and_not_repeated(url):
    with pytest.raises(ValidationError, match="credentials belong into the environment") as caught:
        StoreConfig(url=url)
    assert "secret-word" not in str(caught.value) + json.dumps(caught.value.errors(include_input=False), default=str)


def test_a_bucket_that_does_not_exist_is_named(s3, tmp_path):
    open_store(s3).check_bucket()
    open_store(str(tmp_path / "no folder yet")).check_bucket()
    with pytest.raises(StoreError, match="there is no bucket 'no-such-bucket' for s3://no-such-bucket/store"):
        open_store("s3://no-such-bucket/store").check_bucket()


def test_a_bucket_without_credentials_says_where_they_belong(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID"):
        open_store(s3).find("prepare", KEY)


def test_a_bucket_that_does_not_answer_is_an_error_before_anything_is_computed(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match="cannot read prepare"):
        open_store(s3).find("prepare", KEY)
