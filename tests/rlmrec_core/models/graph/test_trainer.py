from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from rlmrec_core.config import EvaluateConfig, TrainConfig
from rlmrec_core.config.registry import GraphBackbone, family_of
from rlmrec_core.model_id import ModelId
from rlmrec_core.models import TrainingDiverged
from rlmrec_core.models.graph import fit
from rlmrec_core.ranking import evaluate
from rlmrec_core.vectors import Vectors

VARIANTS = ("base", "con", "gen", "kar")
BACKBONES = get_args(GraphBackbone)


def settings(variant="base", seed=7, backbone="lightgcn", **changes):
    quick = {"max_epochs": 12, "batch_size": 64, "learning_rate": 0.01, "embedding_size": 8}
    return TrainConfig(**(quick | changes)).run(backbone, variant, seed)


def same_bytes(one, other):
    assert one.user_vectors.tobytes() == other.user_vectors.tobytes()
    assert one.item_vectors.tobytes() == other.item_vectors.tobytes()
    assert one.history.equals(other.history)
    assert one.best_epoch == other.best_epoch
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    return True


@pytest.mark.parametrize(
    ("backbone", "variant"), [(name, variant) for name in BACKBONES for variant in family_of(name).variants]
)
def test_learns_the_checkerboard(checkerboard, colours, backbone, variant):
    small = {"autocf": {"n_seeds": 1, "ssl_weight": 1}}  # a hundred seeds would mask the whole board
    run = settings(variant, backbone=backbone, learning_rate=0.05, batch_size=240, backbone_settings=small)
    result = fit(checkerboard, run, colours)
    name = ModelId(backbone, variant, 7)
    table = evaluate(checkerboard, {name: Vectors(result.user_vectors, result.item_vectors)}, EvaluateConfig(ks=(12,)))
    found = {
        row["backbone"]: row["value"]
        for row in table.to_pylist()
        if row["metric"] == "recall" and row["part"] == "test"
    }
    assert found[backbone] > 0.9
    assert found["popularity"] < 0.7


@pytest.mark.parametrize(
    ("backbone", "variant"), [*product(["lightgcn"], VARIANTS), *product(BACKBONES[1:], ["base"]), ("autocf", "gen")]
)
def test_a_resumed_run_equals_an_uninterrupted_one(checkerboard, colours, backbone, variant, tmp_path):
    # AutoCF masks anew within an epoch, every ten steps; the others need no long ones.
    run = settings(variant, backbone=backbone, batch_size=64 if backbone == "autocf" else 240)
    whole = fit(checkerboard, run, colours)

    def kill_at_epoch_eight(record):
        if record.epoch == 8:
            raise KeyboardInterrupt

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(checkerboard, run, colours, checkpoint=path, on_epoch=kill_at_epoch_eight)
    records = []
    resumed = fit(checkerboard, run, colours, checkpoint=path, on_epoch=records.append)
    assert [record.epoch for record in records] == [7, 8, 9, 10, 11]
    assert records[0].validation is None
    assert records[0].best_value > 0, "the best of the epochs before the kill is known"
    assert whole.earlier_seconds == 0 < resumed.earlier_seconds
    assert same_bytes(whole, resumed)


def test_a_seed_decides_the_result(checkerboard):
    assert same_bytes(fit(checkerboard, settings()), fit(checkerboard, settings()))
    assert not np.array_equal(
        fit(checkerboard, settings()).user_vectors, fit(checkerboard, settings(seed=8)).user_vectors
    )


def test_base_does_not_read_semantic_vectors(checkerboard, colours):
    assert same_bytes(fit(checkerboard, settings()), fit(checkerboard, settings(), colours))


def test_the_shuffled_control_differs_from_con(checkerboard, colours):
    control = fit(checkerboard, settings("con", alignment_settings={"con": {"shuffle": True}}), colours)
    assert not np.array_equal(control.user_vectors, fit(checkerboard, settings("con"), colours).user_vectors)


def test_stops_after_patience_and_keeps_the_best_epoch(checkerboard):
    records = []
    result = fit(checkerboard, settings(max_epochs=400, patience=2), on_epoch=records.append)
    history = result.history.to_pydict()
    validated = {epoch: value for epoch, value in enumerate(history["recall@20"]) if value is not None}
    assert all(epoch % 3 == 0 for epoch in validated)
    assert result.best_epoch == max(validated, key=lambda epoch: (validated[epoch], -epoch))
    assert len(records) == len(result.history) == result.best_epoch + 2 * 3 + 1
    assert records[-1].best_epoch == result.best_epoch
    assert records[-1].best_value == validated[result.best_epoch]
    assert history["loss"] == history["loss_bpr"]


def test_the_last_epoch_is_validated(checkerboard):
    assert fit(checkerboard, settings(max_epochs=2)).history["recall@20"].null_count == 0


def test_weights_give_the_vectors(checkerboard):
    result = fit(checkerboard, settings())
    assert set(result.weights) == {"backbone.table"}
    assert result.weights["backbone.table"].shape == (100, 8)
    assert result.user_vectors.shape == (40, 8)
    assert result.user_vectors.dtype == np.float32


def test_kar_stands_beside_the_table(checkerboard, colours):
    run = settings("kar", backbone="gccf", max_epochs=1, alignment_settings={"kar": {"size": 4, "n_own": 2}})
    result = fit(checkerboard, run, colours)
    assert result.weights["backbone.table"].shape == (100, 8)
    assert result.weights["alignment.users.experts.second"].shape == (2, 128, 4)
    assert result.user_vectors.shape == (40, 3 * (8 + 4))
    assert run.backbone_settings == settings("base", backbone="gccf").backbone_settings


def test_training_starts_from_the_rows_that_are_given(checkerboard, colours):
    still = settings(max_epochs=1, learning_rate=1e-12)
    fresh = fit(checkerboard, still).weights["backbone.table"].numpy()
    start = Vectors(np.full((40, 8), 0.5, np.float32), np.full((60, 8), np.nan, np.float32))
    start.users[3] = np.nan
    started = fit(checkerboard, still, start=start).weights["backbone.table"].numpy()
    np.testing.assert_allclose(started[[0, 39]], 0.5, atol=1e-6)
    np.testing.assert_allclose(started[[3, *range(40, 100)]], fresh[[3, *range(40, 100)]], atol=1e-6)
    with pytest.raises(ValueError, match=r"embeddings of 8 components, this one of 4: set train.embedding_size=8"):
        fit(checkerboard, settings(embedding_size=4), start=start)
    with pytest.raises(ValueError, match="AlphaRec has no id table"):
        fit(checkerboard, settings(backbone="alpharec"), colours, start=start)


def test_a_checkpoint_of_another_run_is_left_alone(checkerboard, tmp_path, caplog):
    path = tmp_path / "checkpoint.safetensors"
    fit(checkerboard, settings(seed=1), checkpoint=path)
    assert same_bytes(fit(checkerboard, settings(), checkpoint=path), fit(checkerboard, settings()))
    assert "of another run" in caplog.text


def test_a_broken_checkpoint_is_left_alone(checkerboard, tmp_path, caplog):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"\x10half a file")
    assert same_bytes(fit(checkerboard, settings(), checkpoint=path), fit(checkerboard, settings()))
    assert "unreadable" in caplog.text


def test_a_loss_that_is_not_finite_stops_the_run(checkerboard):
    with pytest.raises(TrainingDiverged, match="'bpr' is nan at epoch 1; lower the learning rate"):
        fit(checkerboard, settings(learning_rate=1e38, batch_size=1000))


def test_settings_and_vectors_that_do_not_fit_are_refused(checkerboard, hand_split, colours):
    for variant in VARIANTS[1:]:
        with pytest.raises(ValueError, match="needs semantic vectors"):
            fit(checkerboard, settings(variant))
    with pytest.raises(ValueError, match="embed this split anew"):
        fit(hand_split, settings("con"), colours)
    with pytest.raises(ValueError, match="lightgcn has no setting 'edge_keeep'; it has n_layers, edge_keep"):
        fit(checkerboard, settings(backbone_settings={"lightgcn": {"edge_keeep": 0.5}}))


def test_threads_are_put_back(checkerboard):
    before = torch.get_num_threads()
    fit(checkerboard, settings(max_epochs=1, threads=before + 1))
    assert torch.get_num_threads() == before
