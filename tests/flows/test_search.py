"""The search as a flow, on a small server of the tests' own, and what the command shows of it."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.states import Completed
from typer.testing import CliRunner

from flows import cli, runs
from flows import search as flow
from flows.search import search
from rlmrec_core.config import PipelineConfig, SearchConfig, load_config
from storage import ArtifactStore, StoreConfig
from tasks import datasets
from tasks.datasets import latest_keys
from tasks.search import last_search
from tests.tasks.by_hand import tiny

CONFIG = tiny(
    ingest={"sample_users": 60, "sample_items": 80},
    train={"variants": ["con"], "max_epochs": 2},
    search={"trials": 2, "batch": 2},
)


@pytest.fixture(scope="module")
def searched(prefect_db, tmp_path_factory):
    """A store after a search, and the state that it ended in; not to be written to."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("searched") / "artifacts"))
    return store, search(CONFIG, store, return_state=True)


def test_it_ends_well_and_changes_nothing_that_is_in_use(searched):
    store, state = searched
    assert (state.type.value, state.name) == ("COMPLETED", "Completed")
    artifacts = ArtifactStore.open(store)
    assert {"prepare", "embed"} <= latest_keys(artifacts, "sample").keys()
    assert "train" not in latest_keys(artifacts, "sample")
    assert not (Path(store.url) / "datasets" / "sample" / "current.json").exists()


def test_its_page_is_in_the_ui(searched):
    store, _ = searched
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["search-sample"])))
    assert last_search(ArtifactStore.open(store), "sample")["page"] in str(found[0].data)
    assert "alignment.tau" in str(found[0].data)


def test_the_command_asks_for_it_and_says_where_the_settings_are(searched, monkeypatch, tmp_path):
    store, _ = searched
    asked = {}

    def run_deployment(home, deployment, parameters, console):
        asked.update(parameters, deployment=deployment)
        return True

    monkeypatch.setattr(runs, "run_deployment", run_deployment)
    monkeypatch.setattr(cli, "settle", lambda store: None)
    best = tmp_path / "best.toml"
    arguments = ["search", "--store", store.url, "--trials", "7", "--minutes", "2.5", "--out", str(best)]
    done = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0 and f"rlmrec run --config {best}" in done.output
    assert asked["deployment"] == "search/search"
    wanted = PipelineConfig.model_validate(asked["config"]).search
    assert (wanted.trials, wanted.minutes) == (7, 2.5)
    assert load_config(best).train.per_model["lightgcn"]["con"]["alignment"]


def test_without_settings_it_takes_those_of_the_last_run_and_another_budget(searched, monkeypatch):
    store, _ = searched
    known = tiny(train={"variants": ["base"]}, search={"trials": 9})
    datasets.write(ArtifactStore.open(store), "sample", "last-run.json", {"config": known.model_dump(mode="json")})
    seen = []
    monkeypatch.setattr(flow, "gated", lambda config, store, work: seen.append(config) or Completed())
    search(store=store)
    search(store=store, search=SearchConfig(trials=3))
    assert seen == [known, known.model_copy(update={"search": SearchConfig(trials=3)})]
