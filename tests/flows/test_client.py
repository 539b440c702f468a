"""What the command line asks of a server."""

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import Completed, Crashed, Running, Scheduled

from flows.client import RUN_TAG, end_orphans, end_stale_runs, schedules_kept, submit
from flows.full_pipeline import end_stages

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


def test_stages_of_a_run_that_has_ended_are_marked_crashed():
    @task
    def step() -> None: ...

    with get_client(sync_client=True) as client:
        runs = [client.create_flow_run(nothing, state=state) for state in (Running(), Running())]
        stages = []
        for run in runs:
            place = client.create_task_run(step, run.id, "0")
            stages.append(client.create_flow_run(nothing, state=Running(), parent_task_run_id=place.id))
        client.set_flow_run_state(runs[0].id, Crashed(), force=True)
        assert end_orphans(client) == 1
        assert [client.read_flow_run(stage.id).state.name for stage in stages] == ["Crashed", "Running"]
        client.set_flow_run_state(runs[1].id, Crashed(), force=True)
    end_stages(nothing, runs[1], Crashed())
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(stages[1].id).state.name == "Crashed"


def test_a_schedule_that_was_switched_on_stays_on():
    def deploy() -> None:
        off = [
            DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * *"), active=False, slug=slug) for slug in "ab"
        ]
        client.create_deployment(flow_id, "nightly", schedules=off)

    def on() -> dict[str | None, bool]:
        return {schedule.slug: schedule.active for schedule in client.read_deployment_schedules(deployment)}

    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(nothing)
        with schedules_kept(client):
            deploy()
        deployment = client.read_deployment_by_name("nothing/nightly").id
        first = next(one for one in client.read_deployment_schedules(deployment) if one.slug == "a")
        client.update_deployment_schedule(deployment, first.id, active=True)
        with schedules_kept(client):
            deploy()
            assert not any(on().values())
        assert on() == {"a": True, "b": False}


def test_a_missing_deployment_is_named_with_the_way_out():
    with get_client(sync_client=True) as client, pytest.raises(LookupError, match="prefect deploy --all"):
        submit(client, "rlmrec/full-pipeline", {})
