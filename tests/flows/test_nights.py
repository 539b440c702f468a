"""Nights as they are played: data come, gates judge, lists are put to use or not, and somebody is told."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.states import Crashed, Failed, Late

from flows.alarms import FILE, NoSuchBlock, create_alarms
from flows.full_pipeline import rlmrec
from flows.refresh import refresh_profiles
from rlmrec_core.config import PipelineConfig
from storage import ArtifactStore, StoreConfig
from tasks import datasets, promotion
from tests.fake_llm import FakeLLM
from tests.fake_llm.faults import error
from tests.tasks.by_hand import tiny

pytestmark = pytest.mark.usefixtures("prefect_db")
ROOT = Path(__file__).parents[2]
NAME = "shop"
USERS, ITEMS = 60, 24


def write_shop(folder: Path, *, users: int = USERS, texts: float = 1.0) -> Path:
    """A shop of two halves: each user buys 8 of the 12 items of one half. texts: share of items with a description."""
    rng, rows = np.random.default_rng(7), []
    for user in range(USERS):
        bought = rng.choice(ITEMS // 2, 8, replace=False) + ITEMS // 2 * (user % 2)
        rows += [f"u{user},i{item}" for item in bought if user < users]
    items = [f"i{n},lamp {n},{'a lamp that shines' if n < texts * ITEMS else ''}" for n in range(ITEMS)]
    folder.mkdir(exist_ok=True)
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]))
    (folder / "items.csv").write_text("\n".join(["item_id,title,description", *items]))
    return folder


def shop(folder: Path, **sections: dict) -> PipelineConfig:
    columns = {"title": "title", "description": "description"}
    ingest = {"reader": "tabular", "path": str(folder), "columns": columns}
    train = {"variants": ["base"], "max_epochs": 30, "learning_rate": 0.05, "validate_every": 5}
    config = tiny(**{"ingest": ingest, "train": train, "recommend": {"k": 4}} | sections)
    return config.model_copy(update={"name": NAME})


class Receiver:
    """A webhook on loopback that keeps what it is told."""

    def __init__(self) -> None:
        self.told: Queue[dict[str, Any]] = Queue()
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alarms"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self) -> str:
        """The next alarm; fails the test where none comes."""
        return self.told.get(timeout=120)["text"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def receiver(prefect_db) -> Iterator[Receiver]:
    """Told by every alarm of alarms.yaml."""
    found = Receiver()
    Webhook(url=found.url).save("night", overwrite=True)
    with get_client(sync_client=True) as client:
        for _ in range(2):  # the second time brings them up to date
            assert len(create_alarms(client, "webhook/night", ROOT / FILE)) == 6
        assert len(client.read_automations()) == 6
    yield found
    found.close()


def in_use(store: StoreConfig) -> dict[str, Any]:
    return promotion.current(ArtifactStore.open(store), NAME)


def last_run(store: StoreConfig) -> dict[str, Any]:
    return datasets.last_run(ArtifactStore.open(store), NAME)


def test_a_night_with_half_of_the_data(store, receiver, tmp_path):
    folder = write_shop(tmp_path / "shop")
    state = rlmrec(shop(folder), store, return_state=True)
    assert (state.name, last_run(store)["verdict"]) == ("Completed", "promoted")
    first = in_use(store)
    lists = Path(first["recommendations"]).read_bytes()

    write_shop(folder, users=USERS // 2, texts=2 / 3)
    state = refresh_profiles(store=store, retrain=True, return_state=True)
    assert state.name == "NotPromoted" and state.is_failed()
    assert in_use(store) == first and Path(first["recommendations"]).read_bytes() == lists
    alarm = receiver.next()
    assert "NotPromoted" in alarm and "gate users: users: 30, allowed is at most 30% below" in alarm
    assert "gate text: items with description: 66.7%" in alarm
    run = last_run(store)
    assert (run["verdict"], run["recommendations"], run["metrics"]) == ("not promoted", None, [])
    stopped = {row["what"]: row for row in run["gates"] if row["verdict"] == "stopped"}
    assert {"users", "items with description"} <= stopped.keys()
    assert (stopped["users"]["value"], stopped["users"]["promoted"], stopped["users"]["change"]) == (30, 60, -30)

    write_shop(folder, users=USERS - 2)
    assert refresh_profiles(store=store, retrain=True, return_state=True).name == "Completed"
    second = in_use(store)
    assert second["number"] == 2 and second["figures"]["users"] == USERS - 2
    assert second["artifacts"] != first["artifacts"]

    back = promotion.rollback(ArtifactStore.open(store), NAME)
    assert back["number"] == 1 and Path(in_use(store)["recommendations"]).read_bytes() == lists
    assert receiver.told.empty()


def test_a_night_with_a_failing_model_server(store, receiver, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)
    folder = write_shop(tmp_path / "shop")

    def config(server: FakeLLM) -> PipelineConfig:
        llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0}
        side = {"generator": "llm", "max_words": 60, "llm": llm}
        train = {"variants": ["con"], "max_epochs": 3}
        return shop(folder, item_profiles=side, user_profiles=side, train=train)

    def ill(n: int, body: dict) -> Any:
        return error(400, "out of order") if n % 3 == 0 else None

    def slightly_ill(n: int, body: dict) -> Any:
        return error(400, "out of order") if n == 2 else None

    with FakeLLM(ill) as server:
        assert rlmrec(config(server), store, return_state=True).name == "NotPromoted"
        assert server.n_requests < ITEMS + 6, "users were asked about after the items had failed"
    assert in_use(store) is None
    alarm = receiver.next()
    assert "gate failed_profiles: failed item profiles: 33.3%, allowed is at most 10.0%" in alarm

    with FakeLLM(slightly_ill) as server:
        state = rlmrec(config(server), store, return_state=True)
    assert state.name == "Incomplete" and state.is_completed() and "1 of 24 profiles could not be had" in state.message
    assert in_use(store)["number"] == 1 and last_run(store)["verdict"] == "promoted"
    alarm = receiver.next()
    assert "Incomplete" in alarm and "out of order" in alarm
    with pytest.raises(Empty):
        receiver.told.get_nowait()


@pytest.mark.parametrize(
    "state", [Failed(), Crashed(), Failed(name="OverBudget"), Late(scheduled_time=datetime(2026, 1, 1, tzinfo=UTC))],
    ids=lambda state: state.name,
)  # fmt: skip
def test_every_other_end_of_a_night_is_told(state, receiver):
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(refresh_profiles, name="shop refresh")
        client.set_flow_run_state(run.id, state.model_copy(update={"message": "said so"}), force=True)
    alarm = receiver.next()
    assert f"shop refresh: {state.name}" in alarm and "said so" in alarm
    assert receiver.told.empty()


def test_an_alarm_needs_somebody_to_be_told():
    with get_client(sync_client=True) as client, pytest.raises(NoSuchBlock, match="webhook/nobody"):
        create_alarms(client, "webhook/nobody", ROOT / FILE)
