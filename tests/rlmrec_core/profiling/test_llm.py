import json
import sqlite3
from contextlib import closing

import pytest

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.config.text import MissingSetting
from rlmrec_core.llm.errors import NothingUsable, ServerRefused
from rlmrec_core.profiling import profile_items, profile_users
from rlmrec_core.shard import Workplace
from tests.fake_llm import FakeLLM
from tests.fake_llm.faults import Fault, error, said

KEY = "sk-test-5f0c"
GOOD = json.dumps({"summarization": "For fans of fog.", "reasoning": "The title."})
LONG = json.dumps({"summarization": "word " * 200, "reasoning": "r"})


@pytest.fixture
def run(corpus, tmp_path, monkeypatch):
    """Profiles of items from a server, by default of one item at a time."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)
    ledger = tmp_path / "ledger.db"

    def go(server, concurrency=1):
        llm = LlmConfig(model="m", base_url=server.url, concurrency=concurrency, timeout_seconds=0.5)
        config = ProfileConfig(generator="llm", domain="books", llm=llm)
        result = profile_items(corpus, config, Workplace(ledger))
        return result if result.table else None

    go.ledger = ledger
    go.corpus = corpus
    return go


def row(result, item=0):
    return result.table.to_pylist()[item]


def test_profiles_are_asked_for_and_kept(run):
    with FakeLLM() as server:
        first, again = run(server), run(server)
    assert len(server.requests) == 4 and set(server.billed.values()) == {1}
    assert first.table == again.table and first.report["complete"]
    assert first.report["status"] == {"ok": 4, "missing": 1}
    assert first.report["requests"] == {"calls": 4} and again.report["requests"] == {"cache hits": 4}
    told = row(first)
    assert told["model"] == "m-2026-01-01" and told["finish_reason"] == "stop" and told["attempts"] == 1
    assert told["tokens_in"] > 0 and told["tokens_out"] == 20 and told["prompt_version"] == "books/item 1, contract 1"
    assert server.heads[0]["authorization"] == f"Bearer {KEY}"


def test_concurrency_changes_nothing(run, tmp_path):
    with FakeLLM() as server:
        one = run(server)
        (tmp_path / "ledger.db").rename(tmp_path / "other.db")
        assert run(server, concurrency=8).table == one.table


def test_users_are_asked_about_from_item_profiles(run, corpus):
    with FakeLLM() as server:
        items = run(server)
        config = ProfileConfig(generator="llm", domain="books", llm=LlmConfig(model="m", base_url=server.url))
        users = profile_users(corpus, items.table, config, Workplace(run.ledger))
        assert len(users.table) == 4
    assert users.report["status"] == {"ok": 3, "missing": 1}
    shown = json.dumps(server.requests)
    assert row(items)["summarization"] in shown and "CANARY-VALIDATION" not in shown and "CANARY-TEST" not in shown
    assert "CANARY-UNSEEN" not in shown


def test_users_are_not_asked_about_when_no_item_has_a_profile(run, corpus):
    with FakeLLM(lambda n, body: error(400, "invalid")) as server:
        items = run(server)
        asked = server.n_requests
        config = ProfileConfig(generator="llm", domain="books", llm=LlmConfig(model="m", base_url=server.url))
        with pytest.raises(NothingUsable, match="no item has a profile"):
            profile_users(corpus, items.table, config, Workplace(run.ledger))
    assert server.n_requests == asked


def test_equal_prompts_are_sent_once(build, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    twins = [(f"i{i}", "Same", "Same words.", None) for i in range(4)]
    with FakeLLM(latency=0.05) as server:
        llm = LlmConfig(model="m", base_url=server.url, concurrency=4)
        config = ProfileConfig(generator="llm", domain="books", llm=llm)
        corpus = build(edges=[(0, 0, "train", None, None)], items=twins)
        result = profile_items(corpus, config, Workplace(tmp_path / "l.db"))
        assert len(result.table) == 4
    assert len(server.requests) == 1 and result.report["status"] == {"ok": 4}


@pytest.mark.parametrize(
    "fault",
    [
        error(429, retry_after="0.01"),
        error(500),
        error(503),
        error(408),
        error(409),
        Fault(body="<html>busy</html>"),
        Fault(body="{"),
        Fault(change=lambda body: body | {"choices": []}),
        Fault(change=lambda body: body | {"choices": None}),
        Fault(cut="before headers"),
        Fault(cut="mid body"),
        Fault(delay=1.0),
    ],
    ids=lambda fault: f"{fault.status} {fault.body or fault.cut}",
)
def test_what_passes_is_tried_again(run, fault):
    with FakeLLM([fault]) as server:
        result = run(server)
    assert row(result)["status"] == "ok" and row(result)["attempts"] == 2
    assert len(server.requests) == 5


@pytest.mark.parametrize("fault", [Fault(cut="mid body"), Fault(body="<html>")])
def test_what_may_have_been_billed_is_tried_twice_at_most(run, fault):
    with FakeLLM([fault] * 2) as server:
        result = run(server)
    assert row(result)["status"] == "failed" and row(result, 1)["status"] == "ok"
    assert len(server.requests) == 5
    with FakeLLM() as server:
        assert row(run(server))["status"] == "ok"  # the next run tries again


def test_one_bad_request_fails_one_row(run):
    with FakeLLM([error(400, "invalid_request_error")]) as server:
        result = run(server)
    assert [one["status"] for one in result.table.to_pylist()] == ["failed", "ok", "ok", "missing", "ok"]
    assert "refused with 400" in row(result)["error"]


@pytest.mark.parametrize(
    "fault",
    [error(401), error(402), error(404, "model_not_found"), error(429, "insufficient_quota"), error(307)],
)
def test_a_server_that_serves_nobody_stops_the_run(run, fault):
    with FakeLLM(lambda n, _: None if n < 2 else fault) as server:
        with pytest.raises(ServerRefused, match=r"refused with|sends us on"):
            run(server)
        assert len(server.requests) == 3
    with closing(sqlite3.connect(run.ledger)) as ledger:
        states = ledger.execute("SELECT state, count(*) FROM requests GROUP BY state").fetchall()
    assert ("validated", 2) in states


@pytest.mark.parametrize(
    ("bad", "quoted"),
    [("no idea", "not one JSON object"), (GOOD + GOOD, "more than one"), (LONG, "200 words")],
)
def test_an_unusable_answer_is_asked_again_once_with_the_reason(run, bad, quoted):
    with FakeLLM([said(bad), said(GOOD)]) as server:
        result = run(server)
        again = run(server)
    assert row(result)["summarization"] == "For fans of fog." and again.table == result.table
    question = server.requests[1]["messages"]
    assert question[2] == {"role": "assistant", "content": bad} and quoted in question[3]["content"]


def test_after_two_unusable_answers_the_row_fails_and_only_the_second_is_asked_again(run):
    with FakeLLM([said("no"), said("never")]) as server:
        assert "not one JSON object" in row(run(server))["error"]
        asked = len(server.requests)
        assert row(run(server))["status"] == "ok"
        assert len(server.requests) == asked + 1 and len(server.requests[-1]["messages"]) == 4


def test_an_answer_cut_off_is_asked_for_with_a_longer_cap(run):
    with FakeLLM([said(GOOD[:-2], "length")]) as server:
        assert row(run(server))["status"] == "ok"
    assert [body["max_completion_tokens"] for body in server.requests[:2]] == [400, 800]


def test_a_refusal_is_final(run):
    with FakeLLM([said("", "content_filter")]) as server:
        result, again = run(server), run(server)
    assert "declined" in row(result)["error"] and row(again) == row(result)
    assert len(server.requests) == 4


def test_an_answer_saved_but_not_read_is_not_paid_again(run, monkeypatch):
    """The process dies between the answer's arrival and its reading."""

    def die(*_, **__):
        raise KeyboardInterrupt

    with FakeLLM() as server:
        with monkeypatch.context() as patched:
            patched.setattr("rlmrec_core.profiling.prompts.judge", die)
            with pytest.raises(KeyboardInterrupt):
                run(server)
        assert run(server).report["status"] == {"ok": 4, "missing": 1}
    assert set(server.billed.values()) == {1}


def test_key_and_model_are_asked_for_before_any_work(corpus, tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "RLMREC_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)
    place = Workplace(tmp_path / "l.db")
    with pytest.raises(MissingSetting, match="RLMREC_LLM_MODEL"):
        profile_items(corpus, ProfileConfig(generator="llm"), place)
    with pytest.raises(MissingSetting, match="OPENAI_API_KEY"):
        _ = profile_items(corpus, ProfileConfig(generator="llm", llm=LlmConfig(model="m")), place).table


def test_the_key_is_nowhere_to_be_found(run):
    echo = Fault(status=400, change=lambda _: {"error": {"message": f"bad key {KEY}"}})
    with FakeLLM([echo]) as server:
        result = run(server)
    assert "***" in row(result)["error"]
    files = b"".join(file.read_bytes() for file in run.ledger.parent.rglob("*") if file.is_file())
    assert KEY.encode() not in files and KEY not in str(result.table.to_pylist()) + str(result.report)
