"""Far neighbours against a brute force over all pairs of users."""

import numpy as np
import pyarrow as pa
import pytest

from rlmrec_core.experiments import far_neighbours
from rlmrec_core.experiments.far_neighbours import FarNeighbours, rows_of, sheet
from rlmrec_core.experiments.sheet import markdown
from rlmrec_core.model_id import ModelId
from rlmrec_core.split import Edges, Split

N_USERS, N_ITEMS = 30, 20
RNG = np.random.default_rng(5)
TAKEN = RNG.random((N_USERS, N_ITEMS)) < 0.08
TAKEN[3] = False  # nobody's neighbour
TEXTS = RNG.normal(size=(N_USERS, 6)).astype(np.float32)
TEXTS[7] = 0  # without a text
VECTORS = RNG.normal(size=(N_USERS, 4)).astype(np.float32)


def split(taken):
    users, items = (side.astype(np.int32) for side in np.nonzero(taken))
    none = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32))
    return Split(*taken.shape, Edges(users, items), none, none)


def cosine(vectors, one, other):
    return float(vectors[one] @ vectors[other] / np.linalg.norm(vectors[one]) / np.linalg.norm(vectors[other]))


def far(user):
    return [other for other in range(N_USERS) if TAKEN[other].any() and not (TAKEN[user] & TAKEN[other]).any()]


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(far_neighbours, "_CHUNK", 7)
    return FarNeighbours.find(split(TAKEN), TEXTS, seed=1, nearest=3)


def test_the_nearest_by_text_of_those_who_share_no_item(found):
    assert sorted(found.users.tolist()) == [user for user in range(N_USERS) if user != 7 and TAKEN[user].any()]
    for user, places, cosines in zip(found.users, found.nearest, found.cosines, strict=True):
        with_text = [other for other in far(user) if other != 7]
        expected = sorted(with_text, key=lambda other: -cosine(TEXTS, user, other))[:3]
        assert places.tolist() == expected
        assert cosines == pytest.approx([cosine(TEXTS, user, other) for other in expected], abs=1e-5)


def test_ranks_are_among_all_who_share_no_item(found):
    ranks, cosines, totals = found.ranks(VECTORS)
    for user, places, own, near, total in zip(found.users, found.nearest, ranks, cosines, totals, strict=True):
        order = sorted(far(user), key=lambda other: -cosine(VECTORS, user, other))
        assert own.tolist() == [order.index(place) + 1 for place in places]
        assert near == pytest.approx([cosine(VECTORS, user, place) for place in places], abs=1e-5)
        assert total == len(order)


def test_equal_scores_share_their_places(found):
    ranks, _, totals = found.ranks(np.ones((N_USERS, 2), np.float32))
    assert ranks == pytest.approx(np.repeat((totals[:, None] + 1) / 2, 3, axis=1))


def test_a_sample_is_drawn_by_the_seed():
    sampled = [FarNeighbours.find(split(TAKEN), TEXTS, seed=seed, sampled=5).users.tolist() for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2] and len(sampled[0]) == 5


def test_nobody_is_far_where_all_share_an_item():
    with pytest.raises(ValueError, match="every two users share a train item"):
        FarNeighbours.find(split(np.ones((4, 2), bool)), np.eye(4, dtype=np.float32), seed=1)


def test_fewer_neighbours_than_wanted():
    taken = np.eye(3, dtype=bool)
    few = FarNeighbours.find(split(taken), np.eye(3, dtype=np.float32) + 0.1, seed=1, nearest=5)
    assert few.nearest.shape == (3, 3) and (few.nearest >= 0).sum() == 6
    ranks, cosines, _ = few.ranks(np.eye(3, dtype=np.float32))
    assert np.isnan(ranks).sum() == np.isnan(cosines).sum() == 3


def test_the_case_is_the_pair_most_alike(found):
    base, con = (ModelId("lightgcn", name, 1, name) for name in ("base", "con"))
    ids = [f"user {user}" for user in range(N_USERS)]
    rows = rows_of(found, {base: VECTORS, con: TEXTS}, {base: "lightgcn base", con: "lightgcn con"}, ids).to_pylist()
    best = max((cosine(TEXTS, user, other), user, other) for user in found.users for other in far(user) if other != 7)
    assert {rows[0]["case_user"], rows[0]["case_neighbour"]} == {ids[best[1]], ids[best[2]]}
    assert rows[0]["case_text_cosine"] == pytest.approx(best[0], abs=1e-5)
    # A model whose vectors are the texts ranks the nearest first, but for the one without a text.
    assert rows[1]["case_rank"] == 1 and rows[1]["mean_rank"] <= 2.5 < rows[0]["mean_rank"]
    shown = markdown(sheet(pa.Table.from_pylist(rows, schema=far_neighbours.FAR_NEIGHBOURS)))
    assert "| lightgcn con | 2." in shown and f"{rows[0]['case_user']} and {rows[0]['case_neighbour']}" in shown
