import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.ranking.recommender import Recommender
from rlmrec_core.split import Edges
from rlmrec_core.vectors import Vectors


def made(users, items, pairs) -> Recommender:
    pairs = sorted(pairs)
    user, item = (np.array([pair[side] for pair in pairs], np.int32) for side in (0, 1))
    return Recommender(Vectors(np.array(users, np.float32), np.array(items, np.float32)), Edges(user, item))


def test_by_hand():
    one = made([[1, 0], [0, 1]], [[3, 0], [2, 1], [0, 2], [1, 0]], [(0, 0), (1, 2)])
    answer = one.for_user(0, 2)
    assert answer.items.tolist() == [1, 3]
    assert answer.scores.tolist() == [2, 1]
    assert one.for_user(1, 9).items[0] == 1
    assert set(one.for_user(1, 9).items.tolist()) == {0, 1, 3}  # item 2 is known
    assert one.similar(0, 2).items.tolist() == [3, 1]  # itself left out, length does not count
    assert one.similar(0, 1).scores.tolist() == [1]
    assert one.for_items([0, 0], 1).items.tolist() == [1]
    with pytest.raises(ValueError, match="one item at least"):
        one.for_items([], 3)


def test_a_frequent_item_tells_less_about_somebody_new():
    vectors = [[1, 0], [0, 1], [1, 0.1], [0.1, 1]]
    one = made([[1, 1]] * 9, vectors, [(user, 0) for user in range(9)])
    assert one.for_items([0, 1], 2).items.tolist() == [3, 2]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 12), st.integers(1, 40))
def test_equals_sorting_everything(seed, n_items, n_users, k):
    rng = np.random.default_rng(seed)
    users, items = (rng.integers(-2, 3, (n, 3)).astype(np.float32) for n in (n_users, n_items))
    taken = [(u, i) for u in range(n_users) for i in range(n_items) if rng.random() < 0.3]
    one = made(users, items, taken)
    for user in range(n_users):
        known = {i for u, i in taken if u == user}
        scores = items @ users[user]
        expected = sorted((i for i in range(n_items) if i not in known), key=lambda i: (-scores[i], i))[:k]
        answer = one.for_user(user, k)
        assert sorted(answer.scores.tolist(), reverse=True) == answer.scores.tolist()
        assert answer.scores.tolist() == [scores[i] for i in expected]
        assert not known & set(answer.items.tolist())
