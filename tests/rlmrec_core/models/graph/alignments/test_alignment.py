"""Con, Gen and KAR against direct computations of the papers' equations, term by term, nothing de-duplicated."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rlmrec_core.models.graph.alignments import (
    Alignment,
    ContrastiveAlignment,
    ContrastiveSettings,
    GenerativeAlignment,
    GenerativeSettings,
    KnowledgeAugmentation,
    KnowledgeSettings,
)
from rlmrec_core.models.graph.backbones import Batch
from rlmrec_core.vectors import SemanticEmbeddings

N_USERS, N_ITEMS, WIDTH = 9, 7, 4
WEIGHT, TAU = 0.3, 0.2


@pytest.fixture
def semantic():
    rng = np.random.default_rng(1)
    return SemanticEmbeddings(rng.normal(size=(N_USERS, 6)).astype("f4"), rng.normal(size=(N_ITEMS, 6)).astype("f4"))


@pytest.fixture
def nodes():
    return torch.randn(N_USERS + N_ITEMS, WIDTH, generator=torch.Generator().manual_seed(2), requires_grad=True)


@pytest.fixture
def batch():
    return Batch(torch.tensor([3, 0, 3, 8, 3]), torch.tensor([1, 1, 6, 2, 0]), torch.tensor([5, 4, 4, 4, 1]))


def generator():
    return torch.Generator().manual_seed(3)


def contrastive(semantic, in_batch=False):
    settings = ContrastiveSettings(weight=WEIGHT, tau=TAU, in_batch=in_batch)
    return ContrastiveAlignment(semantic, WIDTH, settings, generator())


def generative(semantic, ratio=0.3):
    settings = GenerativeSettings(weight=WEIGHT, tau=TAU, mask_ratio=ratio)
    return GenerativeAlignment(semantic, WIDTH, WIDTH, settings, generator())


def knowledge(semantic, **changes):
    settings = KnowledgeSettings(**({"n_shared": 2, "n_own": 3, "hidden": 5, "size": 4} | changes))
    return KnowledgeAugmentation(semantic, settings, generator())


def nce(anchors, positives, keys):
    cosine = F.cosine_similarity(anchors[:, None], keys[None], dim=2) / TAU
    return (-F.cosine_similarity(anchors, positives) / TAU + cosine.exp().sum(1).log()).mean()


def loss_and_gradient(compute, nodes):
    loss = compute()
    (gradient,) = torch.autograd.grad(loss, nodes, retain_graph=True)
    return loss, gradient


@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("with_negatives", [True, False])
def test_con_equals_the_direct_computation(semantic, nodes, batch, with_negatives, in_batch):
    alignment = contrastive(semantic, in_batch)
    batch = batch if with_negatives else batch._replace(negatives=None)

    def direct():
        users, items = nodes[:N_USERS], nodes[N_USERS:]
        s_users = alignment.adapter(torch.from_numpy(semantic.users))
        s_items = alignment.adapter(torch.from_numpy(semantic.items))
        loss = nce(users[batch.users], s_users[batch.users], s_users[batch.users] if in_batch else s_users)
        for ids in batch[1:]:
            if ids is not None:
                loss = loss + nce(items[ids], s_items[ids], s_items[ids])
        return WEIGHT * loss

    entry = alignment.enter(nodes, generator())
    found = loss_and_gradient(lambda: alignment.losses(nodes, batch, entry)["align"], nodes)
    for mine, theirs in zip(found, loss_and_gradient(direct, nodes), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_con_trains_its_adapter(semantic, nodes, batch):
    alignment = contrastive(semantic)
    alignment.losses(nodes, batch, alignment.enter(nodes, generator()))["align"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in alignment.adapter.parameters())


def test_gen_equals_the_direct_computation(semantic, nodes, batch):
    alignment = generative(semantic)
    entry = alignment.enter(nodes, generator())
    vectors = torch.from_numpy(np.concatenate([semantic.users, semantic.items]))

    def direct():
        rebuilt = alignment.adapter(nodes[entry.masked])
        return WEIGHT * nce(rebuilt, vectors[entry.masked], vectors[entry.masked])

    found = loss_and_gradient(lambda: alignment.losses(nodes, batch, entry)["align"], nodes)
    for mine, theirs in zip(found, loss_and_gradient(direct, nodes), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_gen_masks_its_share_of_nodes_with_the_token(semantic, nodes):
    alignment = generative(semantic)
    torch.nn.init.constant_(alignment.token, 7.0)
    table, masked = alignment.enter(nodes, generator())
    assert len(masked) == len(masked.unique()) == int(0.3 * (N_USERS + N_ITEMS))
    is_masked = torch.zeros(len(nodes), dtype=torch.bool).index_fill(0, masked, True)
    assert torch.equal(table[~is_masked], nodes[~is_masked])
    assert (table[is_masked] == 7).all()
    table.sum().backward()
    assert torch.equal(alignment.token.grad, torch.full((1, WIDTH), float(len(masked))))
    assert (nodes.grad[is_masked] == 0).all()


def test_gen_starts_from_a_zero_token_and_draws_anew(semantic, nodes):
    alignment, random = generative(semantic), generator()
    assert alignment.token.count_nonzero() == 0
    first, second = (set(alignment.enter(nodes, random).masked.tolist()) for _ in range(2))
    assert first != second


def test_nodes_without_a_vector_take_no_part(semantic, nodes, batch):
    semantic.users[3], semantic.items[4] = 0, 0
    alignment = contrastive(semantic)
    loss = alignment.losses(nodes, batch, alignment.enter(nodes, generator()))["align"]
    (gradient,) = torch.autograd.grad(loss, nodes)
    assert gradient[3].count_nonzero() == gradient[N_USERS + 4].count_nonzero() == 0
    assert gradient[8].count_nonzero() > 0
    masked = generative(semantic, ratio=0.99).enter(nodes, generator()).masked.tolist()
    assert len(masked) == 13
    assert 3 not in masked
    assert N_USERS + 4 not in masked


def test_a_batch_without_any_vector_costs_nothing(semantic, nodes):
    semantic.users[3] = 0
    alignment = contrastive(semantic)
    batch = Batch(torch.tensor([3]), torch.tensor([0]), None)
    only_user = alignment.losses(nodes, batch, alignment.enter(nodes, generator()))["align"]
    assert torch.isfinite(only_user)


@pytest.mark.parametrize("ratio", [None, 0.5])
def test_bfloat16_only_rounds(semantic, nodes, batch, ratio):
    """Con and Gen, on the same draws: loss and gradient near float32's, weights in float32."""
    kind = ContrastiveAlignment if ratio is None else GenerativeAlignment
    sizes = (WIDTH,) if ratio is None else (WIDTH, WIDTH)
    found = []
    for bf16 in (False, True):
        if ratio is None:
            settings = ContrastiveSettings(weight=1, tau=TAU, bf16=bf16)
        else:
            settings = GenerativeSettings(weight=1, tau=TAU, mask_ratio=ratio, bf16=bf16)
        alignment = kind(semantic, *sizes, settings, generator())
        entry = alignment.enter(nodes, generator())
        found.append(loss_and_gradient(lambda: alignment.losses(nodes, batch, entry)["align"], nodes))  # noqa: B023
        assert all(parameter.dtype == torch.float32 for parameter in alignment.parameters())
    for exact, rounded in zip(*found, strict=True):
        torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0.05)
        assert rounded.dtype == torch.float32
        assert not torch.equal(rounded, exact)


def expert_by_expert(alignment, semantic):
    """KAR's vectors of one node and one expert after the other."""
    rows = []
    for tower, vectors in ((alignment.users, semantic.users), (alignment.items, semantic.items)):
        both = [
            (experts, place) for experts in (alignment.shared, tower.experts) for place in range(len(experts.second))
        ]
        for vector in torch.from_numpy(vectors):
            shares = (tower.gate.weight @ vector + tower.gate.bias).softmax(dim=0)
            total = torch.zeros(4)
            for (experts, place), share in zip(both, shares, strict=True):
                hidden = slice(place * 5, place * 5 + 5)
                inner = F.relu(experts.first[hidden] @ vector + experts.first_bias[hidden])
                total = total + share * F.relu(inner @ experts.second[place] + experts.second_bias[place, 0])
            rows.append(total if vector.any() else torch.zeros(4))
    return torch.stack(rows)


@pytest.mark.parametrize("n_shared", [0, 2])
@pytest.mark.parametrize("missing", [False, True])
def test_kar_equals_one_expert_after_the_other(semantic, nodes, n_shared, missing):
    if missing:
        semantic.users[3], semantic.items[4] = 0, 0
    alignment = knowledge(semantic, n_shared=n_shared)
    for name, parameter in alignment.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, generator=generator())
    weights = torch.randn(len(nodes), 2 * WIDTH, generator=generator())
    parameters = [nodes, *(own for own in alignment.parameters() if own.numel())]
    expected = torch.cat([nodes, expert_by_expert(alignment, semantic)], dim=1)
    found = alignment.enter(nodes, generator()).table
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad((table * weights).sum(), parameters) for table in (found, expected))
    for mine, theirs in zip(*gradients, strict=True):
        assert mine.count_nonzero() > 0
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_kar_propagates_the_same_in_training_and_inference_and_has_no_loss(semantic, nodes, batch):
    alignment = knowledge(semantic)
    entry = alignment.enter(nodes, generator())
    assert torch.equal(entry.table, alignment.whole(nodes))
    assert alignment.losses(nodes, batch, entry) == {}
    assert not any("vectors" in name or "known" in name for name in alignment.state_dict())
    rounded = knowledge(semantic, bf16=True).whole(nodes)
    torch.testing.assert_close(rounded, entry.table, atol=0.05, rtol=0.05)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, entry.table)


def test_base_changes_nothing(nodes, batch):
    alignment = Alignment()
    entry = alignment.enter(nodes, generator())
    assert entry.table is nodes
    assert alignment.losses(nodes, batch, entry) == {}
    assert not list(alignment.parameters())


def test_semantic_vectors_stay_out_of_the_weights(semantic):
    assert all(name.startswith("adapter.") for name in contrastive(semantic).state_dict())
    assert set(generative(semantic).state_dict()) - {"token"} == set(contrastive(semantic).state_dict())


def test_shuffling_permutes_rows(semantic):
    control = semantic.shuffled(seed=5)
    assert not np.array_equal(control.users, semantic.users)
    assert sorted(map(tuple, control.users)) == sorted(map(tuple, semantic.users))
    np.testing.assert_array_equal(control.items, semantic.shuffled(seed=5).items)


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (np.full((2, 3), np.nan), np.ones((2, 3)), "some users are not finite"),
        (np.ones((2, 3)), np.zeros((2, 3)), "no item has a semantic vector"),
        (np.ones((2, 3)), np.ones((2, 4)), "user vectors have 3 components, item vectors 4"),
    ],
)
def test_unusable_vectors_are_refused(users, items, message):
    with pytest.raises(ValueError, match=message):
        SemanticEmbeddings(users.astype("f4"), items.astype("f4"))
