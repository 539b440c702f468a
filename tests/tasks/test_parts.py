from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from storage import ArtifactStore, StoreConfig
from tasks import parts
from tasks.embed import embed, embed_stage
from tasks.ingest import ingest
from tasks.item_profiles import item_stage, profile_items
from tasks.prepare import prepare
from tasks.stage import Stage
from tasks.user_profiles import profile_users, user_stage
from tests.tasks.by_hand import done, tiny
from tests.tasks.test_paid import profiled
from tests.tasks.test_pipeline import digests

STAGE = Stage("embed", 1, ("items",), {"a": 1}, {})


def pieces_of(artifacts: ArtifactStore) -> list:
    """Three parts, each with a table of its own number."""

    def write(number):
        return lambda out: out.table("numbers", pa.table({"n": [number]}))

    shares = parts.shares(STAGE, artifacts, total=3, at_once=8)
    return [
        parts.run_part(STAGE, share, artifacts, "numbers", write(number), force=False)
        for number, share in enumerate(shares)
    ]


def test_parts_are_joined_and_those_that_are_damaged_left_out(store):
    artifacts = ArtifactStore.open(store)
    made = pieces_of(artifacts)
    assert [result.title for result in made] == [f"embed_part part {n} of 3" for n in (1, 2, 3)]
    assert {result.status for result in pieces_of(artifacts)} == {"hit"}
    refs = [result.ref for result in made]
    assert parts.joined(artifacts, refs, "numbers")["n"].to_pylist() == [0, 1, 2]
    with Path(artifacts.address(refs[1], "numbers.parquet")).open("ab") as file:
        file.write(b"more")
    assert parts.joined(artifacts, refs, "numbers")["n"].to_pylist() == [0, 2]
    parts.remove(artifacts, refs)
    parts.remove(artifacts, refs)
    assert not artifacts.refs() and parts.joined(artifacts, refs, "numbers") is None


def test_a_worker_unlike_the_flow_does_nothing(store):
    artifacts = ArtifactStore.open(store)
    share, *_ = parts.shares(STAGE, artifacts, total=2, at_once=8)
    assert share.part.at_once == 2
    parts.check_worker(STAGE, share, artifacts, pays=True)
    with pytest.raises(parts.UnlikeWorker, match="prompts"):
        parts.check_worker(replace(STAGE, version=2), share, artifacts, pays=False)
    elsewhere = replace(share, ledger="another machine")
    parts.check_worker(STAGE, elsewhere, artifacts, pays=False)
    with pytest.raises(parts.UnlikeWorker, match="asks nothing"):
        parts.check_worker(STAGE, elsewhere, artifacts, pays=True)


def test_stages_put_together_from_parts_have_the_bytes_of_those_done_in_one_go(tmp_path):
    config, whole, divided = tiny(), *(StoreConfig(url=str(tmp_path / name)) for name in ("whole", "divided"))
    profiled(config, whole)
    artifacts = ArtifactStore.open(divided)

    def put_together(task, settings, stage, *refs):
        pieces = [
            done(task.fn(settings, divided, *refs, share=share)).ref for share in parts.shares(stage, artifacts, 3, 2)
        ]
        result = done(task.fn(settings, divided, *refs, pieces=pieces))
        parts.remove(artifacts, pieces)
        return result.ref

    refs = [done(ingest.fn(config.ingest, divided)).ref]
    refs.append(done(prepare.fn(config.prepare, divided, *refs)).ref)
    settings = config.item_profiles.resolved()
    refs.append(put_together(profile_items, settings, item_stage(settings, *refs), *refs))
    settings = config.user_profiles.resolved()
    refs.append(put_together(profile_users, settings, user_stage(settings, artifacts, *refs), *refs))
    names = ("ingest", "prepare", "item_profiles", "user_profiles")
    put_together(embed, config.embed, embed_stage(config.embed, **dict(zip(names, refs, strict=True))), *refs)
    assert digests(tmp_path / "divided") == digests(tmp_path / "whole")
