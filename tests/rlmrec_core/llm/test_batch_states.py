"""Every state of a batch has a way out, and what a server writes into its files stops nothing."""

import json
import logging
import sqlite3
from contextlib import closing

import pytest

from rlmrec_core.llm.answers import BatchRow
from rlmrec_core.llm.batch import BatchClient
from rlmrec_core.llm.errors import BrokenAnswer, ServerRefused
from rlmrec_core.llm.ledger import open_ledger
from tests.fake_llm import FakeLLM
from tests.rlmrec_core.llm.test_batch import N, all_ok_and_billed_once, first_batch_only, query, run

__all__ = ["run"]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr("rlmrec_core.llm.batch._LOOKS_SECONDS", 0.0)


def left_open(run, server, monkeypatch, moment="_ended"):
    """A run that dies in the middle of a batch."""

    async def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(BatchClient, moment, die)
        with pytest.raises(KeyboardInterrupt):
            run(server)


def not_found(method, path):
    return 404, {"error": {"message": "no such thing", "code": "not_found"}}


def no_such_batch(method, path):
    return 400, {"error": "No such batch"}


MODES = pytest.mark.parametrize("mode", ["batch", "online"])


@MODES
def test_a_batch_that_the_server_has_forgotten_stops_one_run_and_no_other(run, monkeypatch, mode):
    with FakeLLM() as server:
        left_open(run, server, monkeypatch)
        server.batches.made.clear()
        with pytest.raises(ServerRefused, match=r"does not know the batch batch_0 .*6 requests.*Run again"):
            run(server, mode=mode)
        assert run(server, mode=mode) == ["ok"] * N
        assert len(server.batches.made) == (mode == "batch")
    assert query(run.ledger, "SELECT count(*) FROM batches") == [(0,)]
    assert query(run.ledger, "SELECT count(*) FROM calls WHERE state = 'lost'") == [(N,)]


@pytest.mark.parametrize("answer", [not_found, no_such_batch])
def test_a_forgotten_batch_that_comes_back_is_read(run, monkeypatch, answer):
    """Such as with the key that it was begun with."""
    with FakeLLM() as server:
        left_open(run, server, monkeypatch)
        server.batches.refuse = answer
        with pytest.raises(ServerRefused, match="another OPENAI_API_KEY"):
            run(server)
        server.batches.refuse = lambda method, path: None
        assert all_ok_and_billed_once(run(server), server)


@MODES
def test_results_that_have_vanished_stop_one_run_and_no_other(run, mode):
    with FakeLLM() as server:
        server.batches.refuse = lambda method, path: not_found(method, path) if path.endswith("/content") else None
        with pytest.raises(ServerRefused, match="results of the batch batch_0 are not on the server any more"):
            run(server)
        assert len(server.batches.made) == 1
        if mode == "batch":
            with pytest.raises(ServerRefused, match="results of the batch batch_1"):
                run(server)  # asked once in each run, not three times in one
        server.batches.refuse = lambda method, path: None
        assert run(server, mode=mode) == ["ok"] * N


@pytest.mark.parametrize(("status", "lacking"), [(404, "/v1/files"), (405, "/v1/batches"), (501, "/v1/batches")])
def test_a_server_without_batches_is_told_so_and_asked_one_by_one(run, lacking, status):
    with FakeLLM() as server:
        server.batches.refuse = lambda method, path: (status, {"detail": "Not Found"}) if path == lacking else None
        with pytest.raises(ServerRefused, match=r'offers no batches.*llm.mode = "online"') as caught:
            run(server)
        assert "check OPENAI_API_KEY" not in str(caught.value)
        server.batches.refuse = lambda method, path: (status, {"detail": "Not Found"})
        assert all_ok_and_billed_once(run(server, mode="online"), server)


def test_texts_with_other_ends_of_lines_stay_in_their_rows(run):
    """On the way there, to a server that ends lines at them, and on the way back."""

    def raw(output, errors):
        for row in output:
            message = row["response"]["body"]["choices"][0]["message"]
            message["content"] = message["content"].replace("offers", "\u2028offers\u0085\u2029")
        return [json.dumps(row, ensure_ascii=False) for row in output], errors

    with FakeLLM() as server:
        server.batches.change = raw
        serve = server.batches._work
        asked = []

        def work(batch):
            asked.extend(json.loads(line) for line in server.batches.files[batch["input_file_id"]].splitlines())
            serve(batch)

        server.batches._work = work
        assert run(server, about="one\u2028two\u0085three") == ["ok"] * N
    assert len(asked) == N and "one\u2028two\u0085three" in asked[0]["body"]["messages"][-1]["content"]
    assert query(run.ledger, "SELECT count(*) FROM calls") == [(N,)]


def body(row):
    return row["response"]["body"]


READABLE = {
    "status as text": lambda row: {**row, "response": {**row["response"], "status_code": "200"}},
    "response as text": lambda row: {**row, "response": json.dumps(row["response"])},
    "body as text": lambda row: {**row, "response": {**row["response"], "body": json.dumps(body(row))}},
    "no status": lambda row: {**row, "response": {"body": body(row)}},
    "half a surrogate pair": lambda row: json.dumps(row).replace("offers", "offers \\ud83c"),
    "an empty error": lambda row: {**row, "error": ""},
}


@pytest.mark.parametrize("change", READABLE.values(), ids=READABLE)
def test_odd_rows_that_hold_an_answer_are_read(run, change):
    with FakeLLM() as server:
        server.batches.change = lambda output, errors: ([change(output[0]), *output[1:]], errors)
        assert run(server) == run(server, mode="online") == ["ok"] * N
    assert len(server.batches.made) == 1 and not server.requests


HOPELESS = {
    "error as text": lambda row: {**row, "response": None, "error": "it \ud83c broke"},
    "response as text": lambda row: {**row, "response": "busy"},
    "response as a list": lambda row: {**row, "response": [1]},
    "status of no number": lambda row: {**row, "response": {"status_code": "bad", "body": "?"}},
    "status of 10^20": lambda row: {**row, "response": {"status_code": 10**20, "body": None}},
    "error with status 200": lambda row: {
        **row,
        "response": {"status_code": 200, "body": {"error": {"message": "broke", "code": 500}}},
    },
    "no completion": lambda row: {**row, "response": {"status_code": 200, "body": "hello"}},
    "custom_id as a number": lambda row: {**row, "custom_id": 7},
    "no JSON": lambda row: "<html>busy</html>",
    "deep nesting": lambda row: "[" * 3000,
    "a long number": lambda row: '{"custom_id": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("change", HOPELESS.values(), ids=HOPELESS)
def test_odd_rows_without_an_answer_are_asked_again_and_crash_nothing(run, change):
    with FakeLLM() as server:
        first_batch_only(server, lambda output, errors: ([change(output[0]), *output[1:]], errors))
        assert run(server) == ["ok"] * N
        assert run(server) == run(server, mode="online") == ["ok"] * N
        assert [content.count("custom_id") for content in server.batches.files.values()][::2] == [N, 1]


def test_any_line_becomes_a_row_or_a_broken_answer():
    for value in (None, 1, "x", [], {}, {"custom_id": "k"}, {"custom_id": "k", "response": {"body": {"choices": 1}}}):
        try:
            row = BatchRow.read(json.dumps(value).encode())
        except BrokenAnswer:
            continue
        assert row.key == "k" and (row.body is None) == (row.refusal is not None)


@pytest.mark.parametrize("looks", [0, 12])
def test_a_creation_that_times_out_while_the_list_lags_bills_once(run, looks):
    with FakeLLM() as server:
        server.batches.slow_creations, server.batches.lists_after = [0.6], looks
        assert all_ok_and_billed_once(run(server, timeout_seconds=0.3), server)
    assert len(server.batches.made) == 1


def test_a_batch_that_is_not_listed_yet_is_not_submitted_twice_by_any_run(run):
    with FakeLLM() as server:
        server.batches.slow_creations, server.batches.lists_after = [0.6], 80
        for _ in range(2):
            with pytest.raises(ServerRefused, match=r"did not say whether it began .*abandon"):
                run(server, timeout_seconds=0.3)
        server.batches.lists_after = 0
        assert all_ok_and_billed_once(run(server, mode="online"), server)
    assert len(server.batches.made) == 1


def test_a_batch_that_no_list_shows_after_a_while_was_not_begun(run, monkeypatch):
    def vanish(method, path):
        return (502, "<html>") if (method, path) == ("POST", "/v1/batches") else None

    with FakeLLM() as server:
        server.batches.refuse = vanish
        with pytest.raises(ServerRefused, match="did not say whether"):
            run(server)
        server.batches.refuse = lambda method, path: None
        monkeypatch.setattr("rlmrec_core.llm.batch._LISTED_SECONDS", 0.0)
        assert all_ok_and_billed_once(run(server), server)
    assert query(run.ledger, "SELECT count(*) FROM calls WHERE state = 'lost'") == [(N,)]


def test_a_server_that_is_busy_is_asked_again(run):
    busy = [(503, "<html>busy</html>"), (429, {"error": {"message": "slow down"}})]

    def refuse(method, path):
        return busy.pop() if busy and (method, path) == ("POST", "/v1/batches") else None

    with FakeLLM() as server:
        server.batches.refuse = refuse
        assert all_ok_and_billed_once(run(server), server)
    assert len(server.batches.made) == 1


def without_usage(output, errors):
    for row in output:
        del row["response"]["body"]["usage"]
    return output, errors


@MODES
def test_a_resumed_batch_without_usage_costs_what_was_set_aside(run, monkeypatch, mode):
    money = {"price_in": 1.0, "price_out": 2.0}
    with FakeLLM() as server:
        server.batches.change = without_usage
        left_open(lambda server: run(server, **money), server, monkeypatch)
        ((held,),) = query(run.ledger, "SELECT total(held) FROM calls")
        assert all_ok_and_billed_once(run(server, mode=mode, **money), server)
    assert query(run.ledger, "SELECT total(cost), sum(estimated) FROM calls") == [(pytest.approx(held), N)]
    assert held > 0 and query(run.ledger, "SELECT committed FROM accounts") == [(pytest.approx(held),)]


def test_an_online_run_says_what_it_waits_for_and_how_not_to(run, monkeypatch, caplog):
    with FakeLLM() as server:
        left_open(run, server, monkeypatch)
        with caplog.at_level(logging.WARNING, "rlmrec_core"):
            assert all_ok_and_billed_once(run(server, mode="online"), server)
    assert "batch_0 holds 6 requests and is in_progress" in caplog.text
    assert 'open_batches = "abandon"' in caplog.text


@pytest.mark.parametrize("state", ["in progress", "forgotten", "unheard", "without rights"])
@MODES
def test_an_abandoned_batch_is_cancelled_and_its_requests_are_free(run, monkeypatch, state, mode):
    with FakeLLM() as server:
        server.batches.polls = 10_000
        if state == "unheard":
            server.batches.slow_creations, server.batches.lists_after = [0.6], 10_000
            with pytest.raises(ServerRefused):
                run(server, timeout_seconds=0.3)
        else:
            left_open(run, server, monkeypatch)
        if state == "forgotten":
            server.batches.made.clear()
        if state == "without rights":
            server.batches.refuse = lambda *_: (403, {"error": {"message": "not allowed"}})
            with pytest.raises(ServerRefused, match="abandon"):
                run(server, mode=mode)
            server.batches.refuse = lambda method, path: (403, {}) if "batch_0" in path else None
        server.batches.polls = 1
        assert run(server, mode=mode, open_batches="abandon") == ["ok"] * N
        assert (("POST", "/v1/batches/batch_0/cancel") in server.batches.asked) == (state == "in progress")
    assert query(run.ledger, "SELECT count(*) FROM batches") == [(0,)]
    assert query(run.ledger, "SELECT count(*) FROM calls WHERE state = 'lost'") == [(N,)]


def test_a_batch_that_has_ended_is_read_rather_than_abandoned(run, monkeypatch):
    with FakeLLM() as server:
        left_open(run, server, monkeypatch)
        server.batches.polls = 0
        for batch in server.batches.made.values():
            batch["looks"] = 0
        assert all_ok_and_billed_once(run(server, mode="online", open_batches="abandon"), server)
    assert not server.requests


def test_a_ledger_of_an_earlier_version_is_understood(run):
    with closing(sqlite3.connect(run.ledger)) as db:
        db.execute(
            "CREATE TABLE batches (name TEXT PRIMARY KEY, server TEXT NOT NULL, account TEXT NOT NULL,"
            " remote_id TEXT, owner TEXT NOT NULL) WITHOUT ROWID"
        )
        db.execute("INSERT INTO batches VALUES ('b', 's', 'a', 'batch_1', 'o')")
        db.commit()
    with open_ledger(run.ledger):
        assert query(run.ledger, "SELECT remote_id, state, since FROM batches") == [("batch_1", "creating", 0.0)]
