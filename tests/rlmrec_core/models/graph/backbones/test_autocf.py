import pytest
import torch
import torch.nn.functional as F

from rlmrec_core.models.graph.backbones import build_backbone
from rlmrec_core.models.graph.backbones.autocf import AutoCFSettings


def attention(model, mask, nodes):
    """Every head's softmax over the columns where `mask` is true, logits clamped."""
    outputs = []
    width = nodes.shape[1] // model.n_heads
    for head in range(model.n_heads):
        part = slice(head * width, (head + 1) * width)
        query, key, value = (nodes @ weight[:, part] for weight in (model.query, model.key, model.value))
        logits = (query @ key.T).clamp(-10, 10)
        outputs.append(logits.masked_fill(~mask, -torch.inf).softmax(1).nan_to_num(0) @ value)
    return torch.cat(outputs, dim=1)


def direct(world, encoder, mask, n_layers=2):
    encoded = [torch.linalg.matrix_power(encoder, layer) @ world.table for layer in range(n_layers + 1)]
    return sum(encoded) + attention(world.model, mask, encoded[-1])


def mask_of(pattern):
    mask = torch.zeros(11, 11, dtype=torch.bool)
    mask[pattern.row, pattern.col] = True
    return mask


@pytest.fixture
def autocf(world):
    return world("autocf", n_layers=2, n_heads=4, ssl_weight=0.3, n_seeds=1, extra_nodes=0.2)


def test_inference_encodes_and_decodes_on_the_full_graph(autocf):
    autocf.check(autocf.model.encode(autocf.table), direct(autocf, autocf.adjacency, autocf.edges > 0))


def test_large_logits_are_clamped(autocf):
    with torch.no_grad():
        autocf.model.query.mul_(100)
    autocf.check(autocf.model.encode(autocf.table), direct(autocf, autocf.adjacency, autocf.edges > 0))


def test_step_equals_the_direct_computation(autocf, naive):
    nodes, losses = autocf.step()
    masked = autocf.model._masked
    expected = direct(autocf, naive.dense(masked.encoder), mask_of(masked.decoder))
    autocf.check(nodes, expected)
    users, items = expected.split([6, 5])
    batch_users, positives, _ = autocf.gathered(expected)
    fit = -(batch_users * positives).sum(1).mean() + (batch_users @ items.T).exp().sum(1).log().mean()
    autocf.check(losses["fit"], fit)
    distinct = users[autocf.batch.users.unique()], items[autocf.batch.positives.unique()]
    ssl = sum((part @ side.T).exp().sum(1).log().mean() for part, side in zip(distinct, (users, items), strict=True))
    autocf.check(losses["ssl"], 0.3 * ssl)


def test_infomax_is_the_agreement_with_the_neighbourhood(autocf):
    edges, table = autocf.edges, autocf.table
    walks = edges @ edges
    walks.fill_diagonal_(0)
    neighbourhood = (edges + walks) @ table / (edges + walks).sum(1, keepdim=True)
    expected = -F.logsigmoid(F.cosine_similarity(table, neighbourhood)).mean()
    autocf.check(autocf.step().losses["infomax"], expected)


def test_edges_around_seeds_and_their_neighbours_are_hidden(autocf, naive):
    edges = autocf.edges > 0
    for seed in range(11):
        scores = torch.full((11,), -1e9).index_fill(0, torch.tensor(seed), 0.0)
        encoder, decoder = autocf.model._mask(scores, torch.Generator().manual_seed(seed))
        touched = edges[seed].clone()
        touched[seed] = True
        kept = edges & ~touched[:, None] & ~touched
        assert torch.equal(naive.dense(encoder) > 0, kept)
        mask = mask_of(decoder)
        assert mask.diagonal().all()
        assert torch.equal(mask, mask.T)
        assert (mask | ~kept).all()
        extra = (mask & ~kept).fill_diagonal_(False)
        assert int((extra.any(1) & ~touched).sum()) <= 2  # a share of 0.2 of eleven nodes


def test_the_graph_is_masked_anew_every_so_many_steps_and_every_epoch(world):
    autocf = world("autocf", mask_every=2, n_seeds=1)
    generator = torch.Generator().manual_seed(0)

    def step():
        infomax = autocf.model.step(autocf.table, autocf.batch, generator).losses["infomax"]
        return autocf.model._masked, infomax.item() != 0

    autocf.model.begin_epoch()
    (first, scored), (second, kept), (third, again) = (step() for _ in range(3))
    assert (scored, kept, again) == (True, False, True)
    assert first is second
    assert first is not third
    autocf.model.begin_epoch()
    assert step()[1]


def test_needs_no_negatives_and_a_size_its_heads_divide(autocf):
    assert not autocf.model.samples_negatives
    autocf.batch = autocf.batch._replace(negatives=None)
    assert torch.isfinite(autocf.step().losses["fit"])
    with pytest.raises(ValueError, match="3 heads do not divide an embedding size of 8"):
        build_backbone("autocf", autocf.model.graph, 8, torch.Generator(), AutoCFSettings(n_heads=3))
