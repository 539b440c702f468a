"""AlphaRec and Weft, which read the semantic vectors, against their formulas on dense matrices."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rlmrec_core.config import TrainConfig
from rlmrec_core.models.graph import fit
from rlmrec_core.models.graph.backbones import Batch, backbone_class, build_backbone
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.split import Edges, Split
from rlmrec_core.vectors import SemanticEmbeddings

NAMES = ("alpharec", "weft")


def world():
    """Five users, six items; item 5 is in nobody's train part, item 2 has no text, user 4 only item 2."""
    user, item = np.array([[0, 0], [0, 1], [1, 1], [1, 3], [2, 0], [2, 4], [3, 2], [3, 3], [4, 2]], np.int32).T
    nothing = Edges(user[:0], item[:0])
    vectors = np.random.default_rng(0).normal(size=(11, 8)).astype(np.float32)
    vectors[5 + 2] = 0
    return Split(5, 6, Edges(user, item), nothing, nothing), SemanticEmbeddings(vectors[:5], vectors[5:])


def build(name, **hyper):
    split, semantic = world()
    settings = backbone_class(name).Settings(**hyper)
    return build_backbone(name, Graph.from_split(split), 4, torch.Generator().manual_seed(0), settings, semantic)


def adjacency(split):
    edges = torch.zeros(11, 11)
    user, item = (torch.from_numpy(ids).long() for ids in split.train)
    edges[user, item + 5] = edges[item + 5, user] = 1
    scale = edges.sum(1).clamp_min(1).rsqrt()
    return scale[:, None] * edges * scale


def test_alpharecs_users_enter_as_the_mean_of_their_items_texts():
    model, (split, semantic) = build("alpharec"), world()
    of_user = [semantic.items[split.train.item[split.train.user == user]] for user in range(5)]
    means = [rows[rows.any(axis=1)].mean(axis=0) if rows.any() else np.zeros(8) for rows in of_user]
    wanted = torch.from_numpy(np.concatenate([np.stack(means), semantic.items]).astype(np.float32))
    torch.testing.assert_close(model.texts, wanted)
    torch.testing.assert_close(model.initial(), model.mapping(wanted))


@pytest.mark.parametrize(("n_components", "kept"), [(2, 2), (100, 4)])
def test_wefts_texts_are_whitened_and_added_to_the_ids(n_components, kept):
    model, (_, semantic) = build("weft", n_components=n_components), world()
    known = [0, 1, 3, 4, 5]
    users, items = model.texts.split([5, 6])
    texts = items[known].double()
    assert texts.shape == (5, kept), "five texts differ in four directions"
    torch.testing.assert_close(texts.mean(0), torch.zeros(kept, dtype=torch.float64), atol=1e-6, rtol=0)
    spread = texts.T @ texts / 5
    torch.testing.assert_close(spread, torch.eye(kept, dtype=torch.float64) / kept, atol=1e-5, rtol=0)
    centred = torch.from_numpy(semantic.items[known] - semantic.items[known].mean(0)).double()
    principal = torch.linalg.svd(centred).Vh[:kept]
    components = principal.T @ torch.linalg.lstsq(centred @ principal.T, texts).solution
    torch.testing.assert_close(centred @ components, texts, atol=1e-5, rtol=1e-5, msg="outside the components")
    assert not items[2].any(), "a missing text is the mean one"
    of_users = (torch.from_numpy(semantic.users - semantic.items[known].mean(0)).double() @ components).float()
    torch.testing.assert_close(users, of_users, atol=1e-5, rtol=1e-5, msg="users are read in the items' components")
    torch.testing.assert_close(model.initial(), model.table + model.mapping(model.texts))


@pytest.mark.parametrize("same", ["all", "all but rounding", "one"])
def test_weft_learns_from_ids_where_texts_do_not_differ(same):
    split, semantic = world()
    rng = np.random.default_rng(0)
    items = np.full_like(semantic.items, 0.5)
    if same == "all but rounding":
        items += (1e-8 * rng.normal(size=items.shape)).astype(np.float32)
    if same == "one":
        items[1:] = 0
    texts = SemanticEmbeddings(semantic.users, items)
    settings = TrainConfig(backbones=("weft",), variants=("base",), max_epochs=2, embedding_size=4).runs()[0]
    fitted = fit(split, settings, texts)
    assert all(np.isfinite(side).all() for side in (fitted.user_vectors, fitted.item_vectors))
    assert fitted.item_vectors.any()


def test_a_step_of_weft_leaves_out_a_share_of_the_ids_and_never_of_the_texts():
    model, mapped = build("weft", dropout=0.4), build("weft", dropout=0).mapping
    with torch.no_grad():
        model.table.fill_(3)
    free = model.initial(torch.Generator().manual_seed(1)) - mapped(model.texts)
    left_out = free.isclose(torch.tensor(0.0), atol=1e-5)
    torch.testing.assert_close(free[~left_out], torch.full_like(free[~left_out], 3 / 0.6))
    assert 0 < left_out.sum() < free.numel()
    drawn = [model.initial(torch.Generator().manual_seed(seed)) for seed in range(2000)]
    torch.testing.assert_close(torch.stack(drawn).mean(0), model.initial(), atol=0.25, rtol=0)
    whole = build("weft", dropout=0)
    assert torch.equal(whole.initial(torch.Generator()), whole.initial())


def test_wefts_step_does_not_see_the_pairs_that_it_asks_for():
    model, (split, _) = build("weft", n_layers=2), world()
    batch = Batch(torch.tensor([0, 3, 3]), torch.tensor([0, 2, 2]), None)
    table, whole = torch.randn(11, 4), adjacency(split)
    rest = whole.clone()
    for user, item in ((0, 0), (3, 2)):
        rest[user, 5 + item] = rest[5 + item, user] = 0
    assert (rest != whole).sum() == 4
    nodes = model.step(table, batch, torch.Generator()).nodes
    torch.testing.assert_close(nodes, table + rest @ table + rest @ rest @ table)


@pytest.mark.parametrize(("name", "length"), [("alpharec", 0), ("weft", 0), ("weft", 0.3), ("weft", 1)])
def test_encode_is_the_sum_of_layers_with_lengths_to_a_power(name, length):
    model, (split, _) = build(name, n_layers=2, **({"length": length} if name == "weft" else {})), world()
    table, step = torch.randn(11, 4), adjacency(split)
    nodes = table + step @ table + step @ step @ table
    lengths = nodes.norm(dim=1, keepdim=True)
    wanted = torch.cat([(nodes / lengths)[:5], (nodes / lengths * lengths**length)[5:]])
    torch.testing.assert_close(model.encode(table), wanted)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_negatives", [4, 5, 100])
def test_a_step_ranks_each_positive_above_the_drawn_items_or_all(name, n_negatives):
    model = build(name, n_negatives=n_negatives, tau=0.3)
    batch = Batch(torch.tensor([0, 3, 3]), torch.tensor([0, 2, 3]), None)
    nodes, losses = model.step(model.initial(), batch, torch.Generator().manual_seed(5))
    negatives = torch.arange(5)
    if n_negatives < 5:
        negatives = negatives[torch.randint(5, (n_negatives,), generator=torch.Generator().manual_seed(5))]
    unit = F.normalize(nodes, dim=1)
    wanted = []
    for user, item in zip(batch.users, batch.positives, strict=True):
        scores = unit[5 + torch.cat([item[None], negatives])] @ unit[user] / 0.3
        wanted.append(F.cross_entropy(scores[None], torch.tensor([0])))
    torch.testing.assert_close(losses["softmax"], torch.stack(wanted).mean())


def test_an_item_that_train_does_not_have_is_no_negative_and_has_no_residual():
    model = build("weft")
    assert model.known_items.tolist() == [0, 1, 2, 3, 4]
    assert not model.table[5 + 5].any() and model.table[:10].any(dim=1).all()


@pytest.mark.parametrize("name", NAMES)
def test_items_without_interactions_stand_where_their_texts_put_them(name, checkerboard, colours):
    nothing = Edges(*(side[:0] for side in checkerboard.train))  # no validation: the last epoch is kept
    split = Split(40, 64, checkerboard.train, nothing, nothing)
    unknown = np.concatenate([colours.items[:3], np.zeros((1, 8), np.float32)])
    semantic = SemanticEmbeddings(colours.users, np.concatenate([colours.items, unknown]))
    settings = TrainConfig(max_epochs=12, embedding_size=8, batch_size=240, learning_rate=0.02).run(name, "base", 1)
    found = fit(split, settings, semantic)
    scores = found.user_vectors @ found.item_vectors[60:63].T
    even = np.arange(40) % 2 == 0
    colour = np.arange(3) % 2 == 0
    assert scores[even][:, colour].min() > scores[even][:, ~colour].max()
    assert scores[~even][:, ~colour].min() > scores[~even][:, colour].max()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_is_what_the_key_says(name, checkerboard, colours):
    quick = {"max_epochs": 3, "embedding_size": 8}
    settings = TrainConfig(**quick).run(name, "base", 1)
    assert settings.reads_semantics
    control = TrainConfig(**quick, backbone_settings={name: {"shuffle": True}}).run(name, "base", 1)
    assert control.model_id != settings.model_id
    read, shuffled = (fit(checkerboard, run, colours).item_vectors for run in (settings, control))
    assert not np.array_equal(read, shuffled)
    by_hand = fit(checkerboard, settings, colours.shuffled(1)).item_vectors
    assert np.array_equal(by_hand, shuffled)
    with pytest.raises(ValueError, match=f"backbone '{name}' needs semantic vectors; run the embed stage"):
        fit(checkerboard, settings)
