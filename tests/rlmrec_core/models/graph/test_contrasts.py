"""InfoNCE as a GPU computes it, on the CPU: several contrasts at once, in one chunk or in many."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from rlmrec_core.device import GPU, forced
from rlmrec_core.models.graph.contrasts import contrasts, unit
from rlmrec_core.models.graph.losses import MIN_TAU, contrast, info_nce, log_partition

N_SETS, N_ANCHORS, SIZE = 3, 5, 4


def case(n_keys, seed=0, dtype=torch.float64):
    """Anchors, keys and own keys of length one, weights and counts, all with gradients but the last two."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (N_ANCHORS, n_keys, N_ANCHORS)
    vectors = [torch.randn(N_SETS, n, SIZE, dtype=dtype, generator=generator) for n in shapes]
    vectors = [F.normalize(one, dim=2).requires_grad_() for one in vectors]
    return *vectors, *(torch.rand(N_SETS, n, dtype=dtype, generator=generator) + 0.1 for n in shapes[:2])


def naive(anchors, keys, own_keys, weights, counts, tau):
    logits = anchors @ keys.mT / tau
    if counts is not None:
        logits = logits + counts.log().unsqueeze(1)
    own = keys if own_keys is None else own_keys
    return (weights * (logits.logsumexp(2) - (anchors * own).sum(2) / tau)).sum()


@pytest.mark.parametrize("logits", [1, 50, 1 << 20])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_value_and_gradients_are_those_of_the_naive_form(logits, counted, own, tau):
    anchors, keys, own_keys, weights, counts = case(6 if own else N_ANCHORS, logits)
    own_keys, counts = own_keys if own else None, counts if counted else None
    operands = [anchors, keys, *([own_keys] if own else [])]
    with forced(replace(GPU, logits=logits)):
        found = contrasts(anchors, keys, own_keys, weights, counts, tau=tau)
    wanted = naive(anchors, keys, own_keys, weights, counts, tau)
    torch.testing.assert_close(found, wanted)
    slopes = (torch.autograd.grad(3 * loss, operands) for loss in (found, wanted))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_the_smallest_tau_stays_in_range():
    anchors, keys, own_keys, weights, _ = case(6, dtype=torch.float32)
    keys = torch.cat([keys.detach()[:, :5], anchors.detach()[:, :1]], dim=1).requires_grad_()
    with forced(GPU):
        found = contrasts(anchors, keys, own_keys, weights, None, tau=MIN_TAU)
    torch.testing.assert_close(found, naive(anchors, keys, own_keys, weights, None, MIN_TAU))
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(found, (anchors, keys, own_keys)))


def test_bfloat16_rounds():
    anchors, keys, own_keys, weights, counts = case(6, dtype=torch.float32)
    with forced(GPU):
        rounded = contrasts(anchors, keys, own_keys, weights, counts, tau=0.2, dtype=torch.bfloat16)
    wanted = naive(anchors, keys, own_keys, weights, counts, 0.2)
    assert rounded.item() != wanted.item() and rounded.item() == pytest.approx(wanted.item(), rel=0.01)
    assert torch.autograd.grad(rounded, keys)[0].dtype == torch.float32


def test_keys_that_are_given_get_no_gradient():
    anchors, keys, _, weights, _ = case(N_ANCHORS)
    given = keys.detach()
    with forced(GPU):
        (slope,) = torch.autograd.grad(contrasts(anchors, given, None, weights, None, tau=0.3), anchors)
    torch.testing.assert_close(slope, torch.autograd.grad(naive(anchors, given, None, weights, None, 0.3), anchors)[0])


def test_vectors_of_length_one():
    vectors = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    with forced(GPU):
        assert torch.equal(unit(torch.zeros(2, 3)), torch.zeros(2, 3))
        torch.testing.assert_close(unit(vectors), F.normalize(vectors, dim=1))
        assert torch.autograd.gradcheck(unit, vectors)


@pytest.mark.parametrize("in_batch", [False, True])
def test_two_views_are_contrasted_as_on_a_cpu(in_batch):
    generator = torch.Generator().manual_seed(4)
    views = [torch.randn(7, SIZE, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2)]
    ids, found = torch.tensor([5, 1, 5, 0]), []
    for policy in (None, GPU):
        with forced(policy or replace(GPU, asynchronous=False)):
            loss = contrast(*views, ids, tau=0.2, in_batch=in_batch)
            found.append([loss, *torch.autograd.grad(loss, views)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_temperature_too_low_is_refused():
    anchors, keys, *_ = case(6)
    with forced(GPU):
        for refused in (
            lambda: contrast(anchors[0], keys[0, :5], torch.tensor([1]), tau=0.01),
            lambda: info_nce(anchors[0], keys[0], None, tau=0.01),
        ):
            with pytest.raises(ValueError, match="tau is"):
                refused()


def test_other_log_sums_take_the_usual_way():
    anchors, keys, *_ = case(6)
    with forced(GPU):
        torch.testing.assert_close(log_partition(anchors[0], keys[0]), (anchors[0] @ keys[0].T).logsumexp(1).mean())
