"""The service, called in this process; its results are two runs by hand."""

import asyncio
import threading
from contextlib import suppress
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from typer.testing import CliRunner

from flows.cli import app as commands
from flows.serve import create_app
from storage import ArtifactStore, StoreConfig
from tasks.datasets import remember
from tasks.results import Results
from tasks.served import Served
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A store, and the keys of two runs over it."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("served") / "artifacts"))
    keys = []
    for seed in (1, 2):
        done = run_by_hand(tiny(train={"variants": ["base"], "seeds": [seed]}), store)
        keys.append({stage: [one.ref.key for one in made] for stage, made in done.items()})
    artifacts = ArtifactStore.open(store)
    remember(artifacts, "shop", keys[0])
    return artifacts, keys


@pytest.fixture
def served(runs):
    remember(runs[0], "shop", runs[1][0])
    return Served(runs[0])


@pytest.fixture
def client(served):
    with TestClient(create_app(served)) as client:
        yield client


def test_answers_are_those_of_the_results(client, served):
    results = served.results
    user, item = results.user_ids[2], results.item_ids[1]
    told = client.get(f"/users/{quote(user, safe='')}", params={"k": 4}).json()
    assert [tuple(row.values()) for row in told["items"]] == [tuple(row) for row in results.recommend(user, 4)]
    assert (told["data"], told["model"], told["written"]) == ("shop", "lightgcn base", results.written)
    alike = client.get(f"/items/{quote(item, safe='')}/similar").json()["items"]
    assert [row["item_id"] for row in alike] == [row.item_id for row in results.similar(item, 20)]
    new = client.post("/recommend", json={"items": [item], "k": 3}).json()["items"]
    assert [row["item_id"] for row in new] == [row.item_id for row in results.recommend_for([item], 3)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/users/nobody", None, 404),
        ("GET", "/users/..%2f..%2fetc%2fpasswd", None, 404),
        ("GET", "/items/nothing/similar", None, 404),
        ("GET", "/users/" + "x" * 600, None, 422),
        ("GET", "/users/1?k=0", None, 422),
        ("GET", "/users/1?k=1001", None, 422),
        ("POST", "/recommend", {"items": []}, 422),
        ("POST", "/recommend", {"items": ["nothing"]}, 404),
        ("POST", "/recommend", {"items": ["1"] * 1001}, 422),
        ("POST", "/recommend", {"items": ["1"], "more": 1}, 422),
        ("POST", "/recommend", {"items": ["x" * (1 << 20)]}, 413),
        ("POST", "/recommend", {}, 422),
        ("POST", "/recommend", {"items": ["1"], "text": "I like the sea"}, 422),
        ("POST", "/recommend", {"text": ""}, 422),
        ("POST", "/recommend", {"text": "x" * 2001}, 422),
        ("POST", "/recommend", {"text": "a run of Base reads no text"}, 422),
        ("GET", "/elsewhere", None, 404),
    ],
)
def test_what_cannot_be_answered_is_refused(client, method, path, body, status):
    response = client.request(method, path, json=body)
    assert response.status_code == status
    assert response.json()["detail"]


def test_a_body_of_untold_length_is_bounded_too(client):
    def endless():
        for _ in range(40):
            yield b"x" * (1 << 16)

    assert client.post("/recommend", content=endless()).status_code == 413


def test_a_token_is_asked_for(served):
    with TestClient(create_app(served, "s3cret")) as client:
        path = f"/users/{quote(served.results.user_ids[0], safe='')}"
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"Authorization": "Bearer s3cre"}).status_code == 401
        assert client.get(path, headers={"Authorization": "Bearer s3cret"}).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/health").status_code == 200


def test_others_are_let_in_with_a_token_only(runs):
    arguments = ["serve", "--host", "0.0.0.0", "--store", runs[0].url]
    done = CliRunner().invoke(commands, arguments, env={"RLMREC_SERVE_TOKEN": ""})
    assert done.exit_code == 2
    assert "RLMREC_SERVE_TOKEN" in done.output


def test_newer_results_take_over_and_no_request_is_lost(runs, served):
    artifacts, keys = runs
    app = create_app(served)
    old, new = (Results.of(artifacts, "shop", old_or_new) for old_or_new in keys)
    user = quote(old.user_ids[0], safe="")
    seen, stop = [], threading.Event()
    with TestClient(app) as client:

        def load():
            while not stop.is_set():
                response = client.get(f"/users/{user}?k=3")
                seen.append((response.status_code, response.json().get("written")))

        callers = [threading.Thread(target=load) for _ in range(3)]
        for caller in callers:
            caller.start()
        remember(artifacts, "shop", keys[1])
        assert served.renew()
        assert not served.renew()
        wait_until(lambda: seen and seen[-1] == (200, new.written), "answers from the new lists")
        stop.set()
        for caller in callers:
            caller.join()
        assert "rlmrec_switches 1.0" in client.get("/metrics").text
    assert {status for status, _ in seen} == {200}
    assert {written for _, written in seen} <= {old.written, new.written}
    assert seen[-1][1] == new.written


def test_no_request_is_an_error_of_the_server(served):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(served))
    answered = set()
    for operation in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:
            # Some operations have nothing that could be wrong.
            with suppress(Unsatisfiable):

                @given(case=operation.ok().as_strategy(generation_mode=mode))
                @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
                def ask(case):
                    answered.add(case.call().status_code)

                ask()
    assert {200, 404, 422} <= answered
    assert max(answered) < 500


def test_it_looks_for_newer_results_by_itself_and_outlives_damage(runs, served, monkeypatch):
    artifacts, keys = runs
    served._every = 0.01

    async def watch():
        following = asyncio.create_task(served.follow())
        artifacts.write_json("datasets/shop/latest.json", {"recommend": "damaged"})
        await asyncio.sleep(0.1)
        assert not following.done()
        artifacts.write_json("datasets/shop/latest.json", keys[1])
        await asyncio.to_thread(wait_until, lambda: served.switches, "a switch")
        following.cancel()

    asyncio.run(watch())
    assert [served.results.lists.key] == keys[1]["recommend"]
