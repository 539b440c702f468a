"""The flows on a small server of the tests' own."""

import json
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter, TaskRunFilter

from flows import stages
from flows.full_pipeline import rlmrec
from flows.inputs import MissingInput
from flows.refresh import refresh_profiles
from storage import ArtifactStore
from tests.tasks.by_hand import tiny

pytestmark = pytest.mark.usefixtures("prefect_db")
STAGES = ["ingest", "prepare", "item_profiles", "user_profiles", "embed", *["train"] * 3, "evaluate", "recommend"]


def last_run(store):
    return json.loads((Path(store.url) / "last-run.json").read_text())


def test_the_full_pipeline_writes_what_scripts_rely_on(store):
    rlmrec(tiny(), store)
    first = last_run(store)
    assert [stage["stage"] for stage in first["stages"]] == STAGES
    assert {stage["status"] for stage in first["stages"]} == {"computed"}
    assert all(stage.keys() >= {"key", "seconds", "rows"} for stage in first["stages"])
    assert [stage["variant"] for stage in first["stages"] if stage["stage"] == "train"] == ["base", "con", "gen"]
    assert {metric["variant"] for metric in first["metrics"]} == {"base", "con", "gen", "popularity", "semantic"}
    assert set(first["metrics"][0]) == {
        "prepare", "backbone", "variant", "settings", "label", "part", "metric", "k", "value",
    }  # fmt: skip
    assert Path(first["recommendations"]).is_file()

    rlmrec(tiny(), store)
    second = last_run(store)
    assert {stage["status"] for stage in second["stages"]} == {"hit"}
    assert [stage["key"] for stage in second["stages"]] == [stage["key"] for stage in first["stages"]]
    assert second["metrics"] == first["metrics"]


def test_the_ui_shows_hits_as_cached_and_a_summary(store):
    config = tiny(train={"variants": ["base"]})
    rlmrec(config, store)
    state = rlmrec(config, store, return_state=True)
    run_id = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        subflows = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id={"any_": [run_id]}))
        ids = [run.id for run in subflows]
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": ids}), task_run_filter=TaskRunFilter())
        shown = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id={"any_": [run_id, *ids]}))
    assert {run.state.name for run in subflows} == {task.state.name for task in tasks} == {"Cached"}
    assert all("hit in" in run.state.message for run in subflows)
    keys = {artifact.key for artifact in shown}
    assert {"summary", "metrics", "data-card", "recommendations"} <= keys
    assert any(key.startswith("curve-train-lightgcn-base-2023-") for key in keys)
    summary = next(artifact.data for artifact in shown if artifact.key == "summary")
    assert "popularity" in summary and "recommendations.parquet" in summary


def test_base_alone_reads_no_text(store):
    rlmrec(tiny(train={"variants": ["base"]}), store)
    assert [stage["stage"] for stage in last_run(store)["stages"]] == [
        "ingest", "prepare", "train", "evaluate", "recommend",
    ]  # fmt: skip


def test_a_stage_alone_finds_the_latest_inputs(store):
    config = tiny(train={"variants": ["base"]})
    rlmrec(config, store)
    again = stages.train(config.train, store, force=True)
    assert [result.status for result in again] == ["computed"]
    assert stages.evaluate(config.evaluate, store).status == "hit"


def test_a_missing_input_names_the_deployment_that_makes_it(store):
    with pytest.raises(MissingInput, match="run the deployment ingest/ingest first"):
        stages.prepare(store=store)


def test_inputs_that_do_not_belong_together_are_refused(store):
    config = tiny(train={"variants": ["con"]})
    rlmrec(config, store)
    stages.prepare(tiny(prepare={"seed": 1}).prepare, store)
    with pytest.raises(MissingInput, match="run the deployment embed/embed first"):
        stages.train(config.train, store)


def test_a_refresh_stops_before_training_unless_asked(store):
    refresh_profiles(tiny(), store)
    artifacts = ArtifactStore.open(store)
    assert artifacts.latest("embed") and not artifacts.latest("train")


def test_a_refresh_takes_the_settings_of_the_last_full_run(store):
    config = tiny(train={"seeds": [7]})
    rlmrec(config, store)
    assert last_run(store)["config"] == config.model_dump(mode="json")
    refresh_profiles(store=store, retrain=True)
    assert {stage["status"] for stage in last_run(store)["stages"]} == {"hit"}


def test_the_forms_of_the_stages_start_from_the_last_full_run(store):
    """A deployment without a worker will do: its parameters are what the form shows."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(stages.embed)
        deployment = client.create_deployment(flow_id, "embed", paused=True, parameters={})
        rlmrec(tiny(), store)
        shown = client.read_deployment(deployment).parameters
    engine = tiny().engine.model_dump(mode="json")
    assert shown == {"config": tiny().embed.model_dump(mode="json"), "store": store.model_dump(), "engine": engine}
