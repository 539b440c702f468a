import numpy as np
import pytest
import torch
from torch_geometric.nn import LGConv

from rlmrec_core.graph import Graph, SparseMatrix


def dense_adjacency(split, self_loops=False):
    n = split.n_users + split.n_items
    adjacency = np.eye(n) if self_loops else np.zeros((n, n))
    adjacency[split.train.user, split.train.item + split.n_users] = 1
    adjacency[split.train.item + split.n_users, split.train.user] = 1
    degree = adjacency.sum(1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(n), where=degree > 0)
    return scale[:, None] * adjacency * scale


@pytest.mark.parametrize("self_loops", [False, True])
def test_adjacency_equals_the_dense_formula(hand_split, self_loops):
    graph = Graph.from_split(hand_split, self_loops=self_loops)
    expected = dense_adjacency(hand_split, self_loops)
    np.testing.assert_allclose(graph.adjacency.matrix.to_dense().numpy(), expected, atol=1e-6)


def test_adjacency_of_the_hand_computed_graph(hand_split):
    dense = Graph.from_split(hand_split).adjacency.matrix.to_dense()
    assert dense[0, 3] == pytest.approx(1 / 2)  # both ends of degree 2
    assert dense[0, 4] == pytest.approx(2**-0.5)
    assert dense[2, 5] == 1
    assert dense[6].count_nonzero() == 0  # an item without a train user


def test_reverse_points_at_the_opposite_edge(checkerboard):
    graph = Graph.from_split(checkerboard)
    assert torch.equal(graph.row[graph.reverse], graph.col)
    assert torch.equal(graph.col[graph.reverse], graph.row)


def test_products_equal_pyg_light_convolution(checkerboard):
    graph = Graph.from_split(checkerboard)
    dense = torch.randn(graph.n_nodes, 5, generator=torch.Generator().manual_seed(0))
    convolution = LGConv()
    edges = torch.stack([graph.row, graph.col])
    layers = [dense]
    for _ in range(3):
        layers.append(convolution(layers[-1], edges))
    torch.testing.assert_close(graph.adjacency.matmul(dense), layers[1])
    torch.testing.assert_close(graph.adjacency.sum_of_powers(dense, 3), sum(layers))


def test_zero_layers_give_the_table_back(hand_split):
    dense = torch.ones(7, 2)
    assert torch.equal(Graph.from_split(hand_split).adjacency.sum_of_powers(dense, 0), dense)


@pytest.mark.parametrize("product", [lambda a, x: a.matmul(x), lambda a, x: a.sum_of_powers(x, 3)])
def test_gradients_of_products_with_an_asymmetric_matrix(hand_split, product):
    graph = Graph.from_split(hand_split)
    values = torch.rand(graph.values.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = graph.with_values(values)
    dense = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: product(matrix, x), dense)


def test_with_values_keeps_the_transpose_in_step(hand_split):
    graph = Graph.from_split(hand_split)
    matrix = graph.with_values(torch.arange(1.0, 1 + len(graph.values)))
    assert isinstance(matrix, SparseMatrix)
    assert torch.equal(matrix.matrix.to_dense().T, matrix.transpose.to_dense())


def test_dropped_edges_are_zero_and_the_rest_unscaled(checkerboard):
    graph = Graph.from_split(checkerboard)
    generator = torch.Generator().manual_seed(5)
    dropped = graph.drop_edges(0.8, generator).matrix.values()
    kept = dropped != 0
    assert torch.equal(dropped[kept], graph.values[kept])
    assert 0.7 < kept.float().mean() < 0.9
    assert not torch.equal(kept, kept[graph.reverse])  # directions are dropped on their own
    assert not torch.equal(dropped, graph.drop_edges(0.8, generator).matrix.values())


def test_keeping_every_edge_changes_nothing(hand_split):
    graph = Graph.from_split(hand_split)
    dropped = graph.drop_edges(1.0, torch.Generator().manual_seed(0))
    assert torch.equal(dropped.matrix.values(), graph.adjacency.matrix.values())
