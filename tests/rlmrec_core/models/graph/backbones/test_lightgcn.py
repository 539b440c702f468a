import numpy as np
import pytest
import torch
from torch_geometric.nn import LGConv

from rlmrec_core.models.graph.backbones import Batch
from rlmrec_core.models.graph.backbones.lightgcn import LightGCN, LightGCNSettings
from rlmrec_core.models.graph.graph import Graph


def model(split, **hyper):
    generator = torch.Generator().manual_seed(0)
    return LightGCN(Graph.from_split(split), 4, generator, LightGCNSettings(**hyper))


def test_encode_sums_the_layers_of_pyg(checkerboard):
    backbone = model(checkerboard, n_layers=2)
    edges = torch.stack([backbone.graph.pattern.row, backbone.graph.pattern.col])
    convolution = LGConv()
    once = convolution(backbone.table, edges)
    expected = backbone.table + once + convolution(once, edges)
    torch.testing.assert_close(backbone.encode(backbone.table), expected)


def test_step_without_dropout_is_bpr_on_the_encoded_table(hand_split):
    backbone = model(hand_split, edge_keep=1.0)
    batch = Batch(torch.tensor([0, 2]), torch.tensor([1, 2]), torch.tensor([3, 0]))
    nodes, losses = backbone.step(backbone.table, batch, torch.Generator())
    vectors = backbone.encode(backbone.table).detach().numpy()
    torch.testing.assert_close(nodes.detach(), torch.from_numpy(vectors))
    users, items = vectors[[0, 2]], vectors[3:]
    margin = (users * (items[[3, 0]] - items[[1, 2]])).sum(1)
    assert losses["bpr"].item() == pytest.approx(np.log1p(np.exp(margin)).mean(), rel=1e-5)


def test_steps_drop_different_edges(checkerboard):
    backbone, generator = model(checkerboard), torch.Generator().manual_seed(1)
    batch = Batch(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]))
    first, second = (backbone.step(backbone.table, batch, generator).nodes for _ in range(2))
    assert not torch.equal(first, second)


def test_sides_start_within_their_own_xavier_bound(checkerboard):
    users, items = model(checkerboard).sides(model(checkerboard).table)
    assert items.abs().max() <= (6 / (60 + 4)) ** 0.5 < users.abs().max() <= (6 / (40 + 4)) ** 0.5


def test_a_batch_without_negatives_is_refused(hand_split):
    backbone = model(hand_split)
    with pytest.raises(ValueError, match="LightGCN ranks against negatives"):
        backbone.step(backbone.table, Batch(torch.tensor([0]), torch.tensor([0]), None), torch.Generator())
