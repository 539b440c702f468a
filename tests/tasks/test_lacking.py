"""Data that lack something: every stage works and says what is missing, or nothing is computed at all."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from rlmrec_core.config import PipelineConfig
from rlmrec_core.data import DataError
from rlmrec_core.device import DeviceMissing
from storage import ArtifactStore, StoreConfig
from tasks.ingest import ingest
from tasks.prepare import has_text, prepare
from tasks.stages import check_devices, result_of, train_for_this_data
from tasks.train import base_alone
from tests.tasks.by_hand import run_by_hand, tiny

ORDERS = [(f"anna{user}", f"sku-{item}") for user in range(8) for item in range(9) if (user + item) % 3]


BASE = {"train": {"variants": ["base"]}}
"""Where text does not matter: no encoder is loaded."""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path


def settings(
    folder: Path, orders: list[tuple[str, str]], *, named: bool = True, reviews: bool = False, **sections: Any
):
    """The tiny pipeline over a shop of one's own; named: with a table of articles."""
    written = [(*order, f"The {order[1]} pleased me, says {order[0]}." if reviews else "") for order in orders]
    write(folder / "interactions.csv", ["user_id", "item_id", "comment"], written)
    if named:
        articles = sorted({item for _, item in orders})
        write(folder / "items.csv", ["item_id", "name"], [(item, f"Article {item}") for item in articles])
    columns = {"title": "name" if named else None, "review": "comment" if reviews else None}
    common = {
        "ingest": {"reader": "tabular", "path": str(folder), "columns": columns},
        "prepare": {"k_core": 1},
        "train": {"variants": ["base", "con"]},
    }
    return tiny(
        **{name: {**common.get(name, {}), **sections.get(name, {})} for name in common.keys() | sections.keys()}
    )


def write(path: Path, header: list[str], rows: list[Any]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def stages_of(config, store: StoreConfig) -> dict[str, Any]:
    """Each result under its title, without the digest of a model's settings."""
    return {" ".join(result.title.split()[:4]): result for result in run_by_hand(config, store)}


def lists_of(store: StoreConfig, results: dict[str, Any]) -> dict[str, list[str]]:
    rows = ArtifactStore.open(store).table(results["recommend"].ref, "recommendations").to_pylist()
    return {
        user: [row["item_id"] for row in rows if row["user_id"] == user] for user in {row["user_id"] for row in rows}
    }


@pytest.mark.parametrize(
    ("ratios", "parts"), [([1, 0, 0], set()), ([4, 0, 1], {"test"}), ([4, 1, 0], {"validation"})], ids=str
)
def test_without_validation_or_test(shop, store, ratios, parts):
    config = settings(shop, ORDERS, prepare={"ratios": ratios}, train={"fixed_epochs": 3})
    results = stages_of(config, store)
    artifacts = ArtifactStore.open(store)
    metrics = artifacts.table(results["evaluate"].ref, "metrics")
    assert set(metrics["part"].to_pylist()) == parts
    model = results["train lightgcn con 2023"].ref
    history = artifacts.table(model, "history")
    assert history.num_rows == (4 if "validation" in parts else 3)
    lists = lists_of(store, results)
    assert set(lists) == {user for user, _ in ORDERS}
    # The vectors that are served are those of the last epoch, not the ones that training began with.
    if parts == {"test"}:
        shorter = settings(shop, ORDERS, prepare={"ratios": ratios}, train={"fixed_epochs": 1})
        other = stages_of(shorter, store)["train lightgcn con 2023"].ref
        assert not artifacts.table(model, "item_vectors").equals(artifacts.table(other, "item_vectors"))


def test_without_items_the_reviews_are_what_there_is(shop, store):
    config = settings(shop, ORDERS, named=False, reviews=True, embed={"embed_source": "profile"})
    results = stages_of(config, store)
    profiles = ArtifactStore.open(store).table(results["item_profiles"].ref, "profiles").to_pylist()
    assert {row["status"] for row in profiles} == {"ok"} and len(lists_of(store, results)) == 8


def test_without_any_text_base_is_trained_alone(shop, store):
    config = settings(shop, ORDERS, named=False)
    raw = result_of(ingest.fn(config.ingest, store))
    split = result_of(prepare.fn(config.prepare, store, raw.ref))
    assert not has_text(store, split.ref) and not has_text(store, split.ref, "title")
    alone = train_for_this_data(config.train, store, split.ref)
    assert alone.variants == ("base",)
    both = config.train.model_copy(update={"backbones": ("weft", "lightgcn", "cllm4rec")})
    assert train_for_this_data(both, store, split.ref).backbones == ("lightgcn",)
    of_text = config.train.model_copy(update={"backbones": ("weft", "alpharec")})
    con = config.train.model_copy(update={"variants": ("con",)})
    for train, wanted in ((config.train, "con"), (con, "best"), (of_text, "best")):
        with pytest.raises(DataError, match=r"no text.*train\.variants.*ingest\.columns"):
            base_alone(train, wanted)
    results = stages_of(config.model_copy(update={"train": alone}), store)
    assert len(lists_of(store, results)) == 8


def test_a_user_who_has_everything_gets_an_empty_list(shop, store, caplog):
    everything = [("collector", f"sku-{item}") for item in range(9)]
    results = stages_of(settings(shop, ORDERS + everything, prepare={"ratios": [1, 0, 0]}, **BASE), store)
    assert "'collector', have all 9 items" in caplog.text
    lists = lists_of(store, results)
    assert set(lists) == {user for user, _ in ORDERS}
    bought = set(ORDERS)
    assert all((user, item) not in bought for user, items in lists.items() for item in items)


@pytest.mark.parametrize("ratios", [[3, 1, 1], [1, 0, 0]])
def test_one_user_is_refused_by_name_before_anything_is_written(shop, store, ratios):
    config = settings(shop, [("only-me", f"sku-{item}") for item in range(9)], prepare={"ratios": ratios})
    raw = result_of(ingest.fn(config.ingest, store))
    with pytest.raises(DataError, match=r"the only user, 'only-me', has all 9 items.*prepare\.k_core"):
        prepare.fn(config.prepare, store, raw.ref)


def test_an_empty_part_by_chance(shop, store, caplog):
    # Too few interactions for a share of one in twenty.
    chosen = settings(shop, ORDERS, prepare={"ratios": [98, 1, 1]}, train={"fixed_epochs": 2, "variants": ["base"]})
    results = stages_of(chosen, store)
    assert "no interaction is in validation" in caplog.text and "no interaction is in test" in caplog.text
    assert len(lists_of(store, results)) == 8


def test_every_artifact_opens_in_pandas(shop, store, tmp_path):
    stages_of(settings(shop, ORDERS, reviews=True), store)
    files = list(Path(store.url).rglob("*.parquet"))
    assert {file.parent.parent.name for file in files} >= {"prepare", "user_profiles", "embed", "train", "recommend"}
    for file in files:
        assert len(pd.read_parquet(file).columns)


def test_a_gpu_that_is_not_here_is_told_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_devices(PipelineConfig())
    check_devices(PipelineConfig(train={"device": "cuda"}, engine={"kind": "dask"}))  # a worker may have one
    for section in ("train", "embed", "evaluate", "recommend"):
        with pytest.raises(DeviceMissing, match="finds no GPU here"):
            check_devices(PipelineConfig(**{section: {"device": "cuda:1"}}))
