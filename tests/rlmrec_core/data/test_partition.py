"""Splits: everyone in train, ratios kept wherever that allows, no leak in time, same seed same parts."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.data.edges import Edges
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.partition import LEFT_OUT, divide
from tests.rlmrec_core.data.worlds import make_edges, pair_lists

RATIOS = st.sampled_from([(3, 1, 1), (8, 1, 1), (1, 1, 1), (2, 3, 5), (1, 1, 0), (1, 0, 0)])
SEEDS = st.integers(0, 1000)
Pairs = list[tuple[int, int]]


def parts_of(edges: Edges, scope: str, ratios: tuple[int, int, int] = (3, 1, 1), seed: int = 0) -> np.ndarray:
    return divide(edges, scope, ratios, np.random.default_rng(seed))


def off_by(sizes: list[int], ratios: tuple[int, int, int]) -> float:
    """The largest distance of a part from its exact share, in interactions."""
    shares = np.array(ratios) * sum(sizes) / sum(ratios)
    return float(np.abs(np.array(sizes) - shares).max())


def sizes_of(parts: np.ndarray) -> list[int]:
    return [int((parts == part).sum()) for part in range(3)]


def assert_all_in_train(edges: Edges, parts: np.ndarray) -> None:
    kept, train = parts != LEFT_OUT, parts == 0
    assert set(edges.user[kept]) == set(edges.user[train])
    assert set(edges.item[kept]) == set(edges.item[train])


def smallest_cover_size(edges: Edges) -> int:
    """The twin: try all sets of edges, small ones first."""
    pairs = list(zip(edges.user.tolist(), edges.item.tolist(), strict=True))
    n_users, n_items = len(set(edges.user.tolist())), len(set(edges.item.tolist()))
    for size in range(1, len(pairs) + 1):
        for chosen in combinations(pairs, size):
            if len({u for u, _ in chosen}) == n_users and len({i for _, i in chosen}) == n_items:
                return size
    raise AssertionError("all edges together are a cover")


def fits_within(edges: Edges, quota: dict[int, int]) -> bool:
    """The twin: can every item choose one of its users so that none is chosen more often than its quota?"""
    users_of = [edges.user[edges.item == item].tolist() for item in range(edges.item.max() + 1)]
    return any(all(choice.count(user) <= q for user, q in quota.items()) for choice in product(*users_of))


@given(pair_lists(), RATIOS, SEEDS)
def test_global_keeps_everyone_in_train_and_divides_all(pairs: Pairs, ratios: tuple[int, int, int], seed: int) -> None:
    edges = make_edges(pairs)
    parts = parts_of(edges, "global", ratios, seed)
    assert_all_in_train(edges, parts)
    assert sum(sizes_of(parts)) == len(pairs)


@given(pair_lists(4, 4, 9), RATIOS, SEEDS)
def test_global_ratios_are_met_wherever_a_cover_is_small_enough(
    pairs: Pairs, ratios: tuple[int, int, int], seed: int
) -> None:
    edges = make_edges(pairs)
    sizes = sizes_of(parts_of(edges, "global", ratios, seed))
    least = smallest_cover_size(edges)
    if least <= ratios[0] * len(pairs) // sum(ratios):
        assert off_by(sizes, ratios) < 1
    else:
        assert sizes[0] <= max(least, -(-ratios[0] * len(pairs) // sum(ratios)))


@given(pair_lists(), RATIOS, SEEDS)
def test_per_user_keeps_everyone_in_train(pairs: Pairs, ratios: tuple[int, int, int], seed: int) -> None:
    edges = make_edges(pairs)
    parts = parts_of(edges, "per_user", ratios, seed)
    assert_all_in_train(edges, parts)
    assert sum(sizes_of(parts)) == len(pairs)


@given(pair_lists(3, 4, 12), RATIOS, SEEDS)
def test_per_user_ratios_are_met_wherever_items_allow(pairs: Pairs, ratios: tuple[int, int, int], seed: int) -> None:
    edges = make_edges(pairs)
    parts = parts_of(edges, "per_user", ratios, seed)
    share = {user: ratios[0] * int((edges.user == user).sum()) // sum(ratios) for user in set(edges.user.tolist())}
    if min(share.values()) >= 1 and fits_within(edges, share):
        assert max(off_by(sizes_of(parts[edges.user == user]), ratios) for user in share) < 1


@pytest.mark.parametrize("seed", range(30))
def test_ratios_hold_where_the_first_draw_of_needed_edges_does_not_fit(seed: int) -> None:
    square, rows = make_edges(list(product(range(2), range(2)))), make_edges(list(product(range(2), range(4))))
    parts = parts_of(square, "global", (1, 1, 0), seed)
    assert_all_in_train(square, parts)
    assert sizes_of(parts) == [2, 2, 0]
    parts = parts_of(rows, "per_user", (1, 1, 0), seed)
    assert_all_in_train(rows, parts)
    assert [sizes_of(parts[rows.user == user]) for user in range(2)] == [[2, 2, 0], [2, 2, 0]]


def test_an_item_only_one_user_has_goes_to_that_users_train_part() -> None:
    edges = make_edges([(0, item) for item in range(10)])
    assert sizes_of(parts_of(edges, "per_user")) == [10, 0, 0]


def test_per_user_ratios_hold_in_a_dense_world() -> None:
    edges = make_edges(list(product(range(20), range(10))))
    parts = parts_of(edges, "per_user")
    assert all(sizes_of(parts[edges.user == user]) == [6, 2, 2] for user in range(20))


timed = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 12)), min_size=1, unique_by=lambda e: e[:2]
)


@given(timed, RATIOS, SEEDS)
def test_temporal_never_leaks(rows: list[tuple[int, int, int]], ratios: tuple[int, int, int], seed: int) -> None:
    edges = make_edges([row[:2] for row in rows], [row[2] for row in rows])
    try:
        parts = parts_of(edges, "temporal", ratios, seed)
    except DataError:
        return  # Nobody came back: there is nothing to divide.
    times = [edges.time[parts == part].tolist() for part in range(3)]
    for earlier, later in ((0, 1), (0, 2), (1, 2)):
        assert max(times[earlier], default=-1) <= min(times[later], default=99)
    assert_all_in_train(edges, parts)


@given(timed, RATIOS, SEEDS)
def test_temporal_ratios_are_met_wherever_a_cut_allows(
    rows: list[tuple[int, int, int]], ratios: tuple[int, int, int], seed: int
) -> None:
    # All times differ, so that the order is known and every cut can be tried.
    edges = make_edges([row[:2] for row in rows], list(range(len(rows))))

    def kept_after(cut: int) -> int:
        known = set(edges.user[:cut]), set(edges.item[:cut])
        later = zip(edges.user[cut:], edges.item[cut:], strict=True)
        return cut + sum(u in known[0] and i in known[1] for u, i in later)

    if any(cut * sum(ratios) <= ratios[0] * kept_after(cut) for cut in range(1, len(rows) + 1)):
        assert off_by(sizes_of(parts_of(edges, "temporal", ratios, seed)), ratios) < 1


def test_temporal_by_hand() -> None:
    # User 2 comes after the cut: left out, though nothing of the others is.
    pairs = [(0, 0), (1, 1), (0, 1), (1, 0), (2, 0), (0, 2)]
    assert parts_of(make_edges(pairs, [0, 1, 2, 3, 4, 5]), "temporal", (1, 1, 1)).tolist() == [0, 0, 1, 2, -1, -1]


def test_temporal_needs_times_and_says_where_they_lack() -> None:
    with pytest.raises(DataError, match=r"row 1.*'timestamp'.*ingest\.columns\.timestamp"):
        parts_of(make_edges([(0, 0), (1, 1)]), "temporal")


def test_temporal_says_when_nobody_comes_back() -> None:
    with pytest.raises(DataError, match=r"prepare\.scope"):
        parts_of(make_edges([(0, 0), (1, 1), (2, 2)], [0, 1, 2]), "temporal")


@pytest.mark.parametrize("scope", ["global", "per_user", "temporal"])
def test_the_seed_decides(scope: str) -> None:
    edges = make_edges(list(product(range(20), range(15))), [0] * 300)
    same = [parts_of(edges, scope, seed=seed).tolist() for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


def test_a_global_draw_is_close_to_uniform() -> None:
    # The guarantee must not draw train towards particular edges: over many seeds each edge is in train 3 times in 5.
    edges = make_edges(list(product(range(8), range(8))))
    share = np.mean([parts_of(edges, "global", seed=seed) == 0 for seed in range(400)], axis=0)
    assert share.min() > 0.5 and share.max() < 0.7
