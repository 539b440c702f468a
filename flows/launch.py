"""Everything a run needs on one machine: server, work pool, deployments, worker."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flows.client import connect, create_pool, end_stale_runs, is_healthy, schedules_kept
from flows.forms import refill_forms
from flows.services import DEPLOY_COMMAND, Home, Process, Server, announce, deploy, server, worker


@dataclass(frozen=True)
class Running:
    """A server ready for runs."""

    api: str
    server: Process | None = None
    worker: Process | None = None
    """None, both of them, if the server was up before."""

    @property
    def ui(self) -> str:
        """Address for a browser."""
        return self.api.removesuffix("/api")

    def check(self, within: float = 0.0) -> None:
        """Raise ServiceError if a process has ended, or does in so many seconds."""
        deadline = time.monotonic() + within
        while True:
            for process in (self.server, self.worker):
                if process:
                    process.check()
            if not self.worker or time.monotonic() >= deadline:
                return
            time.sleep(0.2)


@contextmanager
def everything(home: Home, say: Callable[[str], None], *, lasting: bool) -> Iterator[Running]:
    """Server, pool, deployments and worker for as long as the block lasts; or the server that `rlmrec up` runs.

    `lasting` says that other commands may use the server meanwhile. Raises ServiceError if something does not start.
    """
    with server(home, is_healthy, say) as found:
        if found.process is None:
            say(f"using the server that is up: {found.api.removesuffix('/api')}")
            yield Running(found.api)
            return
        _tidy(found, say)
        with worker(home, found.api) as process:
            with connect(found.api) as client:
                with schedules_kept(client):
                    deploy(home, found.api)
                if lasting:
                    refill_forms(client)
            if lasting:
                announce(home, found.api)  # now, since whoever joins expects deployments
            yield Running(found.api, found.process, process)


def _tidy(found: Server, say: Callable[[str], None]) -> None:
    with connect(found.api) as client:
        ended = end_stale_runs(client)
        if ended:
            say(f"marked {ended} runs of an earlier session as crashed")
        create_pool(client)
    say("creating the deployments and starting a worker")


def deploy_all() -> None:
    """Pool and deployments on the server of PREFECT_API_URL, where others run server and workers: `-m flows.launch`."""
    with connect(os.environ["PREFECT_API_URL"]) as client:
        create_pool(client)
        with schedules_kept(client):
            subprocess.run(DEPLOY_COMMAND, cwd=os.environ.get("RLMREC_HOME"), check=True)


if __name__ == "__main__":
    deploy_all()
