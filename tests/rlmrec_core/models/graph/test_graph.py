import numpy as np
import pytest
import torch
from torch_geometric.nn import LGConv

from rlmrec_core.models.graph.graph import Graph


def dense_adjacency(split, self_loops=False):
    n = split.n_users + split.n_items
    adjacency = np.eye(n) if self_loops else np.zeros((n, n))
    adjacency[split.train.user, split.train.item + split.n_users] = 1
    adjacency[split.train.item + split.n_users, split.train.user] = 1
    return normalised(adjacency)


def to_dense(matrix):
    return matrix.matmul(torch.eye(matrix.pattern.n_nodes))


def normalised(adjacency):
    degree = adjacency.sum(1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(len(degree)), where=degree > 0)
    return scale[:, None] * adjacency * scale


@pytest.mark.parametrize("self_loops", [False, True])
def test_adjacency_equals_the_dense_formula(hand_split, self_loops):
    graph = Graph.from_split(hand_split)
    graph = graph.with_self_loops() if self_loops else graph
    expected = dense_adjacency(hand_split, self_loops)
    np.testing.assert_allclose(to_dense(graph.adjacency).numpy(), expected, atol=1e-6)


def test_adjacency_of_the_hand_computed_graph(hand_split):
    dense = to_dense(Graph.from_split(hand_split).adjacency)
    assert dense[0, 3] == pytest.approx(1 / 2)  # both ends of degree 2
    assert dense[0, 4] == pytest.approx(2**-0.5)
    assert dense[2, 5] == 1
    assert dense[6].count_nonzero() == 0  # an item without a train user


def test_propagation_equals_pyg_light_convolution(checkerboard):
    graph = Graph.from_split(checkerboard)
    dense = torch.randn(graph.n_nodes, 5, generator=torch.Generator().manual_seed(0))
    convolution = LGConv()
    edges = torch.stack([graph.pattern.row, graph.pattern.col])
    layers = [dense]
    for _ in range(3):
        layers.append(convolution(layers[-1], edges))
    torch.testing.assert_close(graph.adjacency.matmul(dense), layers[1])
    torch.testing.assert_close(graph.adjacency.sum_of_powers(dense, 3), sum(layers))


def test_dropped_edges_are_zero_and_the_rest_unscaled(checkerboard):
    graph = Graph.from_split(checkerboard)
    generator = torch.Generator().manual_seed(5)
    dropped = graph.drop_edges(0.8, generator).values
    kept = dropped != 0
    assert torch.equal(dropped[kept], graph.values[kept])
    assert 0.7 < kept.float().mean() < 0.9
    assert not torch.equal(kept, kept[graph.pattern.reverse])  # directions are dropped on their own
    assert not torch.equal(dropped, graph.drop_edges(0.8, generator).values)


def test_dropping_nothing_changes_nothing(hand_split):
    graph = Graph.from_split(hand_split)
    dropped = graph.drop_edges(1.0, torch.Generator().manual_seed(0))
    assert torch.equal(dropped.values, graph.adjacency.values)


def test_kept_edges_are_normalised_by_their_own_degrees(hand_split):
    graph = Graph.from_split(hand_split)
    without_node_four = (graph.pattern.row != 4) & (graph.pattern.col != 4)
    adjacency = (dense_adjacency(hand_split) > 0).astype(float)
    adjacency[4] = adjacency[:, 4] = 0
    found = graph.keep_edges(without_node_four)
    np.testing.assert_allclose(to_dense(found).numpy(), normalised(adjacency), atol=1e-6)
    assert torch.equal(found.values[graph.pattern.reverse], found.transposed)
