from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from storage import ArtifactStore, StoreConfig
from tasks import shards
from tasks.embed import embed, embed_stage
from tasks.ingest import ingest
from tasks.item_profiles import item_stage, profile_items
from tasks.prepare import prepare
from tasks.stage import Stage
from tasks.stages import result_of
from tasks.user_profiles import profile_users, user_stage
from tests.tasks.by_hand import tiny
from tests.tasks.test_paid import profiled
from tests.tasks.test_pipeline import digests

STAGE = Stage("embed", 1, ("items",), {"a": 1}, {})


def made_by_workers(artifacts: ArtifactStore) -> list:
    """Three shards, each with a table of its own number."""

    def write(number):
        return lambda out: out.table("numbers", pa.table({"n": [number]}))

    return [
        shards.run_shard(STAGE, shard, artifacts, "numbers", write(shard.number), force=False)
        for shard in shards.cut(STAGE, artifacts, total=3, at_once=8)
    ]


def test_shards_are_joined_and_those_that_are_damaged_left_out(store):
    artifacts = ArtifactStore.open(store)
    made = made_by_workers(artifacts)
    assert [result.title for result in made] == [f"embed_shard shard {n} of 3" for n in (1, 2, 3)]
    assert {result.status for result in made_by_workers(artifacts)} == {"hit"}
    assert shards.joined(STAGE, artifacts, 3, "numbers")["n"].to_pylist() == [0, 1, 2]
    with Path(artifacts.address(made[1].ref, "numbers.parquet")).open("ab") as file:
        file.write(b"more")
    assert shards.joined(STAGE, artifacts, 3, "numbers")["n"].to_pylist() == [0, 2]
    shards.remove(STAGE, artifacts, 3)
    shards.remove(STAGE, artifacts, 3)
    assert not artifacts.refs() and shards.joined(STAGE, artifacts, 3, "numbers") is None


def test_a_worker_unlike_the_flow_does_nothing(store):
    artifacts = ArtifactStore.open(store)
    shard, *_ = shards.cut(STAGE, artifacts, total=2, at_once=8)
    assert shard.at_once == 2
    shards.check_worker(STAGE, shard, artifacts, pays=True)
    with pytest.raises(shards.UnlikeWorker, match="prompts"):
        shards.check_worker(replace(STAGE, version=2), shard, artifacts, pays=False)
    elsewhere = replace(shard, ledger="another machine")
    shards.check_worker(STAGE, elsewhere, artifacts, pays=False)
    with pytest.raises(shards.UnlikeWorker, match="asks nothing"):
        shards.check_worker(STAGE, elsewhere, artifacts, pays=True)


def test_stages_joined_from_shards_have_the_bytes_of_those_done_in_one_go(tmp_path):
    config, whole, divided = tiny(), *(StoreConfig(url=str(tmp_path / name)) for name in ("whole", "divided"))
    profiled(config, whole)
    artifacts = ArtifactStore.open(divided)

    def joined(task, settings, stage, *refs):
        for shard in shards.cut(stage, artifacts, 3, 2):
            assert result_of(task.fn(settings, divided, *refs, shard=shard)).status == "computed"
        return result_of(task.fn(settings, divided, *refs, n_shards=3)).ref

    refs = [result_of(ingest.fn(config.ingest, divided)).ref]
    refs.append(result_of(prepare.fn(config.prepare, divided, *refs)).ref)
    settings = config.item_profiles.resolved()
    refs.append(joined(profile_items, settings, item_stage(settings, *refs), *refs))
    settings = config.user_profiles.resolved()
    refs.append(joined(profile_users, settings, user_stage(settings, artifacts, *refs), *refs))
    names = ("ingest", "prepare", "item_profiles", "user_profiles")
    joined(embed, config.embed, embed_stage(config.embed, **dict(zip(names, refs, strict=True))), *refs)
    assert digests(tmp_path / "divided") == digests(tmp_path / "whole")
