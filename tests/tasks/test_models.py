"""Models told apart by their settings, and loaded again."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from rlmrec_core.model_id import ModelId, base_of, labels
from rlmrec_core.ranking.top_k import top_k
from storage import StoreConfig
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.metrics import by_group
from tasks.models import load_model, load_split, load_vectors
from tasks.prepare import prepare
from tasks.stages import result_of
from tasks.train import runs, train
from tests.tasks.by_hand import tiny


@pytest.fixture
def trained(artifacts):
    """The split and two models of LightGCN that differ in their layers alone."""
    grid = {"backbone_settings": {"lightgcn": {"n_layers": [2, 3]}}}
    config = tiny(train={"variants": ["base"], "grid": grid})
    store = StoreConfig(url=artifacts.url)
    split = result_of(prepare.fn(config.prepare, store, result_of(ingest.fn(config.ingest, store)).ref)).ref
    models = [result_of(train.fn(run, store, split)) for run in runs(config.train)]
    return config, store, split, models


def test_models_that_differ_in_a_hyper_parameter_stand_side_by_side(artifacts, trained):
    config, store, split, models = trained
    refs = [model.ref for model in models]
    measured = result_of(evaluate.fn(config.evaluate, store, split, refs))
    rows = artifacts.table(measured.ref, "metrics").to_pylist()
    found = {(row["label"], row["settings"]) for row in rows if row["backbone"] == "lightgcn"}
    assert {label for label, _ in found} == {"lightgcn base n_layers=2", "lightgcn base n_layers=3"}
    assert {digest for _, digest in found} == {model.labels["settings"] for model in models}
    assert {row["prepare"] for row in rows} == {split.key}
    assert set(artifacts.manifest(measured.ref).content.inputs.values()) == {split.key, *(ref.key for ref in refs)}
    of_users = artifacts.table(measured.ref, "user_metrics")
    own = of_users.filter((pc.field("settings") == rows[0]["settings"]) & (pc.field("part") == rows[0]["part"]))
    assert pc.mean(own[f"{rows[0]['metric']}@{rows[0]['k']}"]).as_py() == pytest.approx(rows[0]["value"])
    assert set(own["user_id"].to_pylist()) <= set(artifacts.table(split, "user_index")["user_id"].to_pylist())
    shown = by_group(artifacts.table(measured.ref, "group_metrics"), "test")
    assert {row["group"] for row in shown} == {"low", "middle", "high", "tail", "head"}
    assert {"by", "group", "train interactions", "model", "recall@5", "ndcg@20"} <= shown[0].keys()
    tested = artifacts.table(measured.ref, "significance").to_pylist()
    assert all(row["base"] == row["settings"] for row in tested if row["variant"] == "base")
    # The whole training is in the table alone as well: one model, nothing to tell apart.
    alone = result_of(evaluate.fn(config.evaluate, store, split, refs[:1]))
    assert "lightgcn base" in artifacts.table(alone.ref, "metrics")["label"].to_pylist()


def test_a_model_is_loaded_as_it_was_saved_and_ranks_the_same(artifacts, trained):
    config, _, split, models = trained
    for result, run in zip(models, runs(config.train), strict=True):
        folder = Path(artifacts.address(result.ref))
        by_ref, by_folder = load_model(result.ref), load_model(folder)
        assert by_ref.settings == by_folder.settings == run
        assert by_ref.id == run.model_id
        assert by_ref.weights.keys() == by_folder.weights.keys()
        assert all(torch.equal(by_ref.weights[name], by_folder.weights[name]) for name in by_ref.weights)
        data = load_split(artifacts, split)
        saved = top_k(data, *load_vectors(artifacts, result.ref), 5)
        assert np.array_equal(top_k(data, *by_folder.vectors, 5).items, saved.items)


def test_labels_name_what_differs_and_only_that():
    one, two = (ModelId("sgl", "con", 1, digest) for digest in "ab")
    other = ModelId("sgl", "base", 1, "c")
    settings = {one: {"x.n": 2, "tau": 1}, two: {"x.n": 3, "tau": 1}, other: {"x.n": 3}}
    assert labels(settings) == {one: "sgl con n=2", two: "sgl con n=3", other: "sgl base"}


def test_a_variant_is_compared_with_the_base_most_like_it():
    near, far = ModelId("sgl", "base", 1, "near"), ModelId("sgl", "base", 1, "far")
    con, alone = ModelId("sgl", "con", 1, "c"), ModelId("gccf", "con", 1, "d")
    settings = {far: {"n": 2, "lr": 1}, near: {"n": 3, "lr": 1}, con: {"n": 3, "lr": 1, "tau": 1}, alone: {"n": 3}}
    assert base_of(con, settings).settings == "near"
    assert base_of(far, settings).settings == "far"
    assert base_of(alone, settings) is None
    weft, light = (ModelId(name, "base", 1, name) for name in ("weft", "lightgcn"))
    every = settings | {weft: {"n": 2, "lr": 1}, light: {"n": 3}}
    assert (base_of(weft, every, {weft}), base_of(weft, every)) == (light, weft)
    assert base_of(weft, {weft: {}}, {weft}) == weft
