"""Nothing paid is lost, and nothing is paid twice, however often the process dies."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing

import pytest

from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.profiling.parser import RejectedAnswer, parse_profile
from tests.fake_llm import FakeLLM
from tests.fake_llm.__main__ import at_random

ITEMS, KILLS = 2000, 5
RUN = [sys.executable, "-m", "tests.rlmrec_core.llm.killed"]


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def start(server, ledger):
    return subprocess.Popen([*RUN, server.url, str(ledger), str(ITEMS)], stdout=subprocess.PIPE)


def rows(ledger, query):
    with closing(sqlite3.connect(ledger)) as db:
        return db.execute(query).fetchall()


def finish(process):
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    return json.loads(out)


def test_a_run_killed_five_times_pays_for_every_prompt_once(environment, tmp_path):
    """2,000 items, 10 % mixed faults, kill -9 whenever another random number of requests has arrived."""
    ledger, rng = tmp_path / "ledger.sqlite", random.Random(7)
    with FakeLLM(at_random(0.1, seed=5)) as server:
        for _ in range(KILLS):
            process, until = start(server, ledger), server.n_requests + rng.randrange(50, 500)
            while server.n_requests < until and process.poll() is None:
                time.sleep(0.01)
            assert process.poll() is None, "it ended before it could be killed"
            process.kill()
            process.wait()
        while (report := finish(start(server, ledger)))["status"] != {"ok": ITEMS}:
            assert set(report["status"]) == {"ok", "failed"}  # a row that met two losses is tried by the next run

    answered = dict(rows(ledger, "SELECT key, count(*) FROM calls WHERE state = 'answered' GROUP BY key"))
    lost = dict(rows(ledger, "SELECT key, count(*) FROM calls WHERE state = 'lost' GROUP BY key"))
    billed = billed_by_key(server, ledger)
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
    adds_up(ledger, server, answered, lost)
    assert Counter(dict(rows(ledger, "SELECT state, count(*) FROM requests GROUP BY state")))["validated"] == ITEMS


def billed_by_key(server, ledger):
    """The server counts by prompt, the ledger by key: matched by what the answers say, where there is one."""
    key_of = {json.loads(body)["id"].removeprefix("chatcmpl-"): key for key, body in complete_answers(ledger)}
    assert {name[:12] for name in server.billed if server.billed[name]} <= key_of.keys()
    return {key_of[name[:12]]: n for name, n in server.billed.items() if n}


def complete_answers(ledger):
    return rows(ledger, "SELECT key, body FROM calls WHERE state = 'answered' AND CAST(body AS TEXT) LIKE '%chatcmpl%'")


def validated(ledger):
    return [key for (key,) in rows(ledger, "SELECT key FROM requests WHERE state = 'validated'")]


def is_usable(body):
    answer = ChatAnswer.read(body)
    try:
        return answer.finish_reason == "stop" and bool(parse_profile(answer.text, max_words=170))
    except RejectedAnswer:
        return False


def adds_up(ledger, server, answered, lost):
    """Calls and dollars in the ledger agree with what the server counted."""
    total = server.billed.total()
    assert sum(answered.values()) <= total <= sum(answered.values()) + sum(lost.values())
    ((settled, held),) = rows(
        ledger, "SELECT total(cost), total(CASE WHEN state = 'lost' THEN held ELSE 0 END) FROM calls"
    )
    ((committed,),) = rows(ledger, "SELECT committed FROM accounts WHERE name = 'kill'")
    assert committed == pytest.approx(settled + held)
    assert rows(ledger, "SELECT count(*) FROM calls WHERE state IN ('reserved', 'sent')") == [(0,)]
    assert rows(ledger, "SELECT count(*) FROM calls WHERE state = 'answered' AND tokens_in IS NULL") == [(0,)]


def test_two_processes_at_once_pay_for_every_prompt_once(environment, tmp_path):
    with FakeLLM(latency=0.02) as server:
        both = [start(server, tmp_path / "ledger.sqlite") for _ in range(2)]
        reports = [finish(process) for process in both]
    assert [report["status"] for report in reports] == [{"ok": ITEMS}] * 2
    assert len(server.billed) == ITEMS and set(server.billed.values()) == {1}
    assert all(report["requests"]["calls"] for report in reports), "one process did all the work"


MOMENTS = (
    ("POST", "/v1/files"),
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches/batch_0"),
    ("GET", "/v1/files/file-2/content"),
)


def test_a_batch_run_killed_at_every_step_pays_for_every_prompt_once(environment, tmp_path):
    """kill -9 as soon as the server hears of each step, so that its answer is never read."""
    ledger, items = tmp_path / "ledger.sqlite", 30
    with FakeLLM() as server:
        for moment in MOMENTS:
            process = subprocess.Popen([*RUN, server.url, str(ledger), str(items), "batch"])
            server.batches.refuse = lambda *asked, moment=moment, process=process: (
                process.kill() if asked == moment else None
            )
            assert process.wait(timeout=240) == -signal.SIGKILL, moment
        server.batches.refuse = lambda method, path: None
        process = subprocess.Popen([*RUN, server.url, str(ledger), str(items), "batch"], stdout=subprocess.PIPE)
        assert finish(process)["status"] == {"ok": items}
    assert len(server.batches.made) == 1
    assert len(server.billed) == items and set(server.billed.values()) == {1}
    assert rows(ledger, "SELECT count(*) FROM calls WHERE state = 'answered'") == [(items,)]
    assert rows(ledger, "SELECT count(*) FROM calls WHERE state NOT IN ('answered', 'released')") == [(0,)]
    ((settled,),) = rows(ledger, "SELECT total(cost) FROM calls")
    assert rows(ledger, "SELECT committed FROM accounts") == [(pytest.approx(settled),)]
