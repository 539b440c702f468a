"""Training as a GPU does it: the same losses and gradients, and nothing that has the host wait for the device."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rlmrec_core.config import TrainConfig
from rlmrec_core.config.registry import GraphBackbone, family_of
from rlmrec_core.device import CPU, GPU, forced, policy
from rlmrec_core.models.graph import steps
from rlmrec_core.models.graph.backbones import Batch
from rlmrec_core.models.graph.rows import Distinct, add_up, take
from rlmrec_core.models.graph.sampler import PairSampler
from rlmrec_core.models.graph.trainer import Trainer
from rlmrec_core.models.progress import Validation
from rlmrec_core.vectors import SemanticEmbeddings

CELLS = [(name, variant) for name in get_args(GraphBackbone) for variant in family_of(name).variants]
WAITS = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "repeat_interleave", "bincount", "equal")
N_BATCHES = 3
VARIANTS = ("base", "con")  # without a random number in a step
UNORDERED = ("scatter_add", "scatter_reduce", "index_add", "index_put")


class Ahead(TorchDispatchMode):
    """Refuses what reads a value, makes a shape of values, or adds in any order; counts what computes."""

    def __init__(self):
        super().__init__()
        self.launched = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__
        self.launched += not (func.is_view or name.startswith(("empty", "new_empty", "detach", "_record_function")))
        tensors = [one for one in args if isinstance(one, torch.Tensor)]
        assert not any(waits in name for waits in WAITS), f"{name} waits for the device"
        if name.startswith("index.") or name.startswith("index_put"):
            assert not any(one is not None and one.dtype == torch.bool for one in args[1]), f"{name} by a mask waits"
        if any(unordered in name for unordered in UNORDERED) and tensors[0].is_floating_point():
            raise AssertionError(f"{name} adds in any order")
        return func(*args, **(kwargs or {}))


def trainer(split, semantic, backbone, variant, **changes):
    small = {"autocf": {"n_seeds": 1, "ssl_weight": 1}}
    quick = {"device": "cpu", "batch_size": 300, "embedding_size": 8, "backbone_settings": small}
    run = TrainConfig(**(quick | changes)).run(backbone, variant, 7)
    return Trainer(split, run, semantic if run.reads_semantics else None, None)


@pytest.fixture(scope="module")
def gaps(colours):
    """Semantic vectors, of which some are missing."""
    users, items = colours.users.copy(), colours.items.copy()
    users[::7], items[::5] = 0, 0
    return SemanticEmbeddings(users, items)


@pytest.mark.parametrize(("backbone", "variant"), CELLS)
def test_a_step_has_the_same_losses_and_gradients(checkerboard, gaps, backbone, variant):
    found = []
    for chosen in (CPU, GPU):
        with forced(chosen):
            one = trainer(checkerboard, gaps, backbone, variant)
            batch = next(PairSampler(checkerboard, 300).epoch(torch.Generator().manual_seed(1)))
            if chosen is GPU:  # the pairs of the other, whose negatives are drawn in another way
                batch = found[0][2]
            losses = one.model.losses(batch, torch.Generator().manual_seed(2))
            torch.stack(list(losses.values())).sum().backward()
            grads = [parameter.grad for parameter in one.model.parameters()]
            found.append((losses, grads, batch))
    for mine, theirs in zip(*(side[1] for side in found), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=1e-4)
    assert found[0][0].keys() == found[1][0].keys()
    for name, loss in found[0][0].items():
        torch.testing.assert_close(found[1][0][name], loss, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("backbone", "variant"), CELLS)
def test_an_epoch_never_waits_for_the_device(checkerboard, gaps, backbone, variant):
    with forced(GPU):
        one = trainer(checkerboard, gaps, backbone, variant)
        one.train_epoch(0)  # what is made once
        if backbone == "autocf":  # but for the steps at which it masks its graph
            one.model.backbone.mask_every = 1 << 30
        with Ahead() as ahead:
            epoch(one)
    if backbone in MOST_KERNELS:
        assert ahead.launched / N_BATCHES <= MOST_KERNELS[backbone] + MORE_KERNELS[variant]


MOST_KERNELS = {"lightgcn": 60, "gccf": 50, "sgl": 210, "simgcl": 230, "dccf": 370, "autocf": 360}
MORE_KERNELS = {"base": 0, "con": 220, "gen": 70, "kar": 120}
"""What a step may launch: each takes a GPU's host some 6 microseconds. docs/benchmarks/gpu.md has the table."""


def epoch(one):
    for batch in one.sampler.epoch(one.steps.generator, negatives=one.model.backbone.samples_negatives):
        one.steps(batch)


@pytest.mark.parametrize("cell", ["lightgcn con", "sgl base", "dccf base"])
def test_on_a_cpu_it_would(checkerboard, gaps, cell):
    one = trainer(checkerboard, gaps, *cell.split())
    one.train_epoch(0)
    with Ahead(), pytest.raises(AssertionError, match=r"waits|any order"):
        epoch(one)


@pytest.mark.parametrize(("backbone", "variant"), CELLS)
def test_nothing_is_made_on_another_device(checkerboard, gaps, backbone, variant):
    with forced(GPU):
        one = trainer(checkerboard, gaps, backbone, variant)
        one.train_epoch(0)
        one.validate(0)
        with torch.device("meta"):  # where a tensor comes to be whose device nobody named
            one.train_epoch(1)
            assert one.validate(1)["recall@20"] > 0


def test_a_step_that_ran_out_of_memory_is_done_again(checkerboard, colours, monkeypatch):
    tables = []
    for broken in (False, True):
        with forced(GPU):
            one = trainer(checkerboard, colours, "lightgcn", "gen")
            losses, full = one.model.losses, [broken]

            def once_too_much(batch, generator, losses=losses, full=full):
                found = losses(batch, generator)
                if full.pop() if full else False:
                    found["bpr"].backward(retain_graph=True)
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                return found

            monkeypatch.setattr(one.model, "losses", once_too_much)
            one.train_epoch(0)
            assert policy(torch.device("cpu")).logits == GPU.logits // (2 if broken else 1)
            tables.append(one.model.backbone.table.detach())
    assert torch.equal(*tables)


def test_without_a_gpu_a_graph_is_not_captured(checkerboard):
    one = trainer(checkerboard, None, "lightgcn", "base", cuda_graphs=True)
    other = trainer(checkerboard, None, "lightgcn", "base")
    assert one.train_epoch(0) == other.train_epoch(0)


def test_a_step_that_cannot_be_captured_goes_on_without(checkerboard, colours, caplog, monkeypatch):
    def refused(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(steps, "_Captured", refused)
    one, other = (trainer(checkerboard, colours, "lightgcn", "gen", batch_size=100) for _ in range(2))
    one.steps.captures, one.steps._step_aside = True, one.steps._step
    assert [one.train_epoch(epoch) for epoch in (0, 1)] == [other.train_epoch(epoch) for epoch in (0, 1)]
    assert caplog.text.count("no CUDA graph of this step (operation not permitted when stream is capturing)") == 1


def test_a_captured_step_gets_every_full_batch_but_the_first_three(checkerboard, monkeypatch):
    class Captured:
        def __init__(self, of, batch):
            self.of = of

        def replay(self, batch):
            replayed.append(len(batch.users))
            return self.of._step(batch)

    replayed = []
    monkeypatch.setattr(steps, "_Captured", Captured)
    one, other = (trainer(checkerboard, None, "lightgcn", "base", batch_size=200) for _ in range(2))
    one.steps.captures, one.steps._step_aside = True, one.steps._step
    assert [one.train_epoch(epoch) for epoch in (0, 1)] == [other.train_epoch(epoch) for epoch in (0, 1)]
    assert replayed == [200] * 3  # of four batches, the last of 120


@pytest.mark.parametrize("variant", ["con", "gen"])
def test_a_batch_without_a_semantic_vector_is_no_loss(checkerboard, colours, variant):
    users, items = np.zeros_like(colours.users), np.zeros_like(colours.items)
    users[0], items[1] = colours.users[0], colours.items[1]
    with forced(GPU):
        one = trainer(checkerboard, SemanticEmbeddings(users, items), "lightgcn", variant)
        others = [ids[(ids != 0) & (ids != 1)][:3] for ids in (one.sampler.user, one.sampler.item, one.sampler.item)]
        batch = next(one.sampler.epoch(one.steps.generator))._replace(
            users=others[0], positives=others[1], negatives=others[2]
        )
        losses = one.model.losses(batch, one.steps.generator)
        losses["align"].backward()
    assert losses["align"].item() == 0 or variant == "gen"
    assert all(p.grad is None or p.grad.isfinite().all() for p in one.model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("backbone", "variant"), [(name, variant) for name in ("gccf", "dccf") for variant in VARIANTS]
)
def test_a_gpu_has_the_same_losses_and_gradients(checkerboard, gaps, backbone, variant):
    plain, fast = (trainer(checkerboard, gaps, backbone, variant, device=name) for name in ("cpu", "cuda"))
    batch = next(plain.sampler.epoch(torch.Generator().manual_seed(1)))
    found = []
    for one in (plain, fast):
        losses = one.model.losses(Batch(*(ids.to(one.device) for ids in batch)), one.steps.generator)
        torch.stack(list(losses.values())).sum().backward()
        found.append([*losses.values(), *(parameter.grad for parameter in one.model.parameters())])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs.cpu(), atol=2e-6, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize(("backbone", "variant"), CELLS)
def test_a_gpu_has_the_same_bytes_again(checkerboard, gaps, backbone, variant, graphs):
    tables = []
    for _ in range(2):
        one = trainer(checkerboard, gaps, backbone, variant, device="cuda", batch_size=100, cuda_graphs=graphs)
        records = [one.train_epoch(epoch) for epoch in range(3)]
        tables.append((torch.cat(one.model.vectors()), records))
    assert torch.equal(tables[0][0], tables[1][0]) and tables[0][1] == tables[1][1]


def test_training_learns_as_much(checkerboard, colours):
    best = []
    for chosen in (CPU, GPU):
        with forced(chosen):
            one = trainer(checkerboard, colours, "lightgcn", "con", max_epochs=40, learning_rate=0.05)
            best.append(max(record.best_value for record in one.epochs()))
    assert min(best) > 0.9


def test_validation_measures_the_same(checkerboard):
    rng = np.random.default_rng(0)
    users, items = (torch.from_numpy(rng.random((n, 3), dtype=np.float32)) for n in (40, 60))
    plain = Validation(checkerboard, torch.device("cpu")).metrics(users, items)
    with forced(GPU):
        assert Validation(checkerboard, torch.device("cpu")).metrics(users, items) == pytest.approx(plain, abs=1e-12)


def test_negatives_are_uniform_over_the_items_that_a_user_has_not(checkerboard):
    sampler, generator = PairSampler(checkerboard, 50), torch.Generator().manual_seed(1)
    known = torch.zeros(40, 60, dtype=torch.bool)
    known[sampler.user, sampler.item] = True
    counts = torch.zeros(40, 60, dtype=torch.int64)
    with forced(GPU):
        for _ in range(200):
            order = torch.randperm(len(sampler.user), generator=generator)
            drawn = sampler.negatives(order, generator)
            counts.index_put_((sampler.user[order], drawn), torch.tensor(1), accumulate=True)
    assert torch.equal(counts == 0, known)
    degree = known.sum(1, keepdim=True)
    expected = 200 * degree / (60 - degree)
    assert ((counts - expected)[~known].abs() < 6 * expected.expand(counts.shape)[~known].sqrt()).all()


def test_rows_are_taken_and_added_up():
    table = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    rows, weights = torch.tensor([4, 0, 4, 2, 4]), torch.randn(5, 3, dtype=torch.float64)
    with forced(GPU):
        taken = take(table, rows)
        assert torch.equal(taken, table[rows])
        (slope,) = torch.autograd.grad((taken * weights).sum(), table)
        torch.testing.assert_close(slope, torch.zeros(5, 3).double().index_add(0, rows, weights))
        torch.testing.assert_close(add_up(weights, rows, 5), slope)
        assert torch.autograd.gradcheck(lambda table: take(table, rows), table)


def test_distinct_rows_weigh_the_same_in_both_ways():
    ids = torch.tensor([4, 0, 4, 2, 4])
    plain = Distinct.of(ids, 6)
    assert plain.ids.tolist() == [0, 2, 4] and plain.times.tolist() == [1, 1, 3] and plain.n == 3
    with forced(GPU):
        whole = Distinct.of(ids, 6, once=True)
    assert whole.ids.tolist() == ids.tolist() and whole.times is None and float(whole.n) == 3
    torch.testing.assert_close(whole.once, torch.tensor([1 / 3, 1, 1 / 3, 1, 1 / 3], dtype=torch.float64))
