"""kill -9 of the worker, the server or the command itself: nothing stays behind, and the next run goes on."""

import time

from tests.integration.command import (
    SLOW,
    all_gone,
    family,
    finish,
    kill,
    start_run,
    training,
)
from tests.waiting import wait_until


def start_training(store):
    """A run, which brings everything up for itself, in the middle of training; and all its processes."""
    started = time.time()
    process = start_run(store, SLOW)
    wait_until(lambda: training(store, started) or process.poll() is not None, "training")
    relatives = family(process)
    assert len(relatives) >= 5  # the server, the worker and the flow, with their guards
    return process, relatives


def test_a_kill_ends_the_whole_family_and_the_next_run_tidies_up(tmp_path):
    store = tmp_path / "artifacts"
    process, relatives = start_training(store)
    process.kill()
    finish(process)
    assert all_gone(relatives)

    for victim in ("worker", "server"):
        process, relatives = start_training(store)
        kill(relatives, f"prefect {victim} start")
        status, output = finish(process)
        assert status == 1 and f"the {victim} ended (status " in output, output
        assert "Traceback" not in output
        if victim == "worker":  # nobody was left to end the runs of the command that was killed
            assert "runs of an earlier session as crashed" in output
        assert all_gone(relatives)
