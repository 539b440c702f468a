"""Reasons in the words of a model: asked about once, beside the lists, in the plan and on the report."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from rlmrec_core.tables import WRITTEN_REASONS
from storage import ArtifactStore
from tasks import datasets
from tasks.page import report_page
from tasks.plan import plan_by_hand
from tasks.results import Results
from tasks.stage import result_of
from tasks.stages import run_by_hand
from tests.fake_llm import FakeLLM
from tests.fake_llm.faults import error, said
from tests.tasks.by_hand import tiny

WORLD = {"train": {"variants": ["con"]}, "embed": {"embed_source": "profile"}}
"""The settings of `con_world`."""


@pytest.fixture(scope="module")
def monkeypatched():
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OPENAI_API_KEY", "sk-test")
        patched.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)
        yield


def loose(n, body):
    """A model that names another item in some of its answers."""
    given = json.loads(body["messages"][1]["content"])
    invented = len(given["item"]) % 4 == 0
    told = f"Try The Phantom Cellar instead of {given['item']}." if invented else f"{given['item']} is close to you."
    return said(json.dumps({"sentence": told}))


def asked_of(server, **reasons):
    llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0}
    return tiny(**WORLD, reasons={"generator": "llm", "llm": llm, **reasons})


def noted(config, store):
    """A run whose artifacts are noted as the latest of the sample."""
    done = run_by_hand(config, store)
    keys = {stage: [one.ref.key for one in made] for stage, made in done.items()}
    datasets.remember(ArtifactStore.open(store), "sample", keys)
    return done


@pytest.fixture(scope="module")
def world(con_world, monkeypatched):
    """A run without a model's sentences."""
    return con_world


def test_a_plan_without_lists_reckons(monkeypatched, store):
    with FakeLLM() as server:
        (before,) = plan_by_hand(asked_of(server), store)
        assert not server.n_requests
    assert before["side"] == "reason" and before["requests"] == before["rows"] == 30 * 3
    assert before["count"] == "estimated" and 0 < before["usd_likely"] <= before["usd_high"]


def test_a_plan_costs_nothing_and_comes_true(world):
    store, done = world
    assert "reasons" not in done
    with FakeLLM(loose) as server:
        config = asked_of(server, places=2)
        (exact,) = plan_by_hand(config, store)
        assert exact["rows"] == 60 and exact["note"] == "about the latest lists" and not server.n_requests
        made = noted(config, store)["reasons"][0]
        first = [body for body in server.requests if len(body["messages"]) == 2]
        assert len(first) == exact["requests"] and exact["requests"] + exact["duplicates"] == 60
        assert plan_by_hand(config, store)[0]["cached"]

        artifacts = ArtifactStore.open(store)
        written, plain = (artifacts.table(ref, "reasons").to_pylist() for ref in (made.ref, done["recommend"][0].ref))
        assert [{name: row[name] for name in plain[0] if name != "sentence"} for row in written] == [
            {name: row[name] for name in plain[0] if name != "sentence"} for row in plain
        ]
        for row, without in zip(written, plain, strict=True):
            if row["rank"] > 2:
                assert row["generator"] == "extractive" and row["error"] is None
            if row["generator"] == "extractive":
                assert row["sentence"] == without["sentence"]
                continue
            assert row["sentence"].endswith(" is close to you.") and row["cost_usd"] and row["model"] == "m-2026-01-01"
        replaced = [row for row in written if row["error"]]
        assert replaced and all("not written by the model: it names '" in row["error"] for row in replaced)

        spent = server.n_requests
        again = noted(config, store)["reasons"][0]
        assert again.status == "hit" and server.n_requests == spent and again.unfinished is None

        results = Results.open(artifacts)
        assert results.reasons == made.ref
        page = Path(report_page(artifacts, results)).read_text(encoding="utf-8")
        content = json.loads(re.findall(r'id="content">(.*?)</script>', page, re.DOTALL)[0])
        assert f"of 60 that it was asked for, {len(replaced)} named an item outside" in content["reasons"]
        shown = {place[2] for user in content["users"] for place in user["list"]}
        assert shown == {row["sentence"] for row in written}

        # Without a model the lists' own reasons are there as before.
        plain_results = Results.of(artifacts, "sample", {"recommend": [done["recommend"][0].ref.key]})
        assert plain_results.reasons == plain_results.lists


def test_sentences_that_did_not_come_are_asked_for_again(world):
    store, done = world
    from tasks.reasons import write_reasons

    with FakeLLM(lambda n, body: error(400, "invalid") if n == 1 else loose(n, body)) as server:
        config = asked_of(server, places=1, max_words=30).reasons
        first = result_of(write_reasons.fn(config, store, done["recommend"][0].ref))
        assert "1 of 90 sentences could not be had: 1 x not written by the model: http 400" in first.unfinished
        second = result_of(write_reasons.fn(config, store, done["recommend"][0].ref))
        assert second.unfinished is None and second.ref.key == second.wanted != first.ref.key


def test_held_out_interactions_are_no_evidence(world):
    store, done = world
    from tasks.models import load_split
    from tasks.recommend import recommend

    split_ref, measured = done["prepare"][0].ref, done["evaluate"][0].ref
    made = result_of(recommend.fn(tiny(recommend={"exclude": "all"}).recommend, store, split_ref, measured)).ref
    artifacts = ArtifactStore.open(store)
    split = load_split(artifacts, split_ref)
    users, items = (artifacts.table(split_ref, f"{side}_index")[f"{side}_id"] for side in ("user", "item"))
    train = {
        (users[user].as_py(), items[item].as_py())
        for user, item in zip(split.train.user.tolist(), split.train.item.tolist(), strict=True)
    }
    rows = artifacts.table(made, "reasons").to_pylist()
    named = {(row["user_id"], row[f"{kind}_item_id"]) for row in rows for kind in ("behaviour", "text")}
    assert {pair for pair in named if pair[1]} <= train


def test_a_servers_name_for_its_model_is_text_on_every_page():
    from tasks.reasons import _page, audit
    from tasks.report import as_text

    hostile = "m <img src=x onerror=alert(1)> [a](javascript:alert(1))"
    row = {"generator": "llm", "model": hostile, "sentence": "It is close."}
    table = pa.Table.from_pylist([row], schema=WRITTEN_REASONS)
    assert hostile in audit(table)
    assert as_text(audit(table)) in _page(audit(table), table)
    assert not re.search(r"(?<!\\)[<\[]", _page(audit(table), table))


def test_a_model_of_no_use_leaves_the_extractive_sentences(world, monkeypatch):
    store, done = world
    from tasks.reasons import audit, write_reasons

    monkeypatch.setattr("rlmrec_core.explain.asking._FIRST_ANSWERS", 4)
    with FakeLLM() as server:
        config = asked_of(server, max_words=20).reasons
        made = result_of(write_reasons.fn(config, store, done["recommend"][0].ref))
        assert server.n_requests < 90
    table = ArtifactStore.open(store).table(made.ref, "reasons")
    assert set(table["generator"].to_pylist()) == {"extractive"} and made.unfinished is None
    assert audit(table).startswith("0 of 90 sentences are by m")
