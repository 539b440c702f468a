"""Ctrl-C on `rlmrec run` where the run lives in the worker of another command."""

import json
import re
import signal
import sqlite3
from contextlib import closing

from tests.fake_llm import FakeLLM
from tests.integration.command import finish, prefect, start_run, wait_until
from tests.tasks.by_hand import TINY

N_ITEMS = 3000


def test_ctrl_c_stops_the_spending_and_keeps_what_is_under_way(up):
    with FakeLLM(latency=0.3) as server:
        llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0, "concurrency": 4}
        asking = {
            "ingest": {"sample_users": 500, "sample_items": N_ITEMS},
            "prepare": {"k_core": 1},
            "item_profiles": {"generator": "llm", "max_words": 60, "llm": llm},
        }
        run = start_run(up.store, TINY | asking)
        wait_until(lambda: server.n_requests > 8 or run.poll() is not None, "asking")
        run.send_signal(signal.SIGINT)
        status, output = finish(run)
        asked = server.n_requests
        assert status == 130 and "stopping the run" in output, output
        assert "item profiles stopped: $" in output and "pays for nothing twice" in output, output
        assert "Traceback" not in output
        status, listed = prefect(up, "flow-run", "ls", "--limit", "100", "-o", "json")
        assert status == 0, listed
        states = {found["id"]: found["state"]["type"] for found in json.loads(listed)}
        cancelled = re.search(r"/runs/flow-run/([0-9a-f-]{36})", output)
        assert cancelled and states[cancelled[1]] == "CANCELLED", (output, states)
        assert not {"RUNNING", "CANCELLING", "PENDING"} & set(states.values()), states
        assert 8 < asked == server.n_requests < 0.5 * N_ITEMS
    with closing(sqlite3.connect(up.store / "ledger.sqlite")) as ledger:
        calls = dict(ledger.execute("SELECT state, count(*) FROM calls WHERE state != 'released' GROUP BY state"))
    assert calls == {"answered": asked}
