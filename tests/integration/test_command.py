"""The real thing: the command `rlmrec`, a server that it starts, a worker, and what remains of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from storage import StoreConfig
from tests.tasks.by_hand import TINY, run_by_hand, tiny
from tests.tasks.test_pipeline import STAGES, digests

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE = 240
"""Seconds until something that hangs fails its test."""
# Long enough to be killed in the middle.
SLOW = TINY | {"train": TINY["train"] | {"variants": ["base"], "max_epochs": 900, "patience": 900}}


def settings(config=TINY) -> list[str]:
    fields = [(section, name, value) for section, fields in config.items() for name, value in fields.items()]
    return [part for section, name, value in fields for part in ("--set", f"{section}.{name}={json.dumps(value)}")]


def environment(**changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return inherited | {"OMP_NUM_THREADS": "1"} | changes


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    command = [BIN / "rlmrec", *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment(), **output)


def run(store: Path, config=TINY) -> "subprocess.CompletedProcess[str]":
    process = start("run", "--store", store, *settings(config))
    output, _ = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def last_run(store: Path):
    return json.loads((store / "last-run.json").read_text())


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s"
        time.sleep(0.05)


def all_gone(family: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(family, timeout=40)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("command")


@pytest.fixture(scope="module")
def up(folder) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`rlmrec up` where port 4200 is taken, and the address of its API; at the end, Ctrl-C must end all of it."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", 4200))
            other.listen()
        except OSError:
            pass  # taken by somebody else, which is as good
        process = start("up", "--store", folder / "artifacts")
        lines = iter(process.stdout.readline, "")
        ready = next((line for line in lines if line.startswith("ready:")), None)
        assert ready, "rlmrec up ended before it was ready"
        family = psutil.Process(process.pid).children(recursive=True)
        yield process, ready.split()[1] + "/api"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert all_gone(family)


def test_a_run_through_the_deployment(up, folder):
    store = folder / "artifacts"
    done = run(store)
    assert done.returncode == 0, done.stdout
    assert ":4200" not in up[1]
    assert [(stage["stage"], stage["status"]) for stage in last_run(store)["stages"]] == [
        (stage, "computed") for stage in STAGES
    ]
    assert "recall@20" in done.stdout and last_run(store)["recommendations"] in done.stdout


def prefect_deployment_run(parameters, api: str, home: Path) -> "subprocess.CompletedProcess[str]":
    command = [BIN / "prefect", "deployment", "run", "rlmrec/full-pipeline", "--watch"]
    return subprocess.run(
        [*command, "--params", json.dumps(parameters)],
        cwd=ROOT, env=environment(PREFECT_API_URL=api, PREFECT_HOME=str(home)), timeout=PATIENCE,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_plain_prefect_way_finds_everything_done(up, folder):
    store = folder / "artifacts"
    done = prefect_deployment_run(
        {"config": tiny().model_dump(mode="json"), "store": {"url": str(store)}}, up[1], folder / "prefect"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {stage["status"] for stage in last_run(store)["stages"]} == {"hit"}


def test_the_plain_prefect_way_refuses_a_wrong_parameter(up, folder):
    done = prefect_deployment_run({"config": {"train": {"seeds": "many"}}}, up[1], folder / "prefect")
    assert done.returncode == 1
    assert "seeds" in done.stdout + done.stderr


def test_a_killed_flow_process_loses_only_its_stage(up, folder):
    store, whole = folder / "killed", folder / "uninterrupted"
    process = start("run", "--store", store, *settings(SLOW))
    wait_until(lambda: list(store.glob(".work/train-*/checkpoint*")), "training")
    for child in psutil.Process(up[0].pid).children(recursive=True):
        if "prefect.engine" in " ".join(child.cmdline()):
            child.kill()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "Crashed" in output, output

    assert run(store, SLOW).returncode == 0
    statuses = {stage["stage"]: stage["status"] for stage in last_run(store)["stages"]}
    assert statuses == {name: "hit" if name in ("ingest", "prepare") else "computed" for name in statuses}
    run_by_hand(tiny(train=SLOW["train"]), StoreConfig(url=str(whole)))
    assert digests(store).items() <= digests(whole).items()


def test_nothing_remains_of_a_run_that_is_killed(tmp_path):
    """Without `rlmrec up`, a run brings everything up for itself."""
    store = tmp_path / "artifacts"
    process = start("run", "--store", store, *settings(SLOW))
    wait_until(lambda: list(store.glob("ingest/*/manifest.json")) or process.poll() is not None, "the first stage")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 5  # the server, the worker and the flow, with their guards
    process.kill()
    process.communicate(timeout=60)
    assert all_gone(family)


def test_settings_that_cannot_be_used_are_named(tmp_path):
    process = start("run", "--store", tmp_path / "artifacts", "--set", "train.max_epochs=0")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "train.max_epochs" in output and "greater than or equal to 1" in output
