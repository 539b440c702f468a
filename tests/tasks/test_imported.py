"""Data that come with semantic vectors: the authors' release, and vectors of one's own."""

import json

import numpy as np
import pyarrow as pa
import pytest

from rlmrec_core.config import IngestConfig, PrepareConfig, load_config
from rlmrec_core.config.text import MissingSetting
from rlmrec_core.data import DataError
from rlmrec_core.tables import vectors_of
from rlmrec_core.vectors import unit_rows
from tasks.ingest import ingest
from tasks.models import load_semantic
from tasks.prepare import has_text, prepare
from tasks.stage import result_of
from tasks.stages import run_by_hand
from tests.rlmrec_core.data.published import WIDTH, write_release
from tests.tasks.by_hand import TINY

QUICK = {
    "train": TINY["train"] | {"variants": ["base", "con", "kar"]},
    "evaluate": {"ks": [3], "metrics": ["recall", "diversity"]},
}
QUICK |= {"recommend": {"k": 3}}


def release(folder, **sections):
    return load_config(dataset="rlmrec-release", overrides={**QUICK, "ingest": {"path": str(folder)}, **sections})


@pytest.fixture
def folder(tmp_path):
    return write_release(tmp_path / "yelp")


def test_the_authors_release_goes_through_every_stage(folder, store, artifacts):
    done = run_by_hand(release(folder), store)
    refs = {stage: [one.ref for one in made] for stage, made in done.items()}
    semantic = load_semantic(artifacts, refs["embed"][0])
    ids = artifacts.table(refs["prepare"][0], "item_index")["item_id"].to_pylist()
    imported = artifacts.table(refs["ingest"][0], "imported_item_vectors").to_pylist()
    expected = unit_rows(np.array([imported[int(id_)]["vector"] for id_ in ids], np.float32))
    np.testing.assert_allclose(semantic.items, expected, rtol=1e-5)
    profiles = artifacts.table(refs["user_profiles"][0], "profiles").to_pylist()
    assert {(row["status"], row["generator"]) for row in profiles} == {("ok", "imported")}
    metrics = artifacts.table(refs["evaluate"][0], "metrics").to_pylist()
    assert {"base", "con", "kar", "semantic"} <= {row["variant"] for row in metrics}
    assert {"recall", "diversity"} == {row["metric"] for row in metrics}
    assert len(artifacts.table(refs["recommend"][0], "recommendations")) == 3 * 30
    inputs = artifacts.manifest(refs["ingest"][0]).content.inputs
    assert {"trn_mat.pkl", "itm_prf.pkl", "usr_emb_np.pkl"} <= inputs.keys()
    again = run_by_hand(release(folder), store)
    assert {one.status for made in again.values() for one in made} == {"hit"}


def test_users_without_vectors_take_the_mean_of_their_items(folder, store, artifacts):
    (folder / "usr_emb_np.pkl").unlink()
    done = run_by_hand(release(folder), store, last="embed")
    semantic = load_semantic(artifacts, done["embed"][0].ref)
    split = artifacts.table(done["prepare"][0].ref, "split").to_pylist()
    items = [row["item"] for row in split if row["user"] == 7 and row["part"] == "train"]
    np.testing.assert_allclose(semantic.users[7], unit_rows(semantic.items[items].mean(0)[None])[0], rtol=1e-5)


def test_vectors_that_are_missing_are_told(folder, store):
    for short in ("usr", "itm"):
        (folder / f"{short}_emb_np.pkl").unlink()
    with pytest.raises(MissingSetting, match=r"name their file \(ingest.item_vectors_file\)"):
        run_by_hand(release(folder), store, last="embed")


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        (np.ones((2, 5), np.float32), ["0", "1"], f"of users have {WIDTH} components, those of items 5"),
        (np.ones((2, WIDTH), np.float32), ["1", "1"], "some ids occur twice .*, such as '1'"),
        (np.ones((2, WIDTH), np.float32), ["x1", "x2"], "theirs are such as 'x1', those of the data such as '0'"),
        (np.ones((0, WIDTH), np.float32), [], "the imported vectors of items are none"),
    ],
)
def test_vectors_that_do_not_fit_are_told(folder, store, vectors, ids, message):
    np.save(folder / "mine.npy", vectors)
    (folder / "item_ids.json").write_text(json.dumps(ids))
    own = release(folder, ingest={"path": str(folder), "item_vectors_file": "mine.npy"})
    with pytest.raises(DataError, match=message):
        run_by_hand(own, store, last="embed")


def test_vectors_of_ones_own_take_the_place_of_an_encoder(folder, store, artifacts):
    """Of items by their ids, those of unknown ones left aside; data without any text are no data for Base alone."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 4)).astype(np.float32)
    np.save(folder / "mine.npy", vectors)
    (folder / "item_ids.json").write_text(json.dumps(["unknown", "5", "2"]))
    for name in ("usr_emb_np", "itm_emb_np", "usr_prf", "itm_prf"):
        (folder / f"{name}.pkl").unlink()
    done = run_by_hand(
        release(folder, ingest={"path": str(folder), "item_vectors_file": "mine.npy"}), store, last="embed"
    )
    ids = artifacts.table(done["prepare"][0].ref, "item_index")["item_id"].to_pylist()
    found = vectors_of(artifacts.table(done["embed"][0].ref, "items"))
    np.testing.assert_allclose(found[[ids.index("5"), ids.index("2")]], unit_rows(vectors[1:]), rtol=1e-5)
    assert np.count_nonzero(found.any(axis=1)) == 2
    assert has_text(store, done["prepare"][0].ref)


def test_new_items_have_imported_vectors_too(tmp_path, store, artifacts):
    write_new(tmp_path)
    config = load_config(
        dataset="tabular",
        overrides={
            "ingest": {"path": str(tmp_path), "item_vectors_file": "vectors.parquet"},
            "prepare": {"k_core": 1, "min_rating": None},
            "embed": {"encoder": "imported", "new_items": True},
            "train": TINY["train"] | {"variants": ["con"]},
        },
    )
    done = run_by_hand(config, store, last="embed")
    new = artifacts.table(done["embed"][0].ref, "new_items")
    assert new["item_id"].to_pylist() == ["new"]
    np.testing.assert_allclose(vectors_of(new), [[0.6, 0.8]], rtol=1e-6)


def write_new(folder):
    import pyarrow.csv
    import pyarrow.parquet as pq

    items = [f"i{item}" for item in range(6)]
    users = [f"u{user}" for user in range(6) for _ in range(5)]
    taken = [items[(user + step) % 6] for user in range(6) for step in range(5)]
    pyarrow.csv.write_csv(pa.table({"user_id": users, "item_id": taken}), folder / "interactions.csv")
    pyarrow.csv.write_csv(pa.table({"item_id": [*items, "new", "bare"]}), folder / "items.csv")
    vectors = [[1.0, float(item)] for item in range(6)]
    pq.write_table(pa.table({"item_id": [*items, "new"], "vector": [*vectors, [3.0, 4.0]]}), folder / "vectors.parquet")


def test_a_changed_file_of_vectors_is_another_artifact(folder, store):
    def key():
        read = IngestConfig(reader="rlmrec-release", path=str(folder), item_vectors_file="mine.npy")
        made = result_of(ingest.fn(read, store)).ref
        result_of(prepare.fn(PrepareConfig(min_rating=None, k_core=1), store, made))
        return made.key

    np.save(folder / "mine.npy", np.ones((24, 3), np.float32))
    first = key()
    np.save(folder / "mine.npy", np.full((24, 3), 2, np.float32))
    second = key()
    (folder / "item_ids.json").write_text(json.dumps([str(item) for item in range(24)]))
    assert len({first, second, key()}) == 3
