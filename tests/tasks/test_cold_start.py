"""What is new goes through the pipeline: it is embedded, measured and listed, and what was held out stays unseen."""

import numpy as np
import pytest

from rlmrec_core.profiling import TrainCorpus
from storage import ArtifactStore, StoreConfig
from tasks.cold_start import new_item_profiles, new_items_corpus
from tasks.evaluate import evaluate
from tasks.models import load_model
from tasks.results import Results, UnknownId
from tasks.stage import result_of
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    store = StoreConfig(url=str(tmp_path_factory.mktemp("cold") / "artifacts"))
    config = tiny(
        ingest={"sample_users": 60, "sample_items": 60},
        prepare={"cold_items": 0.2, "cold_users": 0.2},
        embed={"new_items": True},
        train={"variants": ["base", "con"], "backbones": ["lightgcn", "weft"]},
    )
    return ArtifactStore.open(store), {stage: made[0].ref for stage, made in run_by_hand(config, store).items()}


def test_models_are_told_apart_and_their_seeds_averaged(run):
    artifacts, done = run
    config = tiny(
        ingest={"sample_users": 60, "sample_items": 60},
        prepare={"cold_items": 0.2, "cold_users": 0.2},
        embed={"new_items": True},
        train={"variants": ["con"], "seeds": [1, 2], "grid": {"alignment_settings.con.shuffle": [False, True]}},
    )
    store = StoreConfig(url=artifacts.url)
    made = {stage: [one.ref for one in found] for stage, found in run_by_hand(config, store).items()}
    assert made["prepare"] == [done["prepare"]]

    def recalls(found):
        rows = artifacts.table(found, "cold_start").to_pylist()
        return {(row["cold"], row["label"], row["k"]): row["recall"] for row in rows}

    alone = [
        recalls(result_of(evaluate.fn(config.evaluate, store, made["prepare"][0], [one])).ref) for one in made["train"]
    ]
    told, k = recalls(made["evaluate"][0]), min(config.evaluate.ks)
    of_model = {name: [] for name in ("lightgcn con shuffle=False", "lightgcn con shuffle=True")}
    for one, ref in zip(alone, made["train"], strict=True):
        of_model[f"lightgcn con shuffle={load_model(ref).settings.alignment.shuffle}"].append(one)
    for label, seeds in of_model.items():
        assert len(seeds) == 2
        for cold in ("items", "users"):
            values = [one[cold, "lightgcn con", k] for one in seeds]
            assert told[cold, label, k] == pytest.approx(np.mean(values)) and values[0] != values[1]


def test_new_items_are_those_without_a_number(run):
    artifacts, done = run
    new = artifacts.table(done["embed"], "new_items").to_pandas()
    known = set(artifacts.table(done["prepare"], "item_index")["item_id"].to_pylist())
    every = set(artifacts.table(done["ingest"], "items")["item_id"].to_pylist())
    assert set(new["item_id"]) == every - known
    assert np.allclose(np.linalg.norm(np.stack(new["vector"]), axis=1), 1, atol=1e-5)


def test_nothing_of_what_was_held_out_is_read(run):
    artifacts, done = run
    corpus = new_items_corpus(artifacts, done["ingest"], done["prepare"])
    assert isinstance(corpus, TrainCorpus)
    assert not len(corpus.users)
    said = " ".join(text for text in new_item_profiles(artifacts, done["ingest"], corpus) if text)
    held_out = artifacts.table(done["prepare"], "cold_start")["review"].to_pylist()
    sentences = [review for review in held_out if review]
    assert sentences
    assert not any(review in said for review in sentences)


def test_what_was_held_out_is_measured(run):
    artifacts, done = run
    rows = artifacts.table(done["evaluate"], "cold_start").to_pylist()
    labels = {cold: {row["label"] for row in rows if row["cold"] == cold} for cold in ("items", "users")}
    models = {"lightgcn base", "lightgcn con", "weft base", "weft con", "popularity"}
    assert labels == {"items": models | {"semantic", "random"}, "users": models}
    assert all(0 <= row["recall"] <= 1 and row["users"] > 0 for row in rows)


def test_everybody_gets_a_list_of_new_items(run):
    artifacts, done = run
    lists = artifacts.table(done["recommend"], "new_items").to_pandas()
    users = artifacts.table(done["prepare"], "user_index")["user_id"].to_pylist()
    new = set(artifacts.table(done["embed"], "new_items")["item_id"].to_pylist())
    assert lists["user_id"].drop_duplicates().tolist() == users
    assert set(lists["item_id"]) <= new
    assert lists["title"].notna().all()
    assert (lists.groupby("user_id")["score"].diff().dropna() <= 0).all()


def test_one_users_new_items_are_their_list(run):
    artifacts, done = run
    results = Results.of(artifacts, "sample", {"recommend": [done["recommend"].key]})
    lists = artifacts.table(done["recommend"], "new_items").to_pandas()
    user = results.user_ids[4]
    expected = lists[lists["user_id"] == user]["item_id"].tolist()[:2]
    assert [row.item_id for row in results.new_for(artifacts, user, 2)] == expected
    with pytest.raises(UnknownId):
        results.new_for(artifacts, "nobody", 2)
