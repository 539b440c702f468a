"""The flow of experiments on a small server of the tests' own."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from flows.experiments import experiments
from storage import ArtifactStore, StoreConfig
from tasks import datasets
from tests.tasks.experiments import small

pytestmark = pytest.mark.usefixtures("prefect_db")


def shown(key):
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key={"any_": [key]}))
    return [artifact.data for artifact in found]


def test_two_periods_are_ordinary_runs_that_nobody_goes_on_from(tmp_path):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    artifacts = ArtifactStore.open(store)
    made = []
    for _ in range(2):
        assert experiments(small(), "table3", 1, store, return_state=True).is_completed()
        made.append({ref.key: artifacts.manifest(ref).run.created for ref in artifacts.refs()})
    assert made[0] == made[1]
    assert datasets.latest_keys(artifacts, "sample") == {}
    page = datasets.read(artifacts, "sample", "last-table3.json")["page"]
    assert Path(page).is_file()
    told = shown("experiment-table3-sample")
    assert len(told) == 2 and all(page in text and "| gccf base from gccf con |" in text for text in told)
    estimates = shown("experiment-table3-estimate-sample")
    assert any("0 of them trained already" in text for text in estimates)
    assert any("nothing is left to train" in text for text in estimates)
