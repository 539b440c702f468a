"""Nothing paid is lost, and nothing is paid twice, however often the process dies."""

import asyncio
import json
import multiprocessing
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.ledger import open_ledger
from rlmrec_core.llm.request import Request
from rlmrec_core.profiling.parser import RejectedAnswer, parse_profile
from tests.fake_llm import FakeLLM
from tests.fake_llm.__main__ import at_random
from tests.fake_llm.books import billed_by_key, calls, check_books, check_sums, complete_answers, counts, rows
from tests.rlmrec_core.llm import killed

ITEMS, KILLS = 600, 5
# Its processes come from one that has the imports behind it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.rlmrec_core.llm.killed"])


def start(server, ledger, n=ITEMS, mode="online", name="report", **how):
    """A run in a process of its own, and the file of its report."""
    report = ledger.with_name(name)
    process = FORKS.Process(target=killed.main, args=(server.url, ledger, n, mode, report), kwargs=how)
    process.start()
    return process, report


def finish(process, report):
    process.join(240)
    assert process.exitcode == 0
    return json.loads(report.read_text())


def test_a_run_killed_five_times_pays_for_every_prompt_once(tmp_path):
    """600 items, 10 % mixed faults, kill -9 whenever another random number of requests has arrived."""
    ledger, rng = tmp_path / "ledger.sqlite", random.Random(7)
    with FakeLLM(at_random(0.1, seed=5)) as server:
        for _ in range(KILLS):
            (process, _), until = start(server, ledger), server.n_requests + rng.randrange(20, 110)
            while server.n_requests < until and process.is_alive():
                time.sleep(0.01)
            assert process.is_alive(), "it ended before it could be killed"
            process.kill()
            process.join()
        while (report := finish(*start(server, ledger)))["status"] != {"ok": ITEMS}:
            assert set(report["status"]) == {"ok", "failed"}  # a row that met two losses is tried by the next run

    answered, lost, billed = counts(ledger, "answered"), counts(ledger, "lost"), billed_by_key(server, ledger)
    # What arrived whole was billed once for each usable answer; the rest is what never reached us.
    assert all(answered.get(key, 0) <= n <= answered.get(key, 0) + lost.get(key, 0) for key, n in billed.items())
    assert answered.keys() <= billed.keys()
    no_completion = "CAST(body AS TEXT) NOT LIKE '%chatcmpl%'"
    query = f"SELECT key, count(*) FROM calls WHERE state = 'answered' AND {no_completion} GROUP BY key"
    broken = dict(rows(ledger, query))
    # A complete answer came twice only where the first was of no use and its row was tried again by a later run.
    useless = Counter(key for key, body in complete_answers(ledger) if not is_usable(body))
    assert all(n - broken.get(key, 0) - useless[key] in (0, 1) for key, n in answered.items())
    assert {key for key, body in complete_answers(ledger) if is_usable(body)} == set(validated(ledger))
    assert lost, "no kill met a call under way"
    check_sums(server, ledger)
    assert Counter(dict(rows(ledger, "SELECT state, count(*) FROM requests GROUP BY state")))["validated"] == ITEMS


def validated(ledger):
    return [key for (key,) in rows(ledger, "SELECT key FROM requests WHERE state = 'validated'")]


@pytest.mark.parametrize("taken", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_ledger_that_another_process_is_just_making_is_waited_for(tmp_path, taken):
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute(taken)
        done = threading.Timer(0.3, other.execute, ["COMMIT"])
        done.start()
        with open_ledger(path) as ledger:
            assert ledger.account("any")["calls"] == {}
        done.join()


def test_a_run_stopped_while_an_answer_is_written_has_it(tmp_path):
    request = Request("key", "chat", "m", {"messages": []}, 3, 5)

    async def asked(ledger):
        call = await ledger.reserve(request, 0.5, "any", None)
        if isinstance(call, int):
            await ledger.sent(call)
        return call

    async def first():
        with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            call = await asked(ledger)
            writing = asyncio.ensure_future(ledger.answered(call, request.key, b"{}"))
            await asyncio.sleep(0)
            writing.cancel()  # Ctrl-C: nobody waits for it any more
            ledger.unanswered(call, "cancelled", lost=True)

    async def second():
        with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            assert await asked(ledger) == "known"
            assert ledger.answer(request.key) == b"{}"
            assert ledger.unsettled(request.key)

    async def damaged():
        """As an earlier version left it: said to be answered, and lost."""
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as db:
            db.execute("UPDATE calls SET state = 'lost'")
        with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            assert isinstance(await asked(ledger), int)

    for run in (first, second, damaged):
        asyncio.run(run())


def is_usable(body):
    answer = ChatAnswer.read(body)
    try:
        return answer.finish_reason == "stop" and bool(parse_profile(answer.text, max_words=170))
    except RejectedAnswer:
        return False


def test_two_processes_at_once_pay_for_every_prompt_once(tmp_path):
    """They begin at both ends: in the same order, one that is ahead may send everything and the other only wait."""
    ledger, together = tmp_path / "ledger.sqlite", FORKS.Barrier(2)
    with FakeLLM(latency=0.1) as server:
        both = [start(server, ledger, name=f"report{step}", step=step, together=together) for step in (1, -1)]
        reports = [finish(*run) for run in both]
    assert [report["status"] for report in reports] == [{"ok": ITEMS}] * 2
    assert len(server.billed) == ITEMS and set(server.billed.values()) == {1}
    assert all(report["requests"]["calls"] for report in reports), "one process did all the work"


MOMENTS = (
    ("POST", "/v1/files"),
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches/batch_0"),
    ("GET", "/v1/files/file-2/content"),
)


def test_a_batch_run_killed_at_every_step_pays_for_every_prompt_once(tmp_path):
    """kill -9 as soon as the server hears of each step, so that its answer is never read."""
    ledger, items = tmp_path / "ledger.sqlite", 30
    with FakeLLM() as server:
        for moment in MOMENTS:
            process, _ = start(server, ledger, items, "batch")
            server.batches.refuse = lambda *asked, moment=moment, process=process: (
                process.kill() if asked == moment else None
            )
            process.join(240)
            assert process.exitcode == -signal.SIGKILL, moment
        server.batches.refuse = lambda method, path: None
        assert finish(*start(server, ledger, items, "batch"))["status"] == {"ok": items}
    assert len(server.batches.made) == 1
    assert calls(ledger) == {"answered": items}
    check_books(server, ledger, items)
