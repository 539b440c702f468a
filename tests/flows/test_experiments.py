"""The flow of experiments on a small server of the tests' own."""

import json
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from flows.experiments import experiments
from rlmrec_core.config import RerankConfig
from storage import ArtifactStore, StoreConfig
from tasks import datasets
from tests.fake_llm import FakeLLM
from tests.fake_llm.faults import error
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


def test_a_language_model_is_asked_where_a_budget_allows_it(tmp_path, monkeypatch):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)

    def run(server, **llm):
        llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0} | llm
        rerank = RerankConfig(n_users=4, candidates=(20,), llm=llm)
        train = small().train.model_copy(update={"backbones": ("lightgcn",), "variants": ("base",)})
        config = small().model_copy(update={"train": train, "rerank": rerank})
        return experiments(config, "figure1", 1, store, return_state=True)

    with FakeLLM(lambda n, body: error(400, "invalid") if n == 1 else None) as server:
        refused = run(server)
        assert refused.is_failed() and "4 requests to m" in refused.message and "no budget" in refused.message
        assert not server.n_requests and any(row["requests"] == 4 for told in shown_rows() for row in told)
        first, second, third = (run(server, budget_usd=0.1) for _ in range(3))
        assert (first.name, second.name, third.name) == ("Incomplete", "Completed", "Completed")
        assert "1 of 4 orders could not be had" in first.message
        assert server.n_requests == 5
    assert len(shown("experiment-figure1-sample")) == 3


def shown_rows():
    return [json.loads(told) for told in shown("rerank-plan-sample")]
