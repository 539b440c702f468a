"""Batches against a server with files and batches."""

import sqlite3
from contextlib import closing

import pytest

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.llm.batch import BatchClient
from rlmrec_core.llm.batch_ledger import BatchLedger
from rlmrec_core.llm.errors import BudgetReached, ServerRefused
from rlmrec_core.profiling.job import ProfileJob
from rlmrec_core.profiling.sources import ItemSource
from tests.fake_llm import FakeLLM

N = 6


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The status of the profiles of six items, by default in one batch."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("rlmrec_core.llm.batch_server._backoff", lambda _: 0.0)

    def go(server, mode="batch", about="About", **llm):
        settings = LlmConfig(model="m", base_url=server.url, mode=mode, batch_poll_seconds=0.01, **llm)
        config = ProfileConfig(generator="llm", domain="books", llm=settings)
        sources = [ItemSource(i, f"Title {i}", f"{about} {i}.", (), ()) for i in range(N)]
        job = ProfileJob(lambda: sources, "item", config, tmp_path / "l.db", "test")
        return [row.status for batch in job.rows() for row in batch]

    go.ledger = tmp_path / "l.db"
    return go


def query(ledger, text):
    with closing(sqlite3.connect(ledger)) as db:
        return db.execute(text).fetchall()


def all_ok_and_billed_once(statuses, server):
    assert statuses == ["ok"] * N
    assert len(server.billed) == N and set(server.billed.values()) == {1}
    return True


def test_online_and_batch_share_their_answers(run):
    with FakeLLM() as server:
        assert all_ok_and_billed_once(run(server), server)
        assert len(server.batches.made) == 1 and not server.requests
        assert run(server, mode="online") == run(server) == ["ok"] * N
        assert len(server.batches.made) == 1 and not server.requests
    assert query(run.ledger, "SELECT count(*) FROM batches") == [(0,)]


def test_a_batch_holds_no_more_than_it_may(run):
    with FakeLLM() as server:
        assert all_ok_and_billed_once(run(server, batch_requests=4), server)
    assert [content.count("custom_id") for content in server.batches.files.values()][::2] == [4, 2]


def lost(output, errors):
    return output[1:-1], errors


def shuffled_doubled_and_unknown(output, errors):
    return [*output[::-1], output[0], {**output[0], "custom_id": "nobody's"}], errors


def one_busy(output, errors):
    busy = {"status_code": 503, "body": {"error": {"message": "busy", "code": "busy"}}}
    return output[1:], [{**output[0], "response": busy}]


def one_expired(output, errors):
    return output[1:], [{**output[0], "response": None, "error": {"code": "batch_expired", "message": "too late"}}]


def all_expired(output, errors):
    return [], [{**row, "response": None, "error": {"code": "batch_expired"}} for row in output]


def first_batch_only(server, change):
    """The change is made to the first batch alone."""

    def changed(output, errors):
        server.batches.change = lambda output, errors: (output, errors)
        return change(output, errors)

    server.batches.change = changed


@pytest.mark.parametrize(
    ("change", "ending", "batches"),
    [
        (lost, "completed", 2),
        (shuffled_doubled_and_unknown, "completed", 1),
        (one_busy, "completed", 2),
        (one_expired, "expired", 2),
        (all_expired, "expired", 2),
        (lost, "cancelled", 2),
    ],
)
def test_what_a_batch_leaves_out_goes_into_another(run, change, ending, batches):
    with FakeLLM() as server:
        server.batches.ending = ending
        first_batch_only(server, change)
        assert all_ok_and_billed_once(run(server), server)
    assert len(server.batches.made) == batches


def test_a_row_that_is_simply_wrong_fails_alone(run):
    def change(output, errors):
        wrong = {"status_code": 400, "body": {"error": {"message": "no", "code": "invalid"}}}
        return output[1:], [{**output[0], "response": wrong}]

    with FakeLLM() as server:
        server.batches.change = change
        assert run(server) == ["failed"] + ["ok"] * (N - 1)
    assert len(server.batches.made) == 1


def test_a_batch_too_large_for_the_queue_is_made_smaller(run):
    with FakeLLM() as server:
        server.batches.ending = "failed"
        server.batches.errors = [{"code": "token_limit_exceeded", "message": "enqueued tokens"}]
        serve = server.batches._create

        def create(asked):
            rows = server.batches.files[asked["input_file_id"]].count("custom_id")
            server.batches.ending = "failed" if rows > 3 else "completed"
            return serve(asked)

        server.batches._create = create
        assert all_ok_and_billed_once(run(server), server)
    assert len(server.batches.made) == 3


def test_a_batch_that_fails_for_another_reason_stops_the_run(run):
    with FakeLLM() as server:
        server.batches.ending, server.batches.errors = "failed", [{"code": "invalid", "message": "no such model"}]
        with pytest.raises(ServerRefused, match="no such model"):
            run(server)
    assert query(run.ledger, "SELECT count(*) FROM calls WHERE state = 'batched'") == [(0,)]


def test_a_batch_begun_unheard_is_found_by_its_name(run):
    with FakeLLM() as server:
        server.batches.lose_next_creation = True
        assert all_ok_and_billed_once(run(server), server)
    assert len(server.batches.made) == 1


@pytest.mark.parametrize("moment", ["_ended", "_submitted"])
@pytest.mark.parametrize("mode", ["batch", "online"])
def test_a_run_that_dies_leaves_its_batch_to_the_next(run, monkeypatch, moment, mode):
    """It dies while it waits for the batch, or before it has submitted it."""

    async def die(*_, **__):
        raise KeyboardInterrupt

    with FakeLLM() as server:
        with monkeypatch.context() as patched:
            patched.setattr(BatchClient, moment, die)
            with pytest.raises(KeyboardInterrupt):
                run(server)
        assert all_ok_and_billed_once(run(server, mode=mode), server)
    assert len(server.batches.made) == (0 if (moment, mode) == ("_submitted", "online") else 1)


def test_a_run_that_dies_before_it_hears_of_its_batch_does_not_submit_it_twice(run, monkeypatch):
    note = BatchLedger.now

    async def die(self, name, state, **known):
        if state == "submitted":
            raise KeyboardInterrupt
        return await note(self, name, state, **known)

    with FakeLLM() as server:
        with monkeypatch.context() as patched:
            patched.setattr(BatchLedger, "now", die)
            with pytest.raises(KeyboardInterrupt):
                run(server)
        assert all_ok_and_billed_once(run(server), server)
    assert len(server.batches.made) == 1


def at_their_cap(output, errors):
    for row in output:
        row["response"]["body"]["usage"] = {"prompt_tokens": 300, "completion_tokens": 400}
    return output, errors


def test_a_budget_bounds_a_batch(run):
    with FakeLLM() as server:
        server.batches.change = at_their_cap
        with pytest.raises(BudgetReached):
            run(server, budget_usd=0.0015, price_in=0.01, price_out=1.0)
        assert server.billed.total() == 3  # a fourth answer of 400 tokens might cost more than is left
        assert all_ok_and_billed_once(run(server, budget_usd=1.0, price_in=0.01, price_out=1.0), server)
