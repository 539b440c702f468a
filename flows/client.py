"""What the command line asks of the Prefect server: a pool, a run, its log lines and its end."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from prefect import State
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun, Log, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Crashed
from prefect.workers.process import ProcessWorker

from flows.faults import ENGINES
from flows.services import POOL
from tasks.report import LOGGER

RUN_TAG = "rlmrec-run"
"""Marks runs that are worth nothing once the command that asked for them has gone."""
_UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_PAGE = 200
_POLLS_AFTER_END = 3
"""The last lines arrive a little after the state."""
_CANCEL_SECONDS = 60.0
"""Prefect kills a run that has not ended after 30; a worker may take some to hear of it."""
_LONGEST_PAUSE = 5.0
"""Seconds. Every poll asks for the lines of each stage: once a second it would take a tenth of a core from training."""


def connect(api: str) -> SyncPrefectClient:
    """A client of the server at `api`; a context manager."""
    key, auth = (os.environ.get(f"PREFECT_API_{name}") for name in ("KEY", "AUTH_STRING"))
    return SyncPrefectClient(api, api_key=key, auth_string=auth, server_type=ServerType.SERVER)


def is_healthy(api: str) -> bool:
    """Whether a Prefect server answers at `api`."""
    with connect(api) as client:
        return client.api_healthcheck() is None


def create_pool(client: SyncPrefectClient) -> None:
    """The work pool of the deployments, created or brought up to date."""
    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template), overwrite=True)


def end_stale_runs(client: SyncPrefectClient) -> int:
    """Mark runs Crashed whose process died with an earlier server or worker; returns how many.

    To be called before a worker starts on a server of one's own: then nothing can be running.
    """
    stale = client.read_flow_runs(flow_run_filter=FlowRunFilter(state={"type": {"any_": _UNFINISHED}}))
    stale += client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state={"type": {"any_": [StateType.SCHEDULED]}}, tags={"all_": [RUN_TAG]})
    )
    for run in stale:
        client.set_flow_run_state(run.id, Crashed(message="Its worker has gone; run it again."), force=True)
    return len(stale)


@contextmanager
def schedules_kept(client: SyncPrefectClient) -> Iterator[None]:
    """Deploy within the block: what somebody switched on is on afterwards, though prefect.yaml has it off."""
    on = {(deployment.name, schedule.slug) for deployment, schedule in _schedules(client) if schedule.active}
    yield
    for deployment, schedule in _schedules(client):
        if not schedule.active and (deployment.name, schedule.slug) in on:
            client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def _schedules(client: SyncPrefectClient) -> Iterator[tuple[DeploymentResponse, DeploymentSchedule]]:
    """The schedules of prefect.yaml, which have a name of their own there."""
    for deployment in client.read_deployments():
        yield from ((deployment, schedule) for schedule in deployment.schedules if schedule.slug)


def end_orphans(client: SyncPrefectClient) -> int:
    """Mark stages Crashed whose run has ended, so that they have no process any more; returns how many.

    Of a run whose process was killed, its worker ends the run, and nobody its stages.
    """
    stages = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state={"type": {"any_": _UNFINISHED}}, parent_task_run_id={"is_null_": False})
    )
    orphans = [stage for stage in stages if _parent_has_ended(client, stage)]
    for stage in orphans:
        client.set_flow_run_state(stage.id, Crashed(message="Its run has ended before it; run that again."), force=True)
    return len(orphans)


def _parent_has_ended(client: SyncPrefectClient, stage: FlowRun) -> bool:
    assert stage.parent_task_run_id
    with suppress(ObjectNotFound):
        parent = client.read_task_run(stage.parent_task_run_id).flow_run_id
        state = client.read_flow_run(parent).state if parent else None
        return bool(state and state.is_final())
    return False


def submit(client: SyncPrefectClient, name: str, parameters: Mapping[str, Any]) -> FlowRun:
    """Ask for a run of the deployment of this name. Raises LookupError if it does not exist."""
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        raise LookupError(f"the server has no deployment {name}: run `prefect deploy --all`") from None
    return client.create_flow_run_from_deployment(deployment.id, parameters=dict(parameters), tags=[RUN_TAG])


def follow(client: SyncPrefectClient, run: FlowRun, show: Callable[[Log], None], check: Callable[[], None]) -> State:
    """Show the run's log lines as they come until it ends; returns its final state.

    `check` is called now and then, and ends the waiting by raising.
    """
    seen: Counter[UUID] = Counter()
    polls_left, pause = _POLLS_AFTER_END, 1.0
    while True:
        check()
        state = client.read_flow_run(run.id).state
        lines = list(_new_lines(client, run.id, seen))
        for line in lines:
            show(line)
        pause = 1.0 if lines else min(2 * pause, _LONGEST_PAUSE)
        if state and state.is_final():
            polls_left, pause = polls_left - 1, 1.0
            if not polls_left:
                return state
        time.sleep(pause)


def cancel(client: SyncPrefectClient, run: FlowRun, show: Callable[[Log], None]) -> None:
    """Have the run's worker end it, wherever that runs, and show its last lines; returns once the run has ended.

    A run that no worker has taken yet, or whose worker does not answer in time, is marked Cancelled.
    """
    state = client.read_flow_run(run.id).state
    if not state or state.is_final():
        return
    if state.is_running() or state.is_pending() or state.is_paused():
        client.set_flow_run_state(run.id, Cancelling(message="The command that asked for it ended."))
        with suppress(TimeoutError):
            if not follow(client, run, show, _deadline(_CANCEL_SECONDS)).is_completed():
                # The flow's process says of a signal that it crashed, and may do so before its worker says why.
                client.set_flow_run_state(run.id, _cancelled(), force=True)
            return
    mark_cancelled(client, run)


def mark_cancelled(client: SyncPrefectClient, run: FlowRun) -> None:
    """Mark the run Cancelled, if it has not ended."""
    state = client.read_flow_run(run.id).state
    if state and not state.is_final():
        client.set_flow_run_state(run.id, _cancelled(), force=True)


def _cancelled() -> State:
    return Cancelled(message="The command that asked for it ended.")


def _deadline(seconds: float) -> Callable[[], None]:
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise TimeoutError

    return check


def _new_lines(client: SyncPrefectClient, run_id: UUID, seen: Counter[UUID]) -> Iterator[Log]:
    """Lines of the run and its stages that were not given out before, counted in `seen`, oldest first."""
    stages = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id={"any_": [run_id]}))
    fresh = [line for id_ in [run_id, *(stage.id for stage in stages)] for line in _page(client, id_, seen)]
    yield from (line for line in sorted(fresh, key=lambda line: line.timestamp) if _is_ours(line))


def _page(client: SyncPrefectClient, run_id: UUID, seen: Counter[UUID]) -> list[Log]:
    lines = client.read_logs(
        LogFilter(flow_run_id={"any_": [run_id]}), limit=_PAGE, offset=seen[run_id], sort=LogSort.TIMESTAMP_ASC
    )
    seen[run_id] += len(lines)
    return lines


def _is_ours(line: Log) -> bool:
    # The engines' own errors are those of the final state, which is shown, with tracebacks around them.
    from_engine = line.name in ENGINES and line.level >= logging.ERROR
    return line.name.endswith(f".{LOGGER}") or (line.level >= logging.WARNING and not from_engine)
