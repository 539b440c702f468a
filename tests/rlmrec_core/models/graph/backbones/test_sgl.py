import pytest
import torch


@pytest.mark.parametrize("in_batch", [False, True])
def test_step_equals_the_direct_computation(world, naive, monkeypatch, in_batch):
    sgl = world("sgl", n_layers=2, cl_weight=0.3, cl_tau=0.2, cl_in_batch=in_batch)
    dropped = []
    drop_edges = type(sgl.model.graph).drop_edges

    def remember(graph, keep, generator):
        assert keep == 0.8
        dropped.append(drop_edges(graph, keep, generator))
        return dropped[-1]

    monkeypatch.setattr(type(sgl.model.graph), "drop_edges", remember)
    nodes, losses = sgl.step()
    clean = sum(naive.layers(sgl.adjacency, sgl.table, 2))
    first, second = (sum(naive.layers(naive.dense(view), sgl.table, 2)) for view in dropped)
    users, items = second.split([6, 5])
    if in_batch:
        users, items = users[[0, 2, 3, 5]], items[[0, 1, 2, 3, 4]]
    sides = users, items, items
    terms = zip(sgl.gathered(first), sgl.gathered(second), sides, strict=True)
    sgl.check(nodes, clean)
    sgl.check(losses["bpr"], sgl.bpr(clean))
    sgl.check(losses["cl"], 0.3 * sum(naive.nce(*term, 0.2) for term in terms))
    assert not torch.equal(first, second)


def test_ranks_by_the_clean_layers(world, naive):
    sgl = world("sgl", n_layers=3)
    sgl.check(sgl.model.encode(sgl.table), sum(naive.layers(sgl.adjacency, sgl.table, 3)))
