"""Stages that pay: an artifact that lacks rows, the next run that adds them, the plan and the refresh's account."""

import json

import pytest

from storage import ArtifactStore
from tasks import shards
from tasks.embed import embed, embed_stage
from tasks.ingest import ingest
from tasks.item_profiles import profile_items
from tasks.plan import plan_by_hand
from tasks.prepare import prepare
from tasks.refresh import show_changes
from tasks.stages import result_of
from tasks.user_profiles import profile_users
from tests.fake_llm import FakeLLM
from tests.fake_llm.faults import error
from tests.tasks.by_hand import tiny

KEY = "sk-test-77aa"


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)

    def of(server):
        llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0}
        side = {"generator": "llm", "max_words": 60, "llm": llm}
        return tiny(
            item_profiles=side,
            user_profiles=side,
            embed={"encoder": "openai", "model": "e", "base_url": server.url, "embed_source": "profile"},
        )

    return of


def profiled(config, store, previous=None):
    """The stages that write text and vectors."""
    raw = result_of(ingest.fn(config.ingest, store))
    split = result_of(prepare.fn(config.prepare, store, raw.ref))
    items = result_of(profile_items.fn(config.item_profiles, store, raw.ref, split.ref))
    users = result_of(profile_users.fn(config.user_profiles, store, raw.ref, split.ref, items.ref, previous))
    vectors = result_of(embed.fn(config.embed, store, raw.ref, split.ref, items.ref, users.ref))
    return {"item_profiles": [items], "user_profiles": [users], "embed": [vectors]}


def test_an_unfinished_artifact_serves_but_is_not_taken_for_the_whole(settings, store):
    with FakeLLM(lambda n, body: error(400, "invalid") if n in (2, 3) else None) as server:
        first = profiled(settings(server), store)
        items = first["item_profiles"][0]
        assert items.unfinished.startswith("2 of 24 profiles could not be had: 2 x http 400") and "INCOMPLETE" in str(
            items
        )
        assert items.ref.key != items.wanted and not first["user_profiles"][0].unfinished
        vectors = ArtifactStore.open(store).table(first["embed"][0].ref, "items")
        assert sum(not any(row["vector"]) for row in vectors.to_pylist()) == 2

        asked = server.n_requests
        second = profiled(settings(server), store)
        items = second["item_profiles"][0]
        assert items.unfinished is None and items.status == "computed" and items.ref.key == items.wanted
        about_items = [body for body in server.requests[asked:] if '"title"' in json.dumps(body)]
        assert server.n_requests > asked and len(about_items) < asked
        assert {results[0].status for results in profiled(settings(server), store).values()} == {"hit"}
    assert set(server.billed.values()) <= {0, 1}


def test_a_plan_costs_nothing_and_comes_true(settings, store):
    with FakeLLM() as server:
        config = settings(server)
        items, users = plan_by_hand(config, store)
        assert server.n_requests == 0 and items["requests"] and "one changed item reaches" in users["note"]
        written = profiled(config, store)
        bodies = [body for body in server.requests if "messages" in body]
        assert len(bodies) == items["requests"] + users["requests"]
        after = plan_by_hand(config, store)
        assert [row["requests"] for row in after] == [0, 0] and [row["usd_high"] for row in after] == [0, 0]
        rows = show_changes(store, {}, written)
    assert [row["calls"] for row in rows] == [items["requests"], users["requests"]]
    assert all(items["usd_likely"] > 0 for row in rows) and rows[0]["usd"] <= items["usd_high"]


def test_a_refresh_without_changes_finds_everything(settings, store):
    with FakeLLM() as server:
        first = profiled(settings(server), store)
        before, asked = {stage: made[0].ref for stage, made in first.items() if stage != "embed"}, server.n_requests
        again = profiled(settings(server), store, previous=before["user_profiles"])
        rows = show_changes(store, before, again)
    assert {results[0].status for results in again.values()} == {"hit"} and server.n_requests == asked
    assert all((row["new"], row["changed"], row["gone"], row["calls"]) == (0, 0, 0, 0) for row in rows)


def test_workers_ask_again_once_about_a_text_that_failed(settings, store):
    def plan(n, body):
        return error(400) if "input" in body and bad in body["input"] else None

    bad = ""
    with FakeLLM(plan) as server:
        config = settings(server)
        raw = result_of(ingest.fn(config.ingest, store)).ref
        split = result_of(prepare.fn(config.prepare, store, raw)).ref
        items = result_of(profile_items.fn(config.item_profiles, store, raw, split)).ref
        users = result_of(profile_users.fn(config.user_profiles, store, raw, split, items)).ref
        bad = ArtifactStore.open(store).table(items, "profiles")["summarization"][3].as_py()
        first = result_of(embed.fn(config.embed, store, raw, split, items, users))
        assert "retry-failed asks again" in str(first) and "texts got no vector" in first.unfinished

        asked = len(server.requests)
        assert result_of(embed.fn(config.embed, store, raw, split, items, users)).unfinished
        assert len(server.requests) == asked
        again = config.embed.model_copy(update={"retry_failed": True})
        stage = embed_stage(again.resolved(), ingest=raw, prepare=split, item_profiles=items, user_profiles=users)
        for shard in shards.cut(stage, ArtifactStore.open(store), 2, 2):
            embed.fn(again, store, raw, split, items, users, shard=shard)
        assert result_of(embed.fn(again, store, raw, split, items, users, n_shards=2)).unfinished
    assert [body["input"] for body in server.requests[asked:]] == [[bad]]


def test_the_key_is_in_no_file(settings, store, tmp_path):
    with FakeLLM(lambda n, body: error(400, "invalid") if n == 1 else None) as server:
        profiled(settings(server), store)
    assert KEY.encode() not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
