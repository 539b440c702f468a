"""A run that may cost more than its threshold waits for somebody to say yes."""

import threading

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from flows import stages
from flows.approval import NotApproved
from tests.fake_llm import FakeLLM
from tests.tasks.by_hand import tiny
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("prefect_db")


def answer_when_paused(approve: bool) -> threading.Thread:
    """What somebody does in the UI."""

    def wait_and_answer() -> None:
        paused = FlowRunFilter(state={"type": {"any_": ["PAUSED"]}})
        with get_client(sync_client=True) as client:
            wait_until(lambda: client.read_flow_runs(flow_run_filter=paused), "a paused run")
            (run,) = client.read_flow_runs(flow_run_filter=paused)
            client.resume_flow_run(run.id, run_input={"approve": approve})

    thread = threading.Thread(target=wait_and_answer, daemon=True)
    thread.start()
    return thread


def test_a_cost_is_approved_or_declined_before_anything_is_asked(store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with FakeLLM() as server:
        llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0, "approve_above_usd": 0.0}
        config = tiny(item_profiles={"generator": "llm", "max_words": 60, "llm": llm})
        stages.ingest(config.ingest, store)
        stages.prepare(config.prepare, store)
        somebody = answer_when_paused(approve=False)
        with pytest.raises(NotApproved):
            stages.item_profiles(config.item_profiles, store)
        somebody.join()
        assert server.n_requests == 0
        somebody = answer_when_paused(approve=True)
        assert stages.item_profiles(config.item_profiles, store).status == "computed"
        somebody.join()
        assert server.n_requests
