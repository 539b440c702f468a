"""A model that starts from another's embeddings, and models that learn from noise."""

import numpy as np
import pytest

from rlmrec_core.config import SettingsError
from rlmrec_core.profiling import SplitLeakage
from rlmrec_core.split import Split
from storage import StoreError
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.models import load_model, load_split, starting_table
from tasks.prepare import prepare
from tasks.stage import result_of
from tasks.train import Training, runs, train
from tests.tasks.by_hand import tiny


@pytest.fixture
def raw(store):
    return result_of(ingest.fn(tiny(ingest={"sample_users": 50, "sample_items": 60}).ingest, store)).ref


def prepared(store, raw, **settings):
    return result_of(prepare.fn(tiny(prepare=settings).prepare, store, raw)).ref


def trained(store, split, **settings):
    (run,) = runs(tiny(train={"variants": ["base"], **settings}).train)
    return result_of(train.fn(run, store, split)), run


def pairs_of(artifacts, split, part):
    users, items = (
        artifacts.table(split, f"{side}_index").sort_by(side)[f"{side}_id"].to_pylist() for side in ("user", "item")
    )
    rows = artifacts.table(split, "split").to_pylist()
    return {(users[row["user"]], items[row["item"]]) for row in rows if row["part"] == part}


def test_the_embeddings_of_common_users_and_items_are_where_training_starts(store, artifacts, raw):
    """From data with fewer items: numbers are others, and hardly a pair changes its part; both its ends start anew."""
    first, second = prepared(store, raw, k_core=2, item_k_core=6), prepared(store, raw)
    source = trained(store, first)[0].ref
    table = load_model(source).weights["backbone.table"].numpy()
    ids = [artifacts.table(of, "item_index")["item_id"].to_pylist() for of in (first, second)]
    assert ids[0] != ids[1] and set(ids[0]) < set(ids[1])
    users, items = starting_table(artifacts, source, second, blind=True)
    n_users = load_split(artifacts, first).n_users
    known = pairs_of(artifacts, first, "train")
    anew = {
        item for _, item in known & (pairs_of(artifacts, second, "validation") | pairs_of(artifacts, second, "test"))
    }
    assert anew, "else this test shows nothing of them"
    for number, name in enumerate(ids[1]):
        if name in ids[0] and name not in anew:
            np.testing.assert_array_equal(items[number], table[n_users + ids[0].index(name)])
        else:
            assert np.isnan(items[number]).all()
    assert users.shape == (load_split(artifacts, second).n_users, table.shape[1])
    started, run = trained(store, second, start_from=source.key[:12])
    plain, _ = trained(store, second)
    assert started.ref.key != plain.ref.key
    assert artifacts.manifest(started.ref).content.inputs["start_from"] == source.key
    learnt = [load_model(one.ref).vectors.users for one in (started, plain)]
    assert not np.array_equal(*learnt)
    assert result_of(train.fn(run, store, second)).status == "hit"


def test_what_cannot_be_started_from_is_told(store, artifacts, raw):
    split = prepared(store, raw)
    source = trained(store, split)[0].ref
    other = prepared(store, raw, seed=1)
    with pytest.raises(SplitLeakage, match=r"has learnt from .* interactions that are held out here"):
        trained(store, other, start_from=source.key)
    assert starting_table(artifacts, source, other, blind=False).users.any()
    with pytest.raises(StoreError, match=r"no models of .* have this key; rlmrec artifacts list train"):
        trained(store, split, start_from="0" * 12)
    with pytest.raises(SettingsError, match=r"start_from"):
        tiny(train={"start_from": "latest"})


def test_models_with_noise_stand_in_one_table_with_the_base_of_the_same_noise(store, artifacts, raw):
    split = prepared(store, raw)
    config = tiny(train={"variants": ["base"], "grid": {"noise": [0.0, 0.25]}})
    plain, noisy = runs(config.train)
    assert plain.model_id == runs(tiny(train={"variants": ["base"]}).train)[0].model_id
    inputs = Training(artifacts, noisy, split, None).inputs()
    clean: Split = load_split(artifacts, split)
    assert len(inputs.split.train.user) == len(clean.train.user) + round(0.25 * len(clean.train.user))
    assert inputs.split.test.item.tolist() == clean.test.item.tolist()
    models = [result_of(train.fn(run, store, split)).ref for run in (plain, noisy)]
    rows = artifacts.table(result_of(evaluate.fn(config.evaluate, store, split, models)).ref, "metrics").to_pylist()
    assert {"lightgcn base noise=0.0", "lightgcn base noise=0.25"} <= {row["label"] for row in rows}


def test_what_users_had_earlier_can_be_left_out_of_all_lists(store, artifacts, raw):
    first, second = (prepared(store, raw, half=half, k_core=1, ratios=[2, 0, 1]) for half in ("first", "second"))
    source = trained(store, first, fixed_epochs=2)[0].ref
    started, plain = (trained(store, second, fixed_epochs=2, start_from=key)[0].ref for key in (source.key, None))
    config = tiny(evaluate={"ks": [5], "baselines": ["ease"]}).evaluate
    recalls = {}
    for leave_out in (False, True):
        chosen = config.model_copy(update={"leave_out_earlier": leave_out})
        measured = result_of(evaluate.fn(chosen, store, second, [started, plain])).ref
        for row in artifacts.table(measured, "metrics").to_pylist():
            if (row["part"], row["metric"]) == ("test", "recall"):
                recalls[leave_out, row["label"]] = row["value"]
    split = load_split(artifacts, second)
    ids = [
        artifacts.table(second, f"{side}_index").sort_by(side)[f"{side}_id"].to_pylist() for side in ("user", "item")
    ]
    earlier = pairs_of(artifacts, first, "train") | pairs_of(artifacts, first, "test")
    held_out, had = pairs_of(artifacts, second, "test"), pairs_of(artifacts, second, "train")
    for label, ref in ((f"lightgcn base start_from={source.key}", started), ("lightgcn base start_from=None", plain)):
        scores = load_model(ref).vectors.users @ load_model(ref).vectors.items.T
        for leave_out, masked in ((False, had), (True, had | earlier)):
            found = []
            for user in sorted({user for user, _ in held_out}, key=ids[0].index):
                can = [item for item in range(split.n_items) if (user, ids[1][item]) not in masked]
                best = sorted(can, key=lambda item: (-scores[ids[0].index(user), item], item))[:5]
                own = {item for other, item in held_out if other == user}
                found.append(len({ids[1][item] for item in best} & own) / len(own))
            assert recalls[leave_out, label] == pytest.approx(np.mean(found))
    assert any(recalls[True, label] != recalls[False, label] for label in ("ease", "popularity"))
