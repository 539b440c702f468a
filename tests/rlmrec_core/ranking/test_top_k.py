from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.device import CPU, forced
from rlmrec_core.ranking import top_k as ranker
from rlmrec_core.ranking.top_k import PADDING, top_k


def vectors(split, seed, width=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(split.n_users, width)).astype("f4"), rng.normal(size=(split.n_items, width)).astype("f4")


def naive_top_k(split, users, items, k, parts):
    lists = []
    for user in range(split.n_users):
        known = {int(i) for part in parts for u, i in zip(part.user, part.item, strict=True) if u == user}
        left = [item for item in range(split.n_items) if item not in known]
        left.sort(key=lambda item: -float(users[user] @ items[item]))
        lists.append((left + [PADDING] * k)[:k])
    return np.array(lists)


@pytest.mark.parametrize("exclude", ["train", "all"])
@settings(max_examples=20, deadline=None)
@given(
    k=st.integers(1, 25),
    seed=st.integers(0, 1000),
    chunk=st.sampled_from([20, 100, 1 << 22]),
    block=st.sampled_from([1, 3, 16]),
)
def test_equals_sorting_one_user_at_a_time(checkerboard, exclude, k, seed, chunk, block):
    users, items = vectors(checkerboard, seed)
    parts = (checkerboard.train,)
    if exclude == "all":
        parts = (checkerboard.train, checkerboard.validation, checkerboard.test)
    with pytest.MonkeyPatch.context() as patch, forced(replace(CPU, scores=chunk)):
        patch.setattr(ranker, "_CHUNK_USERS", 1)
        patch.setattr(ranker, "_BLOCK", block)
        ranked, scores = top_k(checkerboard, users, items, k, exclude)
    assert ranked.dtype == np.int32
    np.testing.assert_array_equal(ranked, naive_top_k(checkerboard, users, items, k, parts))
    found = ranked != PADDING
    expected = (users @ items.T)[np.nonzero(found)[0], ranked[found]]
    np.testing.assert_allclose(scores[found], expected, rtol=1e-4, atol=1e-5)
    assert np.isneginf(scores[~found]).all()


def test_lists_as_a_table_are_the_same_in_pieces(monkeypatch):
    ranking = ranker.Ranking(np.array([[1, 0], [2, PADDING], [0, 2]], np.int32), np.ones((3, 2), np.float32))
    ids = [pa.chunked_array([texts]) for texts in (["u", "v", "w"], ["a", "b", "c"], ["A", None, "C"])]
    whole = ranker.as_table(ranking, *ids)
    assert [tuple(row.values())[:4] for row in whole.to_pylist()] == [
        ("u", 1, "b", None), ("u", 2, "a", "A"), ("v", 1, "c", "C"), ("w", 1, "a", "A"), ("w", 2, "c", "C"),
    ]  # fmt: skip
    monkeypatch.setattr(ranker, "_TABLE_ROWS", 2)
    pieces = ranker.as_table(ranking, *ids)
    assert pieces.equals(whole) and pieces["title"].num_chunks == 3
    assert not len(ranker.as_table(ranking._replace(items=np.full((3, 2), PADDING, np.int32)), *ids))


def test_vectors_of_another_split_are_refused(hand_split):
    users, items = vectors(hand_split, 0)
    with pytest.raises(ValueError, match="belong to another split"):
        top_k(hand_split, users[:2], items, 2)
    with pytest.raises(ValueError, match="3 components, item vectors 2"):
        top_k(hand_split, users, items[:, :2], 2)
