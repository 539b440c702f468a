"""prefect.yaml, checked without a server."""

from pathlib import Path

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from tasks.stages import STAGE

ROOT = Path(__file__).parents[2]
CONTENT = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = {deployment["name"]: deployment for deployment in CONTENT["deployments"]}
STAGES = [spec.title for spec in STAGE.values()]


def flow_of(name):
    return load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])


def test_every_stage_and_the_whole_have_a_deployment():
    others = [
        "export",
        "search",
        "experiments",
        "plan",
        "retry-failed",
        "promote",
        "rollback",
        "refresh-profiles",
        "refresh-all",
    ]
    assert list(DEPLOYMENTS) == ["full-pipeline", *STAGES, *others]


def test_the_full_pipeline_has_the_name_that_people_type():
    assert flow_of("full-pipeline").name == "rlmrec"


@pytest.mark.parametrize(
    "name", [*STAGES, "search", "experiments", "plan", "retry-failed", "promote", "rollback", "refresh-profiles"]
)
def test_other_deployments_are_named_as_their_flows(name):
    assert flow_of(name).name == name


@pytest.mark.parametrize("spec", STAGE.values(), ids=STAGE)
def test_the_form_of_a_stage_asks_for_its_inputs_and_its_engine(spec):
    """The flows have signatures of their own, for the forms: they must say what the table of stages says."""
    asked = list(flow_of(spec.title).parameters.properties)
    inputs = ["models" if stage == "train" else stage for stage in spec.inputs]
    earlier = {"user_profiles": ["previous"], "recommend": ["embed"]}.get(spec.name, [])
    engine = ["engine"] if spec.takes_engine else []
    assert asked == ["config", "store", *inputs, *earlier, "force", *engine, "name"]
    assert spec.task.name == spec.title


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_runs_as_it_stands(name):
    """Every parameter has a default, so that the form may be sent off as it is."""
    flow, deployment = flow_of(name), DEPLOYMENTS[name]
    flow.validate_parameters(deployment.get("parameters", {}))
    assert flow.parameters.required == []
    assert deployment["work_pool"]["name"] == "rlmrec"
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_field_of_a_form_is_explained(name):
    for parameter, field in flow_of(name).parameters.properties.items():
        assert field.get("description"), f"{name}: {parameter}"


def test_nothing_is_scheduled_that_was_not_asked_for():
    schedules = [schedule for deployment in DEPLOYMENTS.values() for schedule in deployment.get("schedules", [])]
    assert {schedule["active"] for schedule in schedules} == {False}
