"""Processes never outlive whoever started them."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows import services
from flows.runs import reached
from flows.services import Home, ServiceError, announce, announced, free_port, guarded, server

ROOT = Path(__file__).parents[2]

# A process with a child in a session of its own, as Prefect starts flow runs; prints both process ids.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
# Starts a guarded family and waits.
STARTER = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job would inherit that it is ignored
subprocess.Popen([sys.executable, '-m', 'flows.guard', sys.executable, '-c', {FAMILY!r}],
                 stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    try:
        psutil.Process(pid).wait(20)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        return False
    return True


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(ROOT, tmp_path / ".rlmrec")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_whole_family_ends_with_its_starter(number):
    starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    pids = [int(pid) for pid in starter.stdout.readline().split()]
    assert len(pids) == 2
    starter.send_signal(number)
    starter.wait()
    assert [gone(pid) for pid in pids] == [True, True]


# A run in a session of its own that has something to keep before it ends.
KEEPER = """
import signal, sys, time
def keep(*_):
    time.sleep(0.5)
    open(sys.argv[1], "w").write("kept")
    sys.exit(0)
signal.signal(signal.SIGTERM, keep)
print("ready", flush=True)
time.sleep(600)
"""
# Ends its run at once where it is asked to end, as Prefect's worker does.
WORKER = f"""
import signal, subprocess, sys, time
run = subprocess.Popen([sys.executable, '-c', {KEEPER!r}, sys.argv[1]], start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: (run.kill(), sys.exit()))
time.sleep(600)
"""


def test_what_has_something_to_keep_may_do_so_before_it_ends(tmp_path):
    kept = tmp_path / "kept"
    guard = subprocess.Popen(
        [sys.executable, "-m", "flows.guard", sys.executable, "-c", WORKER, str(kept)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert guard.stdin and guard.stdout and guard.stdout.readline() == "ready\n"
    guard.stdin.close()
    guard.wait(20)
    assert kept.read_text() == "kept"


def test_calls_to_this_machine_pass_no_proxy(home, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "example.org,localhost")
    monkeypatch.delenv("no_proxy", raising=False)
    environment = home.environment()
    assert environment["NO_PROXY"] == environment["no_proxy"] == "example.org,localhost,127.0.0.1,::1"


def test_the_orphans_of_a_killed_process_end_too():
    guard = subprocess.Popen(
        [sys.executable, "-m", "flows.guard", sys.executable, "-c", FAMILY],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert guard.stdout
    parent, orphan = (int(pid) for pid in guard.stdout.readline().split())
    os.kill(parent, signal.SIGKILL)
    assert gone(orphan)
    assert guard.wait(20) == -signal.SIGKILL % 256


def test_a_process_that_ends_early_is_an_error_with_its_last_words(home):
    command = [sys.executable, "-c", "import sys; sys.exit('no such database')"]
    with guarded(home, "server", command, {}) as process, pytest.raises(ServiceError, match="no such database"):
        process.wait_until(lambda: False)


def test_a_taken_port_is_left_alone():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


LISTENS = """
import os, socket, time
with socket.create_server(("127.0.0.1", int(os.environ["PREFECT_SERVER_API_PORT"]))):
    time.sleep(600)
"""


def test_a_server_that_somebody_else_started_on_the_port_is_not_taken_for_ours(home, monkeypatch):
    monkeypatch.setattr(services, "SERVER_COMMAND", [sys.executable, "-c", "import time; time.sleep(1); exit(3)"])
    with pytest.raises(ServiceError, match=r"server ended \(status 3\)"), server(home, lambda _: True, print):
        pass


def test_a_port_that_is_taken_in_the_last_moment_is_given_up_for_another(home, monkeypatch):
    monkeypatch.setattr(services, "SERVER_COMMAND", [sys.executable, "-c", LISTENS])
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        looks = iter([taken])
        monkeypatch.setattr(services, "free_port", lambda favourite: next(looks, None) or free_port(favourite))
        with server(home, lambda _: True, print) as started:
            assert started.process
            assert str(taken) not in started.api


def test_a_running_server_is_joined_if_it_is_meant_to_last(home, monkeypatch):
    monkeypatch.setattr(services, "SERVER_COMMAND", [sys.executable, "-c", LISTENS])
    said: list[str] = []
    first = server(home, lambda _: True, said.append)
    second = server(home, lambda _: True, said.append)
    with first as started:
        announce(home, started.api)
        assert announced(home) == started.api
        with second as joined:
            assert (joined.api, joined.process) == (started.api, None)
    assert announced(home) is None
    with server(home, lambda _: True, said.append) as third:
        assert third.process


def test_a_run_for_another_store_uses_the_server_that_is_up_and_says_which(home, monkeypatch):
    api, said = "http://127.0.0.1:4200/api", []
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("flows.runs.announced", lambda found: None if found is home else api)
    with reached(home, said.append) as running:
        assert (running.api, running.server) == (api, None)
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere:1/api")
    with reached(home, said.append) as running:
        assert running.api == "http://elsewhere:1/api"
    assert "http://127.0.0.1:4200" in said[0] and "http://elsewhere:1" in said[1]


def test_state_lies_beside_a_local_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Home.beside("data/artifacts").state == tmp_path / "data" / ".rlmrec"
    assert Home.beside("s3://bucket/artifacts").state == ROOT / ".rlmrec"


def test_the_users_own_prefect_is_left_alone(home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_KEY", "of another server")
    environment = home.environment()
    assert "PREFECT_API_KEY" not in environment
    assert environment["PREFECT_HOME"] == str(home.state / "prefect")
