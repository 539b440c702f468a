"""Every kernel against the dense formula, and every gradient against finite differences."""

from dataclasses import replace

import pytest
import torch

from rlmrec_core.device import CPU, GPU, forced
from rlmrec_core.models.graph.sparse import Pattern, SparseMatrix

N = 5
# Both directions of 0-1, 0-3, 1-3 and 2-3, and the loop 2-2; node 4 is alone.
EDGES = torch.tensor([[0, 1, 0, 3, 1, 3, 2, 3, 2], [1, 0, 3, 0, 3, 1, 3, 2, 2]])


POLICIES = {
    "one tile": CPU,
    "four tiles": replace(CPU, tile_nodes=4),
    "a tile for each edge": replace(CPU, tile_nodes=1),
    "a GPU's": GPU,
    "a GPU's in bags of two edges": replace(GPU, bag_edges=2, gathered=6),
    "CSR tensors": replace(GPU, csr=True),
}


@pytest.fixture(params=POLICIES)
def tile_nodes(request):
    with forced(POLICIES[request.param]):
        yield POLICIES[request.param].tile_nodes or 1 << 16


@pytest.fixture
def pattern(tile_nodes):
    return Pattern.from_keys((EDGES[0] * N + EDGES[1]).sort().values, N)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)


def dense(pattern, values):
    size = (pattern.n_nodes, pattern.n_nodes)
    return torch.zeros(size, dtype=values.dtype).index_put((pattern.row, pattern.col), values)


def test_reverse_points_at_the_opposite_edge(pattern):
    assert torch.equal(pattern.row[pattern.reverse], pattern.col)
    assert torch.equal(pattern.col[pattern.reverse], pattern.row)


def test_a_matrix_keeps_its_transpose_in_step(pattern):
    values = torch.arange(1.0, 10)
    matrix = pattern.matrix(values)
    assert isinstance(matrix, SparseMatrix)
    assert torch.equal(dense(pattern, matrix.values), dense(pattern, values))
    assert torch.equal(dense(pattern, matrix.values).T, dense(pattern, matrix.transposed))


def test_tiles_hold_every_edge_once_and_no_row_or_column_of_another(pattern, tile_nodes):
    assert (len(pattern.tiles) == 1) == (tile_nodes >= N)
    assert [tile.edges.start for tile in pattern.tiles[1:]] == [tile.edges.stop for tile in pattern.tiles[:-1]]
    assert pattern.tiles[0].edges.start == 0 and pattern.tiles[-1].edges.stop == 9
    for tile in pattern.tiles:
        rows = torch.arange(N)[tile.rows].repeat_interleave(tile.offsets.diff())
        assert torch.equal(rows, pattern.row[tile.edges])
        assert torch.equal(tile.col.long(), pattern.col[tile.edges])
        assert tile.col.max() - tile.col.min() < tile_nodes and len(tile.offsets) - 1 <= tile_nodes


def test_a_pattern_without_edges_gives_zeros(tile_nodes):
    nothing = Pattern.from_keys(torch.zeros(0, dtype=torch.int64), N)
    assert torch.equal(nothing.matrix(torch.zeros(0)).matmul(torch.ones(N, 2)), torch.zeros(N, 2))


def test_zero_powers_give_the_input_back(pattern):
    assert torch.equal(pattern.matrix(torch.ones(9)).sum_of_powers(torch.ones(N, 2), 0), torch.ones(N, 2))


def test_products_and_sums_equal_the_dense_formulas(pattern):
    values, x, y = normal(9, seed=1), normal(N, 3, seed=2), normal(N, 3, seed=3)
    matrix = dense(pattern, values)
    torch.testing.assert_close(pattern.matrix(values.detach()).matmul(x), matrix @ x)
    powers = x + matrix @ x + matrix @ matrix @ x
    torch.testing.assert_close(pattern.matrix(values.detach()).sum_of_powers(x, 2), powers)
    torch.testing.assert_close(pattern.weighted_sum(values, x), matrix @ x)
    torch.testing.assert_close(pattern.products(x, y), (x @ y.T)[pattern.row, pattern.col])
    torch.testing.assert_close(pattern.row_sums(values), matrix.sum(1))


@pytest.mark.parametrize("width", [1, 16, 32, 33])
def test_single_precision_has_the_same_values_and_gradients(width, tile_nodes):
    # float32 has a kernel of its own, by width. Most rows of this graph have edges, some have none.
    ends = torch.randint(40, (2, 60), generator=torch.Generator().manual_seed(11))
    pattern = Pattern.from_keys(torch.cat([ends[0] * 60 + ends[1], ends[1] * 60 + ends[0]]).unique(), 60)
    values, x = normal(len(pattern.row), seed=12).detach().float(), normal(60, width, seed=13).detach().float()
    x.requires_grad_()
    matrix = dense(pattern, values)
    for found, wanted in (
        (pattern.matrix(values).matmul(x), matrix @ x),
        (pattern.matrix(values).sum_of_powers(x, 2), x + matrix @ x + matrix @ matrix @ x),
    ):
        torch.testing.assert_close(found, wanted)
        weights = torch.arange(found.numel()).view_as(found) / found.numel()
        slopes = [torch.autograd.grad((side * weights).sum(), x, retain_graph=True)[0] for side in (found, wanted)]
        torch.testing.assert_close(*slopes)


def test_a_weighted_mean_divides_by_the_weights_and_leaves_lonely_nodes_at_zero(pattern):
    weights, x = normal(9, seed=4).abs(), normal(N, 3, seed=5)
    matrix = dense(pattern, weights)
    found = pattern.weighted_mean(weights, x)
    torch.testing.assert_close(found[:4], (matrix @ x)[:4] / matrix.sum(1)[:4, None])
    assert found[4].count_nonzero() == 0


@pytest.mark.parametrize("product", [lambda a, x: a.matmul(x), lambda a, x: a.sum_of_powers(x, 3)])
def test_gradients_of_products_with_an_asymmetric_matrix(pattern, product):
    matrix = pattern.matrix(normal(9, seed=6).detach())
    assert torch.autograd.gradcheck(lambda x: product(matrix, x), normal(N, 3, seed=7))


def test_gradients_in_values_and_operands(pattern):
    values, x, y = normal(9, seed=8), normal(N, 2, seed=9), normal(N, 2, seed=10)
    assert torch.autograd.gradcheck(pattern.products, (x, y))
    assert torch.autograd.gradcheck(lambda x: pattern.products(x, x), x)
    assert torch.autograd.gradcheck(pattern.weighted_sum, (values, x))
    assert torch.autograd.gradcheck(lambda v, x: pattern.weighted_mean(v**2 + 1, x), (values, x))
    assert torch.autograd.gradcheck(pattern.row_sums, values)
