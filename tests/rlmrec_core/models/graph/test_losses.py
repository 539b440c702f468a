import math
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.device import CPU, forced
from rlmrec_core.models.graph import losses
from rlmrec_core.models.graph.losses import bpr, contrast, info_nce, log_partition, sampled_softmax


@pytest.fixture
def chunks():
    """Sets how many logits and pairs are held at once."""
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(forced(replace(CPU, logits=size, pairs=size)))


def naive_info_nce(anchors, keys, own, tau):
    cosines = F.normalize(anchors, dim=1) @ F.normalize(keys, dim=1).T
    return F.cross_entropy(cosines / tau, own)


def random_case(n_anchors, n_keys, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.randn(n_anchors, 4, dtype=dtype, generator=generator)
    keys = torch.randn(n_keys, 4, dtype=dtype, generator=generator)
    return anchors, keys, torch.randint(n_keys, (n_anchors,), generator=generator)


def ranked_pairs(seed, n_pairs=7):
    """Nodes and the rows of users, positives and negatives among them, with repetitions."""
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.randn(6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    return nodes, *torch.randint(6, (3, n_pairs), generator=generator)


def naive_bpr(nodes, users, positives, negatives):
    scores = nodes @ nodes.T
    return -F.logsigmoid(scores[users, positives] - scores[users, negatives]).mean()


def test_bpr_by_hand():
    nodes = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 5.0], [7.0, 1.0], [1.0, 9.0], [0.0, 2.0]])
    ids = torch.tensor([[0, 1], [2, 3], [4, 5]])
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(2))) / 2
    assert bpr(nodes, *ids).item() == pytest.approx(expected)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_bpr_and_its_gradient_equal_the_naive_form_in_chunks_of_any_size(chunks, chunk):
    chunks(chunk)
    nodes, *ids = ranked_pairs(chunk)
    found, wanted = bpr(nodes, *ids), naive_bpr(nodes, *ids)
    torch.testing.assert_close(found, wanted)
    slopes = [torch.autograd.grad(3 * loss, nodes)[0] for loss in (found, wanted)]
    torch.testing.assert_close(*slopes)


def test_gradient_of_bpr():
    nodes, *ids = ranked_pairs(0)
    assert torch.autograd.gradcheck(lambda nodes: bpr(nodes, *ids), nodes)


def softmax_case(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 4, dtype=torch.float64, generator=generator, requires_grad=True) for n in (7, 7, 5)]


def naive_sampled_softmax(anchors, positives, negatives, tau):
    every = torch.cat([positives[:, None], negatives.expand(len(anchors), -1, -1)], dim=1)
    cosines = F.cosine_similarity(anchors[:, None], every, dim=2)
    return F.cross_entropy(cosines / tau, torch.zeros(len(anchors), dtype=torch.long))


@pytest.mark.parametrize("chunk", [1, 15, 1 << 20])
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_sampled_softmax_and_its_gradient_equal_the_naive_form(chunks, chunk, tau):
    chunks(chunk)
    case = softmax_case(chunk)
    found, wanted = sampled_softmax(*case, tau=tau), naive_sampled_softmax(*case, tau)
    torch.testing.assert_close(found, wanted)
    for one, other in zip(*(torch.autograd.grad(3 * loss, case) for loss in (found, wanted)), strict=True):
        torch.testing.assert_close(one, other)


def test_gradient_of_sampled_softmax():
    assert torch.autograd.gradcheck(lambda *case: sampled_softmax(*case, tau=0.2), softmax_case(0))
    with pytest.raises(ValueError, match="tau is"):
        sampled_softmax(*softmax_case(0), tau=0.01)


def test_info_nce_by_hand():
    anchors = torch.tensor([[2.0, 0.0]])
    keys = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    expected = -1 / 0.5 + math.log(math.exp(1 / 0.5) + math.exp(0))
    assert info_nce(anchors, keys, torch.tensor([0]), tau=0.5).item() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.05, 0.2, 1.0]), st.integers(0, 99))
def test_info_nce_equals_the_naive_form(n_anchors, n_keys, tau, seed):
    anchors, keys, own = random_case(n_anchors, n_keys, seed)
    torch.testing.assert_close(info_nce(anchors, keys, own, tau=tau), naive_info_nce(anchors, keys, own, tau))


def test_chunks_change_nothing(chunks):
    anchors, keys, own = random_case(11, 7, 0)
    whole = info_nce(anchors, keys, own, tau=0.1)
    chunks(21)
    torch.testing.assert_close(info_nce(anchors, keys, own, tau=0.1), whole)


def test_counts_stand_for_repeated_rows():
    anchors, keys, _ = random_case(3, 3, 4)
    counts = torch.tensor([2, 1, 3])
    repeated = torch.arange(3).repeat_interleave(counts)
    expected = naive_info_nce(anchors[repeated], keys[repeated], torch.tensor([0, 0, 2, 3, 3, 3]), 0.2)
    own = torch.arange(3)
    found = info_nce(anchors, keys, own, tau=0.2, anchor_counts=counts, key_counts=counts)
    torch.testing.assert_close(found, expected)


def test_keys_of_length_one_are_taken_as_they_are():
    anchors, keys, own = random_case(5, 4, 6)
    unit = F.normalize(keys, dim=1)
    torch.testing.assert_close(
        info_nce(anchors, unit, own, tau=0.2, unit_keys=True), info_nce(anchors, keys, own, tau=0.2)
    )


def test_products_in_bfloat16_only_round():
    anchors, keys, own = (part if part.dtype == torch.int64 else part.float() for part in random_case(40, 60, 7))
    rounded = info_nce(anchors, keys, own, tau=0.2, dtype=torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(naive_info_nce(anchors, keys, own, 0.2).item(), rel=0.01)


def test_gradients(chunks):
    chunks(12)
    anchors, keys, own = random_case(5, 6, 1)
    counts = torch.tensor([1, 2, 3, 1, 1])
    key_counts = torch.tensor([1, 1, 4, 1, 2, 1])

    def loss(a, k):
        return info_nce(a, k, own, tau=0.3, anchor_counts=counts, key_counts=key_counts)

    assert torch.autograd.gradcheck(loss, (anchors.requires_grad_(), keys.requires_grad_()))
    assert torch.autograd.gradcheck(lambda a: loss(a, keys.detach()), anchors)


def test_a_contrast_computes_repeated_nodes_once():
    anchors, keys, _ = random_case(6, 6, 3)
    ids = torch.tensor([4, 0, 4, 4, 2])
    torch.testing.assert_close(contrast(anchors, keys, ids, tau=0.2), naive_info_nce(anchors[ids], keys, ids, 0.2))
    found = contrast(anchors, keys, ids, tau=0.2, in_batch=True)
    among = torch.tensor([0, 2, 4])
    torch.testing.assert_close(found, naive_info_nce(anchors[ids], keys[among], torch.searchsorted(among, ids), 0.2))


@pytest.mark.parametrize("chunk", [1 << 19, 12])
def test_log_partition_equals_the_naive_form(chunks, chunk):
    chunks(chunk)
    queries, keys, _ = random_case(5, 6, 5)
    counts = torch.tensor([2, 1, 1, 3, 1])
    expected = torch.logsumexp(queries.repeat_interleave(counts, 0) @ keys.T, dim=1).mean()
    torch.testing.assert_close(log_partition(queries, keys, counts), expected)
    operands = queries.requires_grad_(), keys.requires_grad_()
    assert torch.autograd.gradcheck(lambda q, k: log_partition(q, k, counts), operands)


def test_log_partition_survives_products_beyond_the_range_of_exp():
    queries = torch.tensor([[30.0, 0.0]], requires_grad=True)
    keys = torch.tensor([[30.0, 1.0], [30.0, 2.0], [-30.0, 0.0]])
    loss = log_partition(queries, keys)
    assert loss.item() == pytest.approx(900 + math.log(2))
    (gradient,) = torch.autograd.grad(loss, queries)
    assert gradient.flatten().tolist() == pytest.approx([30.0, 1.5])


def test_float32_stays_close_at_the_lowest_temperature():
    anchors, keys, own = random_case(50, 60, 2)
    expected = naive_info_nce(anchors, keys, own, losses.MIN_TAU)
    found = info_nce(anchors.float(), keys.float(), own, tau=losses.MIN_TAU)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_opposite_vectors_at_the_lowest_temperature_stay_finite():
    anchors, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    assert info_nce(anchors, keys, torch.tensor([0]), tau=losses.MIN_TAU).item() == pytest.approx(0, abs=1e-4)


def test_too_low_a_temperature_is_refused():
    anchors, keys, own = random_case(2, 2, 0)
    with pytest.raises(ValueError, match=r"tau is 0\.01"):
        info_nce(anchors, keys, own, tau=0.01)
