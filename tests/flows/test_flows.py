"""The flows on a small server of the tests' own."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter, TaskRunFilter
from prefect.exceptions import MissingResult

from flows import stages
from flows.full_pipeline import rlmrec, run_stages
from flows.inputs import MissingInput
from flows.refresh import refresh_profiles
from rlmrec_core.config import PipelineConfig
from rlmrec_core.ranking import BASELINES
from storage import ArtifactStore, StoreConfig
from tasks import datasets
from tasks.refresh import show_changes
from tasks.report import as_text
from tests.fake_llm import FakeLLM
from tests.tasks.by_hand import tiny

pytestmark = pytest.mark.usefixtures("prefect_db")
STAGES = ["ingest", "prepare", "item_profiles", "user_profiles", "embed", *["train"] * 3, "evaluate", "recommend"]


BASE = tiny(train={"variants": ["base"]})


def last_run(store):
    return json.loads((Path(store.url) / "last-run.json").read_text())


@pytest.fixture(scope="module")
def form(prefect_db):
    """A deployment of a stage. One without a worker will do: its parameters are what the form shows."""
    with get_client(sync_client=True) as client:
        return client.create_deployment(client.create_flow(stages.embed), "embed", paused=True, parameters={})


@pytest.fixture(scope="module")
def whole(form, tmp_path_factory):
    """A store after a full run; not to be written to."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("whole") / "artifacts"))
    rlmrec(tiny(), store)
    return store


@pytest.fixture(scope="module")
def rerun(whole, tmp_path_factory):
    """The store after the same run again, and the state that one ended in."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("rerun") / "artifacts"))
    shutil.copytree(whole.url, store.url)
    return store, rlmrec(tiny(), store, return_state=True)


@pytest.fixture(scope="module")
def base_alone(prefect_db, tmp_path_factory):
    """A store after a full run of Base; not to be written to."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("base") / "artifacts"))
    rlmrec(BASE, store)
    return store


def test_the_full_pipeline_writes_what_scripts_rely_on(whole, rerun):
    first = last_run(whole)
    assert [stage["stage"] for stage in first["stages"]] == STAGES
    assert {stage["status"] for stage in first["stages"]} == {"computed"}
    assert all(stage.keys() >= {"key", "seconds", "rows"} for stage in first["stages"])
    assert [stage["variant"] for stage in first["stages"] if stage["stage"] == "train"] == ["base", "con", "gen"]
    assert {metric["variant"] for metric in first["metrics"]} == {
        "base", "con", "gen", *(baseline.variant for baseline in BASELINES)
    }  # fmt: skip
    assert set(first["metrics"][0]) == {
        "prepare", "backbone", "variant", "settings", "label", "part", "metric", "k", "value", "low", "high",
    }  # fmt: skip
    assert Path(first["recommendations"]).is_file()

    second = last_run(rerun[0])
    assert {stage["status"] for stage in second["stages"]} == {"hit"}
    assert [stage["key"] for stage in second["stages"]] == [stage["key"] for stage in first["stages"]]
    assert second["metrics"] == first["metrics"]


def test_the_ui_shows_hits_as_cached_and_a_summary(rerun):
    run_id = rerun[1].state_details.flow_run_id
    with get_client(sync_client=True) as client:
        subflows = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id={"any_": [run_id]}))
        ids = [run.id for run in subflows]
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": ids}), task_run_filter=TaskRunFilter())
        shown = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id={"any_": [run_id, *ids]}))
    assert {run.state.name for run in subflows} == {task.state.name for task in tasks} == {"Cached"}
    assert all(run.name.startswith("sample ") and "data:sample" in run.tags for run in subflows)
    assert all("hit in" in run.state.message for run in subflows)
    keys = {artifact.key for artifact in shown}
    assert {"summary-sample", "metrics-sample", "dataset-statistics-sample", "recommendations-sample"} <= keys
    assert any(key.startswith("curve-train-lightgcn-base-2023-") for key in keys)
    page = {artifact.key: artifact.data for artifact in shown}
    summary = page["summary-sample"]
    assert summary.startswith("## Data set sample: promoted") and "- **lists written by**: lightgcn" in summary
    assert "popularity" in summary and "recommendations.parquet" in summary
    assert "items: taken from the texts, without a language model (24)" in summary
    assert "Compared with promotion 1" in summary and "| ok | users | 30 | 30 | +0.0% |" in summary
    artifacts = ArtifactStore.open(rerun[0])
    (lists,) = artifacts.refs("recommend")
    assert artifacts.table(lists, "recommendations")["title"][0].as_py() in summary
    assert "drift of which items are popular | 0.0000" in page["drift-sample"] and "data:image" in page["drift-sample"]
    con, gen = last_run(rerun[0])["findings"]
    assert f"- **found**: {as_text(f'{con}; {gen}')}" in summary and " users can show" in con


def test_base_alone_reads_no_text(base_alone):
    assert [stage["stage"] for stage in last_run(base_alone)["stages"]] == [
        "ingest", "prepare", "train", "evaluate", "recommend",
    ]  # fmt: skip


def test_a_stage_alone_finds_the_latest_inputs(store, base_alone):
    shutil.copytree(base_alone.url, store.url)
    again = stages.train(BASE.train, store, force=True)
    assert [result.status for result in again] == ["computed"]
    assert stages.evaluate(BASE.evaluate, store).status == "hit"


def test_a_missing_input_names_the_deployment_that_makes_it(store):
    with pytest.raises(MissingInput, match="run the deployment ingest/ingest first"):
        stages.prepare(store=store)


def test_inputs_that_do_not_belong_together_are_refused(store, whole):
    shutil.copytree(whole.url, store.url)
    stages.prepare(tiny(prepare={"seed": 1}).prepare, store)
    with pytest.raises(MissingInput, match="run the deployment embed/embed first"):
        stages.train(tiny().train, store)


def test_a_result_that_got_lost_on_its_way_is_found_in_the_store(tmp_path, monkeypatch):
    made, ingest = [], stages.ingest

    def losing(*arguments, force, **keys):
        made.append(ingest(*arguments, force=force, **keys))
        if len(made) == 1:
            raise MissingResult("State data is missing.")
        return made[-1]

    monkeypatch.setattr(stages, "ingest", losing)
    done = run_stages(tiny(), StoreConfig(url=str(tmp_path / "store")), force=True, last="ingest")
    assert [result.status for result in made] == ["computed", "hit"]
    assert done["ingest"] == [made[1]] and made[0].ref == made[1].ref


def test_a_refresh_takes_the_settings_of_the_last_full_run(store, whole):
    shutil.copytree(whole.url, store.url)
    assert last_run(store)["config"] == tiny().model_dump(mode="json") != PipelineConfig().model_dump(mode="json")
    refresh_profiles(store=store, retrain=True)
    assert {stage["status"] for stage in last_run(store)["stages"]} == {"hit"}


def test_training_alone_leaves_text_to_data_that_have_some(store, tmp_path):
    rows = "".join(f"u{user},i{item}\n" for user in range(8) for item in range(9) if (user + item) % 3)
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id\n{rows}")
    config = tiny(ingest={"reader": "tabular", "path": str(tmp_path)}, prepare={"k_core": 1})
    stages.ingest(config.ingest, store)
    split = stages.prepare(config.prepare, store)
    trained = stages.train(config.train, store, prepare=split.ref.key)
    assert [result.title.split()[2] for result in trained] == ["base"]


def shop(folder: Path, **renamed: str) -> Path:
    """A shop's tables: 12 users, who all bought 8 of its 9 items."""
    folder.mkdir(exist_ok=True)
    titles = {f"i{n}": f"{folder.name} lamp {n}" for n in range(9)} | renamed
    bought = [f"u{user},i{item}" for user in range(12) for item in range(9) if item != user % 9]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id", *bought]))
    rows = [f"{item},{title}" for item, title in titles.items()]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *rows]))
    return folder


def test_a_refresh_compares_with_its_own_data_set_whatever_ran_between(store, whole, tmp_path, monkeypatch):
    shutil.copytree(whole.url, store.url)
    found = local()
    monkeypatch.setattr("flows.refresh.show_changes", lambda *given: setattr(found, "rows", show_changes(*given)))

    def refreshed(name: str, **renamed: str) -> list[tuple[int, ...]]:
        ingest = {"reader": "tabular", "path": str(shop(tmp_path / name, **renamed)), "columns": {"title": "title"}}
        config = PipelineConfig.model_validate(tiny(ingest=ingest).model_dump() | {"name": name})
        assert refresh_profiles(config, store, return_state=True).is_completed()
        return [(row["new"], row["changed"], row["unchanged"], row["gone"]) for row in found.rows]

    assert refreshed("shop-a") == refreshed("shop-b") == [(9, 0, 0, 0), (12, 0, 0, 0)]
    assert refreshed("shop-a", i3="desk")[0] == (0, 1, 8, 0)
    refresh_profiles(tiny(), store)
    assert refreshed("shop-b") == [(0, 0, 9, 0), (0, 0, 12, 0)]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(refreshed, "shop-a", i3="desk", i4="chair", i5="bed")
        second = pool.submit(refreshed, "shop-b", i8="shelf")
        assert (first.result()[0], second.result()[0]) == ((0, 2, 7, 0), (0, 1, 8, 0))
    artifacts = ArtifactStore.open(store)
    assert datasets.names(artifacts) == ["sample", "shop-a", "shop-b"]
    # Nobody asked for a training.
    assert len(artifacts.refs("train")) == len(tiny().train.variants)
    with pytest.raises(datasets.UnknownDataSet, match="shop-a, shop-b"):
        refresh_profiles(store=store)


def test_a_run_that_failed_leaves_the_inputs_of_the_last_good_one(store, base_alone, monkeypatch):
    shutil.copytree(base_alone.url, store.url)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("flows.full_pipeline.stages.train", lambda *given, **named: 1 / 0)
        rlmrec(tiny(train={"variants": ["base"]}, prepare={"seed": 5}), store)
    assert stages.evaluate(BASE.evaluate, store).status == "hit"


def test_the_forms_of_the_stages_start_from_the_last_full_run(form, whole, base_alone, store):
    shutil.copytree(base_alone.url, store.url)
    rlmrec(BASE, store)
    with get_client(sync_client=True) as client:
        shown = client.read_deployment(form).parameters
    assert shown == {
        "config": BASE.embed.model_dump(mode="json"),
        "store": store.model_dump(),
        "name": "sample",
        "engine": BASE.engine.model_dump(mode="json"),
    }


def test_a_run_rebuilds_profiles_for_its_lists_and_has_a_model_say_why(whole, tmp_path, monkeypatch):
    """On a store where the rest is there already; the model answers with profiles, which are no sentences."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    shutil.copytree(whole.url, store.url)
    with FakeLLM() as server:
        llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 1.0}
        reasons = {"generator": "llm", "places": 1, "llm": llm}
        config = tiny(recommend={"fit_on": "all", "profiles": "rebuild", "variant": "con"}, reasons=reasons)
        ended = rlmrec(config, store, return_state=True)
        assert ended.name == "Completed" and server.n_requests
    artifacts, run = ArtifactStore.open(store), last_run(store)
    assert [stage["stage"] for stage in run["stages"]] == [*STAGES, "reasons"]
    assert [stage["status"] for stage in run["stages"]][-3:] == ["hit", "computed", "computed"]
    spent = {row["what"]: row["value"] for row in run["gates"] if row["check"] == "cost_usd"}
    assert spent["spent on reasons"] > 0 == spent["spent on profiles and vectors of all interactions"]
    latest = datasets.latest_keys(artifacts, "sample")
    assert latest["embed/all"] != latest["embed"] and len(latest["reasons"]) == 1
    promoted = json.loads((Path(store.url) / "datasets/sample/current.json").read_text())["artifacts"]
    assert promoted["embed"] == latest["embed"] and promoted["reasons"] == latest["reasons"]
    # The form of the stage may be sent off as it is.
    assert stages.recommend(config.recommend, store, name="sample").status == "hit"
