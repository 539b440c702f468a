import pytest
import torch


@pytest.mark.parametrize("self_loops", [False, True])
def test_layers_side_by_side_and_bpr_on_them(world, naive, self_loops):
    gccf = world("gccf", n_layers=2, self_loops=self_loops)
    edges = gccf.edges + torch.eye(11) if self_loops else gccf.edges
    expected = torch.cat(naive.layers(naive.normalised(edges), gccf.table, 2), dim=1)
    gccf.check(gccf.model.encode(gccf.table), expected)
    nodes, losses = gccf.step()
    gccf.check(nodes, expected)
    gccf.check(losses["bpr"], gccf.bpr(expected))
    assert set(losses) == {"bpr"}


def test_the_width_counts_every_layer(world):
    gccf = world("gccf", n_layers=2)
    assert gccf.model.output_size(8) == gccf.model.encode(gccf.table).shape[1] == 24


def test_self_loops_keep_lonely_nodes_apart(world, naive):
    assert naive.dense(world("gccf", self_loops=True).model.graph.adjacency).diagonal().all()
    assert not naive.dense(world("gccf", self_loops=False).model.graph.adjacency).diagonal().any()
