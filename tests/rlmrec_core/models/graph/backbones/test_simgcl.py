import pytest
import torch
import torch.nn.functional as F


def perturbed(world, generator, n_layers=2, eps=0.5):
    layer = total = world.table
    for _ in range(n_layers):
        layer = world.adjacency @ layer
        noise = torch.rand(layer.shape, generator=generator, dtype=torch.float64)
        layer = layer + eps * torch.sign(layer) * noise / noise.norm(dim=1, keepdim=True)
        total = total + layer
    return total


@pytest.mark.parametrize("in_batch", [False, True])
def test_step_equals_the_direct_computation(world, naive, in_batch):
    simgcl = world("simgcl", n_layers=2, cl_weight=0.3, cl_tau=0.2, eps=0.5, cl_in_batch=in_batch)
    nodes, losses = simgcl.step()
    generator = torch.Generator().manual_seed(1)
    clean = sum(naive.layers(simgcl.adjacency, simgcl.table, 2))
    first, second = (perturbed(simgcl, generator) for _ in range(2))
    users, items = second.split([6, 5])
    if in_batch:
        users, items = users[[0, 2, 3, 5]], items[[0, 1, 2, 3]]
    terms = list(zip(simgcl.gathered(first), simgcl.gathered(second), (users, items, None), strict=True))
    simgcl.check(nodes, clean)
    simgcl.check(losses["bpr"], simgcl.bpr(clean))
    simgcl.check(losses["cl"], 0.3 * sum(naive.nce(*term, 0.2) for term in terms[:2]))


def test_noise_is_as_long_as_eps_and_points_away_from_zero(world):
    simgcl = world("simgcl", n_layers=1, eps=0.7)
    view = simgcl.model._view(simgcl.table, torch.Generator().manual_seed(2))
    noise = view - simgcl.model.encode(simgcl.table)
    torch.testing.assert_close(noise.norm(dim=1), torch.full((11,), 0.7, dtype=torch.float64))
    assert (noise.sign() == (simgcl.adjacency @ simgcl.table).sign()).all()
    assert (F.normalize(noise, dim=1)[0] != F.normalize(noise, dim=1)[1]).any()


def test_ranks_by_the_clean_layers(world, naive):
    simgcl = world("simgcl", n_layers=3)
    simgcl.check(simgcl.model.encode(simgcl.table), sum(naive.layers(simgcl.adjacency, simgcl.table, 3)))
