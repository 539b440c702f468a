import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy, log_softmax

from rlmrec_core.models.cllm4rec import losses
from rlmrec_core.models.cllm4rec.losses import multinomial_nll, squared_distance


@pytest.fixture
def case():
    """Five rows over eleven targets; row 1 has none, row 3 several, one of them twice."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    head = torch.randn(11, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    return hidden, head, torch.tensor([0, 2, 3, 3, 3, 3, 4]), torch.tensor([10, 0, 1, 5, 7, 5, 2])


def naive(hidden, head, rows, targets):
    return -log_softmax(hidden @ head.T, 1)[rows, targets].sum()


@pytest.mark.parametrize("chunk", [1 << 21, 22, 1])
def test_nll_is_that_of_the_full_matrix(case, monkeypatch, chunk):
    monkeypatch.setattr(losses, "_CHUNK_LOGITS", chunk)
    hidden, head, rows, targets = case
    value = multinomial_nll(*case)
    expected = naive(*case)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)
    found = torch.autograd.grad(2 * value, (hidden, head))
    for one, other in zip(found, torch.autograd.grad(2 * expected, (hidden, head)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert gradcheck(multinomial_nll, (hidden, head, rows, targets))


def test_one_target_per_row_is_the_cross_entropy(case):
    hidden, head, *_ = case
    targets = torch.tensor([3, 1, 4, 1, 5])
    found = multinomial_nll(hidden, head, torch.arange(5), targets)
    torch.testing.assert_close(found, cross_entropy(hidden @ head.T, targets, reduction="sum"))


def test_a_frozen_head_gets_no_gradient(case):
    hidden, head, rows, targets = case
    multinomial_nll(hidden, head.detach(), rows, targets).backward()
    assert hidden.grad is not None
    assert head.grad is None


def test_bfloat16_products_stay_close(case):
    hidden, head, rows, targets = (one.float() if one.is_floating_point() else one for one in case)
    hidden, head = hidden.detach().requires_grad_(), head.detach().requires_grad_()
    value = multinomial_nll(hidden, head, rows, targets, bf16=True)
    value.backward()
    assert abs(float((value - naive(hidden, head, rows, targets)).detach())) < 0.1
    assert hidden.grad.dtype == head.grad.dtype == torch.float32


@pytest.mark.parametrize("fixed", [True, False])
def test_distance_is_the_sum_over_occurrences(fixed):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    other = torch.randn(6, 3, generator=generator, dtype=torch.float64) if fixed else None
    occurrences = torch.tensor([4, 0, 4, 2, 4, 0])
    nodes, counts = occurrences.unique(return_counts=True)
    value = squared_distance(table, other, nodes, counts)
    difference = table[occurrences] - (other[occurrences] if fixed else 0)
    expected = difference.square().sum() / 2
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, table), torch.autograd.grad(expected, table))
    assert gradcheck(squared_distance, (table, other, nodes, counts))
