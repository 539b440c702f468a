"""The Prefect server and the worker of this project, as processes that never outlive whoever started them."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from storage import StoreConfig

POOL = "rlmrec"
PREFECT = [sys.executable, "-m", "prefect"]
FAVOURITE_PORT = 4200
SERVER_COMMAND = [*PREFECT, "server", "start"]
WORKER_COMMAND = [*PREFECT, "worker", "start", "--pool", POOL, "--type", "process"]
DEPLOY_COMMAND = [*PREFECT, "--no-prompt", "deploy", "--all"]
# They speak of another server than the project's own.
_FOREIGN = {
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
    "PREFECT_SERVER_API_AUTH_STRING",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine that no other one reaches."""
_START_SECONDS = 300.0
_STOP_SECONDS = 40.0


class ServiceError(RuntimeError):
    """The server or the worker could not be started, or ended too early: says where to read why."""


@dataclass(frozen=True)
class Home:
    """Where the project lies and where it keeps what Prefect remembers."""

    project: Path
    """Folder of prefect.yaml."""
    state: Path
    """Folder of Prefect's database, the logs and the lock."""

    @classmethod
    def beside(cls, store_url: str) -> "Home":
        """State lies in .rlmrec beside a local store; for a bucket, in the project's folder."""
        project = Path(os.environ.get("RLMREC_HOME", Path(__file__).parents[1])).resolve()
        root = project if "://" in store_url else Path(store_url).resolve().parent
        return cls(project, root / ".rlmrec")

    def environment(self) -> dict[str, str]:
        """Variables for every process of the project: files in its own folder, nothing sent anywhere."""
        inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        return (
            inherited
            | without_proxy(inherited)
            | {
                "RLMREC_HOME": str(self.project),
                "PREFECT_HOME": str(self.state / "prefect"),
                "MPLCONFIGDIR": str(self.state / "matplotlib"),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "DO_NOT_TRACK": "1",
                "PREFECT_SERVER_UI_V2_ENABLED": "false",
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                # After fifteen seconds, as Prefect has it, a run of a busy machine would be an alarm.
                "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "300",
                # What the library warns of goes to the run's page, and to `rlmrec run`.
                "PREFECT_LOGGING_EXTRA_LOGGERS": "rlmrec_core",
                "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
                # A busy machine is slow, not broken: without these, requests fail after ten seconds.
                "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
                "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            }
        )


def without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep calls to this machine from a proxy, which could not pass them on."""
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = ",".join(dict.fromkeys([host for host in given.split(",") if host] + list(LOOPBACK)))
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def absolute(store: str) -> str:
    """The store's address, which holds for the worker, too: it runs in another folder."""
    StoreConfig(url=store)  # refuses an address that holds a password
    return store if "://" in store else str(Path(store).resolve())


def settle(store: str) -> Home:
    """The project's home, entered before Prefect is imported: at import it already makes its own folder."""
    os.environ["RLMREC_STORE"] = absolute(store)  # for the worker, whose runs name no other
    home = Home.beside(store)
    os.environ.update(without_proxy(os.environ))
    if "PREFECT_API_URL" in os.environ:
        return home  # the user's own server, with the user's own settings
    environment = home.environment()
    os.environ.clear()
    os.environ.update(environment)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    return home


@contextmanager
def server(home: Home, healthy: Callable[[str], bool], say: Callable[[str], None]) -> Iterator["Server"]:
    """The server that is up for `home`, else one of its own for as long as the block lasts.

    Two servers must not share one database: while another process starts one, or runs one that it does not announce,
    this waits. Raises ServiceError if the server does not come up.
    """
    with ExitStack() as stack:
        api = _join_or_lock(home, stack, say)
        if api:
            yield Server(api, None)
            return
        started = None
        while not started:
            port = free_port(FAVOURITE_PORT)
            say(f"starting the Prefect server at http://127.0.0.1:{port}")
            try:
                started = _start(home, port, healthy, stack)
            except ServiceError:
                if free_port(port) == port:  # else another process took it between our look and the server's start
                    raise
        stack.callback(_address_file(home).unlink, missing_ok=True)
        yield started


def _start(home: Home, port: int, healthy: Callable[[str], bool], stack: ExitStack) -> "Server":
    """A server of our own on this port until `stack` closes."""
    api = f"http://127.0.0.1:{port}/api"
    address = {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port), "PREFECT_API_URL": api}
    with ExitStack() as attempt:
        process = attempt.enter_context(guarded(home, "server", SERVER_COMMAND, address))
        # Another installation's server may have taken the port a moment before ours; it answers, too.
        process.wait_until(lambda: process.listens_on(port) and healthy(api))
        stack.push(attempt.pop_all())
    return Server(api, process)


@dataclass(frozen=True)
class Server:
    """A running Prefect server."""

    api: str
    process: "Process | None"
    """None if somebody else started it."""


class Process:
    """A guarded process with its log."""

    def __init__(self, name: str, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name, self._popen, self._log = name, popen, log

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def listens_on(self, port: int) -> bool:
        """Whether it, or a process that it started, listens on this TCP port."""
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self._popen.pid).children(recursive=True)
            open_ports = [end for process in family for end in process.net_connections("tcp")]
            return any(end.status == psutil.CONN_LISTEN and end.laddr.port == port for end in open_ports)
        return False

    def check(self) -> None:
        """Raise ServiceError if the process has ended."""
        if not self.alive:
            raise ServiceError(
                f"the {self.name} ended (status {self._popen.returncode}); see {self._log}\n{self._tail()}"
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready`. Raises ServiceError if the process ends before, or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(f"the {self.name} was not ready after {_START_SECONDS:.0f} s; see {self._log}")
            time.sleep(0.2)

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])


@contextmanager
def guarded(home: Home, name: str, command: list[str], extra: Mapping[str, str]) -> Iterator[Process]:
    """`command` in the background, its output in a log; ended with all its descendants on the way out."""
    log = home.state / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", "flows.guard", *command],
            cwd=home.project, env=home.environment() | dict(extra), stdin=subprocess.PIPE,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield Process(name, popen, log)
    finally:
        _stop(popen)


def worker(home: Home, api: str) -> contextlib.AbstractContextManager[Process]:
    """A process worker of the project's pool, for as long as the block lasts."""
    return guarded(home, "worker", WORKER_COMMAND, {"PREFECT_API_URL": api})


def deploy(home: Home, api: str) -> None:
    """Create or update every deployment of prefect.yaml. Raises ServiceError with Prefect's words if it refuses."""
    environment = home.environment() | {"PREFECT_API_URL": api}
    done = subprocess.run(
        DEPLOY_COMMAND, cwd=home.project, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServiceError(f"prefect deploy failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _stop(popen: "subprocess.Popen[bytes]") -> None:
    assert popen.stdin
    popen.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(_STOP_SECONDS)
    # The guard leads a group of its own; should it have been killed, what it guarded is still in there.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()


def free_port(favourite: int) -> int:
    """A port of this machine that nobody listens on: the favourite one if it is free."""
    for port in (favourite, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            # As the server will: a port that was in use a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ServiceError("no free port on 127.0.0.1")


def _join_or_lock(home: Home, stack: ExitStack, say: Callable[[str], None]) -> str | None:
    """The address of the server that is up; or None as soon as this process may start one, `stack` holding the lock.

    The kernel frees the lock when its holder dies.
    """
    home.state.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context((home.state / "server.lock").open("w"))
    patient = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if api := _announced(home):
                return api
        else:
            _address_file(home).unlink(missing_ok=True)  # of a predecessor that was killed
            return None
        if not patient:
            say(f"waiting for another command to be ready, or to end (it holds {file.name})")
            patient = True
        time.sleep(0.5)


def _announced(home: Home) -> str | None:
    with contextlib.suppress(OSError):
        return _address_file(home).read_text()
    return None


def announced(home: Home) -> str | None:
    """The address of the server that `rlmrec up` runs for this home; None if it runs none."""
    with contextlib.suppress(OSError), (home.state / "server.lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _announced(home)
    return None


def announce(home: Home, api: str) -> None:
    """Let others join the server that this process runs, until it ends."""
    temporary = _address_file(home).with_suffix(".tmp")
    temporary.write_text(api)
    temporary.replace(_address_file(home))


def _address_file(home: Home) -> Path:
    return home.state / "server.address"
