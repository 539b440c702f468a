"""What a run gives to people: lists with titles, one user's and one item's answer, a model that learnt from all."""

import numpy as np
import pandas as pd
import pytest

from rlmrec_core.ranking.top_k import top_k
from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError
from tasks.datasets import UnknownDataSet, remember
from tasks.models import load_model, load_split, model_settings
from tasks.recommend import recommend
from tasks.results import Results, UnknownId
from tasks.stage import result_of
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):

    store = StoreConfig(url=str(tmp_path_factory.mktemp("results") / "artifacts"))
    config = tiny(train={"variants": ["base"]}, recommend={"k": 5})
    done = run_by_hand(config, store)
    artifacts = ArtifactStore.open(store)
    remember(artifacts, "sample", {stage: [one.ref.key for one in made] for stage, made in done.items()})
    return store, artifacts, done


def input_of(artifacts, ref, role):
    return ArtifactRef(role.partition("/")[0], artifacts.manifest(ref).content.inputs[role], artifacts.url)


def test_lists_open_in_pandas_and_in_a_spreadsheet_with_titles(run):
    _, artifacts, done = run
    folder = artifacts.address(done["recommend"][0].ref, "recommendations.parquet")
    lists, sheet = pd.read_parquet(folder), pd.read_csv(folder.replace(".parquet", ".csv"), dtype={"user_id": str})
    assert list(lists.columns) == list(sheet.columns) == ["user_id", "rank", "item_id", "title", "score"]
    items = artifacts.table(done["ingest"][0].ref, "items").to_pandas().set_index("item_id")["title"]
    assert (lists["title"] == lists["item_id"].map(items)).all()
    assert (sheet["title"] == lists["title"]).all()
    assert np.allclose(sheet["score"], lists["score"])


def test_one_users_answer_is_their_list(run):
    _, artifacts, done = run
    results = Results.open(artifacts)
    lists = artifacts.table(done["recommend"][0].ref, "recommendations").to_pandas()
    for user, rows in lists.groupby("user_id"):
        answer = results.recommend(user, 5)
        assert [row.item_id for row in answer] == rows["item_id"].tolist()
        assert [row.title for row in answer] == rows["title"].tolist()
        assert np.allclose([row.score for row in answer], rows["score"], atol=1e-6)


def test_unknown_ids_are_told_with_near_ones(run):
    results = Results.open(run[1])
    known = results.user_ids[0]
    with pytest.raises(UnknownId, match=f"no user '{known}x' is among the .*near are '{known}'"):
        results.recommend(f"{known}x", 3)
    with pytest.raises(UnknownId, match="no item 'nowhere'"):
        results.similar("nowhere", 3)


def test_a_store_without_lists_says_so(artifacts):
    with pytest.raises(StoreError, match="no recommendations for the data set 'sample'"):
        Results.open(artifacts)
    for name in ("shop", "library"):
        remember(artifacts, name, {"ingest": ["0" * 64]})
        artifacts.write_json(f"datasets/{name}/latest.json", {"ingest": ["0" * 64]})
    with pytest.raises(UnknownDataSet, match="library, shop"):
        Results.open(artifacts)


def test_a_refitted_model_differs_in_its_data_alone(run):
    store, artifacts, done = run
    config = tiny(recommend={"k": 5, "fit_on": "all"}).recommend
    prepare, evaluate = done["prepare"][0].ref, done["evaluate"][0].ref
    made = result_of(recommend.fn(config, store, prepare, evaluate)).ref
    measured, refitted = done["train"][0].ref, input_of(artifacts, made, "train")
    assert refitted != measured
    assert artifacts.manifest(refitted).content.inputs == artifacts.manifest(measured).content.inputs
    before, after = (model_settings(artifacts, ref).flat() for ref in (measured, refitted))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"fit_on", "fixed_epochs"}
    history = artifacts.table(measured, "history").to_pandas()
    assert after["fixed_epochs"] == history["recall@20"].idxmax() + 1 == len(artifacts.table(refitted, "history"))

    split = load_split(artifacts, prepare)
    assert len(split.all_in_train().train.user) == sum(
        len(part.user) for part in (split.train, split.validation, split.test)
    )
    lists = artifacts.table(made, "recommendations").to_pandas()
    pairs = artifacts.table(prepare, "split").to_pandas().merge(artifacts.table(prepare, "user_index").to_pandas())
    pairs = pairs.merge(artifacts.table(prepare, "item_index").to_pandas())
    assert len(lists)
    assert not set(zip(lists["user_id"], lists["item_id"], strict=True)) & set(
        zip(pairs["user_id"], pairs["item_id"], strict=True)
    )
    model = load_model(refitted)
    ranking = top_k(split, *model.vectors, 5, "all")
    assert (ranking.items >= 0).sum() == len(lists)
    assert result_of(recommend.fn(config, store, prepare, evaluate)).status == "hit"


def test_every_place_of_every_list_has_a_reason_from_what_the_user_has(tmp_path):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    done = run_by_hand(tiny(train={"variants": ["con"]}), store)
    artifacts = ArtifactStore.open(store)
    made = done["recommend"][0].ref
    lists, reasons = (artifacts.table(made, name).to_pandas() for name in ("recommendations", "reasons"))
    place = ["user_id", "rank", "item_id"]
    assert reasons[place].equals(lists[place])
    split = artifacts.table(done["prepare"][0].ref, "split").to_pandas()
    for side in ("user", "item"):
        split = split.merge(artifacts.table(done["prepare"][0].ref, f"{side}_index").to_pandas())
    train = split[split["part"] == "train"]
    own = set(zip(train["user_id"], train["item_id"], strict=True))
    for column in ("behaviour_item_id", "text_item_id"):
        named = reasons[reasons[column].notna()]
        assert len(named) > len(reasons) / 2
        assert set(zip(named["user_id"], named[column], strict=True)) <= own
    titles = artifacts.table(done["ingest"][0].ref, "items").to_pandas().set_index("item_id")["title"]
    row = reasons[reasons["behaviour_item_id"].notna()].iloc[0]
    assert titles[row["behaviour_item_id"]] in row["sentence"]
