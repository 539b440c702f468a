"""What the command line asks of a server."""

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Completed, Running, Scheduled

from flows.client import RUN_TAG, end_stale_runs, submit

pytestmark = pytest.mark.usefixtures("prefect_db")


@flow
def nothing() -> None: ...


def test_runs_without_a_worker_are_marked_crashed_and_others_left_alone():
    with get_client(sync_client=True) as client:
        lost = client.create_flow_run(nothing, state=Running())
        abandoned = client.create_flow_run(nothing, state=Scheduled(), tags=[RUN_TAG])
        awaited = client.create_flow_run(nothing, state=Scheduled())
        finished = client.create_flow_run(nothing, state=Completed())
        assert end_stale_runs(client) == 2
        states = [client.read_flow_run(run.id).state.name for run in (lost, abandoned, awaited, finished)]
    assert states == ["Crashed", "Crashed", "Scheduled", "Completed"]


def test_a_missing_deployment_is_named_with_the_way_out():
    with get_client(sync_client=True) as client, pytest.raises(LookupError, match="prefect deploy --all"):
        submit(client, {})
