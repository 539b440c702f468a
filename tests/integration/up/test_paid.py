"""One run that asks a model server, ended in every way: nothing that was paid for is paid for again."""

import json
import re
import signal

from rlmrec_core.config import load_config
from storage import ArtifactStore, StoreConfig
from tasks.stages import run_by_hand
from tests.fake_llm import FakeLLM
from tests.fake_llm.books import calls, check_books
from tests.integration.command import all_gone, family, finish, kill, prefect, start_run
from tests.tasks.by_hand import TINY
from tests.waiting import wait_until

N_ITEMS = 120


def settings(server, **llm):
    llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0, "concurrency": 4} | llm
    return TINY | {
        "ingest": {"sample_users": 60, "sample_items": N_ITEMS},
        "prepare": {"k_core": 1},
        "item_profiles": {"generator": "llm", "max_words": 60, "llm": llm},
    }


def asking(store, server, up=None):
    """A run that has been answered a few times."""
    run, before = start_run(store, settings(server), up), server.n_requests
    wait_until(lambda: server.n_requests > before + 8 or run.poll() is not None, "asking")
    return run


def test_a_run_ended_in_every_way_pays_for_every_prompt_once(up, tmp_path, monkeypatch):
    """SIGTERM of its worker, Ctrl-C with another command's worker, and kill -9 in the middle of a batch."""
    store, ledger = tmp_path / "artifacts", tmp_path / "artifacts" / "ledger.sqlite"
    with FakeLLM(latency=0.3) as server:
        run = asking(store, server)
        relatives = family(run)
        kill(relatives, "prefect worker start", signal.SIGTERM)
        status, output = finish(run)
        assert status == 1 and "the worker ended (status " in output and "Traceback" not in output, output
        assert all_gone(relatives)

        before = server.n_requests
        run = asking(store, server, up)
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
        assert before < asked == server.n_requests < N_ITEMS
        lost = calls(ledger).get("lost", 0)  # what was under way when the worker had to end
        assert lost <= 4 and calls(ledger)["answered"] == asked - lost

        def kill_when_it_begins(method, path):
            if (method, path) == ("POST", "/v1/batches"):
                kill(family(up.process), "prefect.engine")

        batch = {"mode": "batch", "batch_poll_seconds": 0.2}
        server.batches.refuse = kill_when_it_begins
        status, output = finish(start_run(store, settings(server, **batch), up))
        assert status == 1 and "Crashed" in output, output

        server.batches.refuse = lambda method, path: None
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        config = load_config(overrides=settings(server, **batch))
        (profiles,) = run_by_hand(config, StoreConfig(url=str(store)), last="item_profiles")["item_profiles"]
    assert profiles.unfinished is None and len(server.batches.made) == 1
    # Two books may be told alike, and are one prompt then.
    prompts = set(
        ArtifactStore.open(StoreConfig(url=str(store))).table(profiles.ref, "profiles")["prompt_hash"].to_pylist()
    )
    assert len(prompts) > 0.9 * N_ITEMS
    check_books(server, ledger, len(prompts))
