"""The sample world: the same everywhere, big enough, and its text tells of taste."""

import hashlib
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from sklearn.feature_extraction.text import TfidfVectorizer

from rlmrec_core.config import IngestConfig, load_config
from rlmrec_core.data import ingest, prepare
from tests.rlmrec_core.data.worlds import drain


@cache
def world(seed: int = 2023) -> dict[str, pa.Table]:
    return drain(ingest(IngestConfig(seed=seed)).tables)


@cache
def prepared() -> dict[str, pa.Table]:
    config = load_config(dataset="sample").prepare
    return drain(prepare(ds.dataset(world()["interactions"]), ds.dataset(world()["items"]), config))


def digest(table: pa.Table) -> str:
    return hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest()[:16]


def test_the_same_on_every_machine() -> None:
    # Known digests: a change of the generator must be meant, and raises the version of the ingest stage.
    assert [digest(world()[name]) for name in ("interactions", "items")] == ["9c2e09f4405f5754", "272ccf81f8e53466"]


def test_the_seed_decides() -> None:
    assert digest(world(1)["interactions"]) != digest(world()["interactions"])


def test_enough_is_left_after_filtering() -> None:
    counts = {row["name"]: row["value"] for row in prepared()["statistics"].to_pylist()}
    assert counts["users"] >= 800 and counts["items"] >= 700 and 9_000 <= counts["interactions"] <= 12_000
    steps = {row["step"]: row["removed"] for row in prepared()["filter_report"].to_pylist()}
    assert steps["min_rating"] > 0 and steps["k_core"] > 0


def test_histories_are_short_and_most_items_have_few_readers() -> None:
    users, items = (np.bincount(prepared()["split"][side].to_numpy()) for side in ("user", "item"))
    assert np.median(users) <= 10 and np.percentile(users, 99) >= 3 * np.median(users)
    assert np.median(items) <= 14 and np.percentile(items, 99) >= 3 * np.median(items)


def test_both_kinds_of_items_and_of_interactions_occur() -> None:
    described = world()["items"]["description"].is_valid().to_numpy().mean()
    reviewed = world()["interactions"]["review"].is_valid().to_numpy().mean()
    assert 0.7 < described < 0.95 and 0.6 < reviewed < 0.9
    assert world()["items"]["attributes"].null_count == 0
    titles = world()["items"]["title"].to_pylist()
    assert len(set(titles)) == len(titles)


def test_size_is_a_setting() -> None:
    tables = drain(ingest(IngestConfig(sample_users=300, sample_items=500)).tables)
    assert tables["items"].num_rows == 500
    assert len(set(tables["interactions"]["user_id"].to_pylist())) == 300


def test_text_tells_of_taste_better_than_popularity() -> None:
    n_users, n_items = prepared()["user_index"].num_rows, prepared()["item_index"].num_rows
    seen = {part: np.zeros((n_users, n_items)) for part in ("train", "validation", "test")}
    for row in prepared()["split"].to_pylist():
        seen[row["part"]][row["user"], row["item"]] = 1
    texts = {row["item_id"]: f"{row['description']} {row['attributes']}" for row in world()["items"].to_pylist()}
    corpus = [texts[item_id] for item_id in prepared()["item_index"]["item_id"].to_pylist()]
    vectors = TfidfVectorizer(stop_words="english").fit_transform(corpus).toarray()
    by_text = recall(seen["train"] @ vectors @ vectors.T, seen)
    by_popularity = recall(np.tile(seen["train"].sum(0), (n_users, 1)), seen)
    assert by_text > 1.5 * by_popularity
    shuffled = np.random.default_rng(1).permutation(vectors)
    assert recall(seen["train"] @ shuffled @ shuffled.T, seen) < by_popularity


def recall(scores: np.ndarray, seen: dict[str, np.ndarray], k: int = 20) -> float:
    ranked = np.argsort(-np.where(seen["train"] > 0, -np.inf, scores), axis=1)[:, :k]
    hits, wanted = np.take_along_axis(seen["test"], ranked, 1).sum(1), seen["test"].sum(1)
    return float((hits[wanted > 0] / wanted[wanted > 0]).mean())
