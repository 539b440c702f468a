"""Peeling gives the k-core."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.data import kcore
from rlmrec_core.data.kcore import k_core
from tests.rlmrec_core.data.worlds import pair_lists


def by_repeated_removal(pairs: list[tuple[int, int]], k_user: int, k_item: int) -> list[int]:
    """The twin: drop one offending edge at a time until there is none."""
    alive = list(range(len(pairs)))
    while True:
        users, items = [pairs[e][0] for e in alive], [pairs[e][1] for e in alive]
        bad = [e for e in alive if users.count(pairs[e][0]) < k_user or items.count(pairs[e][1]) < k_item]
        if not bad:
            return alive
        alive.remove(bad[0])


@given(pair_lists(), st.integers(1, 4), st.integers(1, 4))
def test_the_same_edges_as_removal_one_by_one(pairs: list[tuple[int, int]], k_user: int, k_item: int) -> None:
    user, item = np.array(pairs).T
    assert k_core(user, item, k_user, k_item).tolist() == by_repeated_removal(pairs, k_user, k_item)


@given(pair_lists(), st.integers(1, 3), st.integers(1, 5))
def test_however_many_threads_share_the_edges(pairs: list[tuple[int, int]], k: int, per_thread: int) -> None:
    user, item = np.array(pairs).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kcore, "_EDGES_PER_THREAD", per_thread)
        assert k_core(user, item, k, k).tolist() == by_repeated_removal(pairs, k, k)


def test_a_chain_unravels_round_by_round() -> None:
    # A complete 2 x 2 block with a tail hanging from it: 2-core is the block.
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]
    assert k_core(*np.array(pairs).T, 2, 2).tolist() == [0, 1, 2, 3]


def test_nothing_may_be_left() -> None:
    assert k_core(np.array([0, 1]), np.array([0, 1]), 2, 2).tolist() == []


def test_no_edges_stay_no_edges() -> None:
    assert k_core(np.array([], np.int32), np.array([], np.int32), 2, 2).tolist() == []
