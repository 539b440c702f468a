import numpy as np
import pytest

from rlmrec_core.ranking.cold_start import ColdItems, TextMap, best_new, into_space, measure_items, measure_users
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Edges, Split
from rlmrec_core.vectors import SemanticEmbeddings, Vectors


def split_of(n_users, n_items, pairs) -> Split:
    user, item = (np.array([pair[side] for pair in sorted(pairs)], np.int32) for side in (0, 1))
    nothing = Edges(user[:0], item[:0])
    return Split(n_users, n_items, Edges(user, item), nothing, nothing)


@pytest.fixture
def world():
    """Vectors that are a linear image of what is said of the items, but for a little noise."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(12, 4))
    said = rng.normal(size=(90, 12)).astype(np.float32)
    vectors = (said @ image + 0.01 * rng.normal(size=(90, 4))).astype(np.float32)
    users = rng.normal(size=(30, 4)).astype(np.float32)
    return said, vectors, users


def test_a_linear_world_is_found_again(world):
    said, vectors, _ = world
    placed = into_space(said[:60], vectors[:60], np.ones(60, np.int64), said[60:])
    assert np.abs(placed - vectors[60:]).max() < 0.1


def test_items_without_a_text_teach_nothing_and_get_no_place(world):
    said, vectors, users = world
    known, new = said[:60].copy(), said[60:].copy()
    known[::2], new[3] = 0, 0
    assert np.array_equal(
        into_space(known, vectors[:60], np.ones(60, np.int64), new),
        into_space(known[1::2], vectors[1:60:2], np.ones(30, np.int64), new),
    )
    placed = into_space(known, vectors[:60], np.ones(60, np.int64), new)
    assert not placed[3].any()
    assert 3 not in best_new(users, placed, 30).items
    assert not into_space(known[:5], vectors[:5], np.ones(5, np.int64), new).any()


def test_a_map_is_learnt_from_a_sample_of_many(world, monkeypatch):
    said, vectors, _ = world
    monkeypatch.setattr("rlmrec_core.ranking.cold_start._MOST", 40)
    some = TextMap.learn(said, vectors, np.ones(90, np.int64))
    assert np.array_equal(some.coefficients, TextMap.learn(said, vectors, np.ones(90, np.int64)).coefficients)
    assert np.abs(some.place(said) - vectors).max() < 0.1
    assert not np.array_equal(some.coefficients, TextMap.learn(said[:40], vectors[:40], np.ones(40)).coefficients)
    assert TextMap.learn(said[:5], vectors[:5], np.ones(5)) is None


def test_lists_of_new_items_are_those_of_sorting(world):
    _, vectors, users = world
    found = best_new(users, vectors[:7], 9)
    scores = users @ vectors[:7].T
    assert np.array_equal(found.items[:, :7], np.argsort(-scores, axis=1))
    assert (found.items[:, 7:] == PADDING).all()
    assert (best_new(users, np.zeros((3, 4), np.float32), 2).items == PADDING).all()


def test_recall_of_cold_items_by_hand(world):
    said, vectors, users = world
    split = split_of(30, 60, [(user, item) for user in range(30) for item in range(user, 60, 30)])
    scores = users @ vectors[60:].T
    best = np.argsort(-scores, axis=1)
    pairs = [(user, int(best[user, rank])) for user in range(0, 30, 3) for rank in (0, 8)]
    cold = ColdItems(said[60:], *(np.array([pair[side] for pair in pairs], np.int32) for side in (0, 1)))
    semantic = SemanticEmbeddings(said[:30], said[:60])
    rows = measure_items(split, cold, {"model": Vectors(users, vectors[:60])}, semantic, (5, 10)).to_pylist()
    found = {(row["label"], row["k"]): row["recall"] for row in rows}
    assert found["model", 10] == 1
    assert 0.4 <= found["model", 5] <= 0.6  # the first of both, and by the noise perhaps the ninth
    assert found["random", 10] == pytest.approx(10 / 30)
    assert {row["users"] for row in rows} == {10}
    assert {label for label, _ in found} == {"model", "semantic", "popularity", "random"}


def test_recall_of_cold_users_by_hand():
    items = np.eye(4, dtype=np.float32).repeat(3, axis=0)  # three items of each of four kinds
    split = split_of(2, 12, [(0, 0), (1, 0), (1, 3)])
    histories = [np.array([1, 2]), np.array([4, 3, 5, 9]), np.array([7])]
    rows = measure_users(split, histories, {"model": Vectors(np.ones((2, 4), np.float32), items)}, (1, 2)).to_pylist()
    found = {(row["label"], row["k"]): row["recall"] for row in rows}
    assert found["model", 2] == pytest.approx((1 + 0.5) / 2)  # of the second, item 5 is of the kind of 3 and 4
    assert found["popularity", 2] == 0
    assert {row["users"] for row in rows} == {2}
