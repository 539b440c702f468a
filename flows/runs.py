"""One run of a deployment, asked for and watched from the command line."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from httpx import TransportError
from prefect.client.schemas.objects import Log
from rich.console import Console

from flows.client import cancel, connect, follow, mark_cancelled, submit
from flows.faults import of_state
from flows.launch import Running, everything
from flows.services import Home, ServiceError, announced

_FAREWELL_SECONDS = 15.0
"""For a worker that was killed to end its runs, and to be seen as ended."""


def run_deployment(home: Home, deployment: str, parameters: Mapping[str, Any], console: Console) -> bool:
    """Run a deployment, such as rlmrec/full-pipeline, and show its log; whether it completed.

    Uses the server of PREFECT_API_URL, else the one that `rlmrec up` runs, else brings one up for this run alone.
    Raises ServiceError or LookupError if there is no server, worker or deployment to be had.
    """
    with reached(home, console.print) as running, connect(running.api) as client:
        flow_run = submit(client, deployment, parameters)
        console.print(f"run {flow_run.name}: {running.ui}/runs/flow-run/{flow_run.id}", markup=False)
        show = partial(_show, console)
        try:
            state = follow(client, flow_run, show, running.check)
            if state.is_crashed():  # it may have heard of its worker's end before we did
                running.check(within=_FAREWELL_SECONDS)
        except TransportError as error:
            running.check()
            raise ServiceError(f"the server at {running.ui} does not answer: {error}") from error
        except (KeyboardInterrupt, SystemExit):
            console.print("stopping the run: nothing new is asked, what is under way is kept (again: do not wait)")
            cancel(client, flow_run, show)
            console.print("stopped: the same command goes on from here, and pays for nothing twice")
            raise
        finally:
            if running.server and running.server.alive:
                mark_cancelled(client, flow_run)
    console.print(f"run {flow_run.name}: {state.name}", markup=False)
    if not state.is_completed():
        console.print(f"error: {of_state(state.message or 'no reason was given')}", markup=False)
        if not running.server and (set_here := unseen(state.message or "", os.environ)):
            console.print(
                f"{set_here} is set here, but the run takes it from its worker's environment: end `rlmrec up` with "
                "Ctrl-C, start it again from this shell, and run again",
                markup=False,
            )
        console.print(f"more: {running.ui}/runs/flow-run/{flow_run.id} or {home.state / 'logs'}", markup=False)
    return state.is_completed()


def unseen(message: str, environment: Mapping[str, str]) -> str | None:
    """The variable that a run says it lacks, where this process has it and a worker of another shell has not."""
    found = re.search(r"OPENAI_API_KEY|RLMREC_LLM_MODEL", message)
    return found[0] if found and environment.get(found[0]) else None


@contextmanager
def reached(home: Home, say: Callable[[str], None]) -> Iterator[Running]:
    """The server of PREFECT_API_URL, else the one that `rlmrec up` runs, else one for as long as the block lasts."""
    if api := os.environ.get("PREFECT_API_URL"):
        say(f"using the server of PREFECT_API_URL: {api.removesuffix('/api')}")
        yield Running(api)
        return
    usual = Home.beside("artifacts")
    if not announced(home) and (api := announced(usual)):
        say(f"using the server that is up for {usual.state.parent}: {api.removesuffix('/api')}")
        yield Running(api)
        return
    with everything(home, say, lasting=False) as running:
        yield running


def _show(console: Console, line: Log) -> None:
    console.print(f"{line.timestamp.astimezone():%H:%M:%S}  {line.message}", markup=False)
