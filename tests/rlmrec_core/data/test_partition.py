"""Splits: everyone in train, parts that stay what they are, no leak in time, same seed same parts."""

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.data.draws import Draws, divided
from rlmrec_core.data.edges import Edges
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.partition import LEFT_OUT, Division, divide
from tests.rlmrec_core.data.worlds import make_edges, pair_lists

RATIOS = st.sampled_from([(3, 1, 1), (8, 1, 1), (1, 1, 1), (2, 3, 5), (1, 1, 0), (4, 0, 1), (1, 0, 0)])
SEEDS = st.integers(0, 1000)
HASHED = st.sampled_from(["global", "per_user"])
Pairs = list[tuple[int, int]]


def division_of(edges: Edges, scope: Any, ratios: tuple[int, int, int] = (3, 1, 1), seed: int = 0) -> Division:
    return divide(edges, scope, ratios, hashes_of(edges, seed))


def hashes_of(edges: Edges, seed: int) -> np.ndarray:
    users, items = (pa.array([f"{i}" for i in range(codes.max() + 1)]) for codes in (edges.user, edges.item))
    return Draws(users, items, seed).pairs("split", edges.user, edges.item)


def parts_of(edges: Edges, scope: Any, ratios: tuple[int, int, int] = (3, 1, 1), seed: int = 0) -> np.ndarray:
    return division_of(edges, scope, ratios, seed).parts


def sizes_of(parts: np.ndarray) -> list[int]:
    return [int((parts == part).sum()) for part in range(3)]


def assert_all_in_train(edges: Edges, parts: np.ndarray) -> None:
    kept, train = parts != LEFT_OUT, parts == 0
    assert set(edges.user[kept]) == set(edges.user[train])
    assert set(edges.item[kept]) == set(edges.item[train])


@given(pair_lists(), HASHED, RATIOS, SEEDS)
def test_everyone_is_in_train_and_repairs_are_counted(
    pairs: Pairs, scope: str, ratios: tuple[int, int, int], seed: int
) -> None:
    edges = make_edges(pairs)
    division = division_of(edges, scope, ratios, seed)
    assert_all_in_train(edges, division.parts)
    assert sum(sizes_of(division.parts)) == len(pairs)
    assert all(size == 0 for size, ratio in zip(sizes_of(division.parts), ratios, strict=True) if not ratio)
    assert division.repairs == (division.parts != divided(hashes_of(edges, seed), ratios)).sum()


@given(pair_lists(8, 8, 64), HASHED, st.sampled_from([(3, 1, 1), (1, 1, 1), (1, 1, 0)]), SEEDS)
def test_a_part_is_empty_only_where_coverage_leaves_nothing_for_it(
    pairs: Pairs, scope: str, ratios: tuple[int, int, int], seed: int
) -> None:
    edges = make_edges(pairs)
    parts, hashes = parts_of(edges, scope, ratios, seed), hashes_of(edges, seed)
    needed = np.zeros(len(pairs), bool)
    for codes in (edges.user, edges.item):
        for code in set(codes.tolist()):
            members = np.flatnonzero(codes == code)
            needed[members[hashes[members].argmin()]] = True
    groups = [np.ones(len(pairs), bool)] if scope == "global" else [edges.user == u for u in set(edges.user.tolist())]
    for group in groups:
        for part in (1, 2):
            if ratios[part] and group.sum() * ratios[part] >= sum(ratios) and not (parts[group] == part).any():
                assert (needed | (parts > 0))[group].all()


def test_ratios_are_met_within_chance_and_each_pair_has_its_chances() -> None:
    edges = make_edges(list(product(range(200), range(200))))
    for ratios in ((3, 1, 1), (8, 1, 1), (4, 0, 1)):
        shares = np.array(ratios) / sum(ratios)
        error = np.sqrt(shares * (1 - shares) / 40_000)
        assert (np.abs(np.array(sizes_of(parts_of(edges, "global", ratios))) / 40_000 - shares) <= 4 * error).all()
    square = make_edges(list(product(range(8), range(8))))
    share = np.mean([parts_of(square, "global", seed=seed) == 0 for seed in range(400)], axis=0)
    assert share.min() > 0.5 and share.max() < 0.7


def test_every_user_with_enough_has_something_of_every_part() -> None:
    edges = make_edges(list(product(range(200), range(10))))
    parts = parts_of(edges, "per_user")
    assert all(min(sizes_of(parts[edges.user == user])) > 0 for user in range(200))
    assert any(min(sizes_of(parts_of(edges, "global")[edges.user == user])) == 0 for user in range(200))


def test_hashes_of_pairs_are_spread_evenly() -> None:
    ids = pa.array([f"{i}" for i in range(400)])
    user, item = (codes.ravel() for codes in np.indices((400, 400)))
    hashes = Draws(ids, ids, 7).pairs("split", user, item)
    assert len(np.unique(hashes)) == len(hashes)
    grid = (hashes >> np.uint64(60)).reshape(400, 400)
    for rows in (grid, grid.T):
        counts = np.stack([np.bincount(row, minlength=16) for row in rows])
        # Chi-squared of 400 rows with 15 degrees of freedom each: mean 15, standard error 0.27.
        assert abs((((counts - 25) ** 2) / 25).sum(1).mean() - 15) < 1.1


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
def test_per_user_temporal_never_leaks(
    rows: list[tuple[int, int, int]], ratios: tuple[int, int, int], seed: int
) -> None:
    edges = make_edges([row[:2] for row in rows], [row[2] for row in rows])
    try:
        parts = parts_of(edges, "per_user_temporal", ratios, seed)
    except DataError:
        return  # All that is later is of items that train does not know.
    assert_all_in_train(edges, parts)
    assert set(edges.user) == set(edges.user[parts == 0])
    for user in set(edges.user.tolist()):
        times = [edges.time[(parts == part) & (edges.user == user)].tolist() for part in range(3)]
        for earlier, later in ((0, 1), (0, 2), (1, 2)):
            assert max(times[earlier], default=-1) <= min(times[later], default=99)


@pytest.mark.parametrize(
    ("n", "ratios", "sizes"),
    [
        (1, (3, 1, 1), [1, 0, 0]),
        (2, (3, 1, 1), [1, 0, 1]),
        (3, (3, 1, 1), [1, 1, 1]),
        (8, (3, 1, 1), [5, 1, 2]),
        (10, (3, 1, 1), [6, 2, 2]),
        (10, (4, 0, 1), [8, 0, 2]),
        (2, (4, 1, 0), [1, 1, 0]),
        (3, (1, 0, 0), [3, 0, 0]),
    ],
)
def test_each_users_latest_are_held_out(n: int, ratios: tuple[int, int, int], sizes: list[int]) -> None:
    # Two others have all the items, in opposite orders: train knows each of them.
    pairs = [(0, item) for item in range(n)] + [(user, item) for user in (1, 2) for item in range(50)]
    times = [*range(n), *range(50), *reversed(range(50))]
    parts = parts_of(make_edges(pairs, times), "per_user_temporal", ratios)
    assert sizes_of(parts[:n]) == sizes and sorted(parts[:n]) == parts[:n].tolist()


def test_temporal_keeps_the_share_of_train_and_leaves_out_later_strangers() -> None:
    # User 2 comes after the cut: left out. Of the later ones that train knows the first half validates.
    pairs = [(0, 0), (1, 1), (0, 1), (1, 0), (2, 0), (0, 2)]
    division = division_of(make_edges(pairs, [0, 1, 2, 3, 4, 5]), "temporal", (1, 1, 1))
    assert division.parts.tolist() == [0, 0, 1, 2, -1, -1]
    assert "2 interactions; of 4 later ones 2 are between" in division.note


@given(timed, RATIOS, SEEDS)
def test_temporal_train_is_its_share_of_all(
    rows: list[tuple[int, int, int]], ratios: tuple[int, int, int], seed: int
) -> None:
    try:
        parts = parts_of(make_edges([row[:2] for row in rows], [row[2] for row in rows]), "temporal", ratios, seed)
    except DataError:
        return
    assert 0 <= sizes_of(parts)[0] - ratios[0] * len(rows) / sum(ratios) < 1


def test_a_split_that_drops_most_of_what_is_later_warns(caplog: pytest.LogCaptureFixture) -> None:
    pairs = [(0, 0), (1, 1), (0, 1), (1, 0), (2, 0), (2, 1), (3, 0)]
    parts_of(make_edges(pairs, list(range(7))), "temporal", (1, 1, 1))
    assert "drops most" in caplog.text and "prepare.scope per_user_temporal" in caplog.text
    caplog.clear()
    parts_of(make_edges(pairs, list(range(7))), "per_user_temporal", (1, 1, 1))
    assert not caplog.text


def test_temporal_needs_times_and_says_where_they_lack() -> None:
    with pytest.raises(DataError, match=r"row 1.*'timestamp'.*ingest\.columns\.timestamp"):
        parts_of(make_edges([(0, 0), (1, 1)]), "temporal")


def test_temporal_says_when_nobody_comes_back() -> None:
    with pytest.raises(DataError, match=r"prepare\.scope"):
        parts_of(make_edges([(0, 0), (1, 1), (2, 2)], [0, 1, 2]), "temporal")


@pytest.mark.parametrize("scope", ["global", "per_user", "temporal", "per_user_temporal"])
def test_the_seed_decides(scope: str) -> None:
    edges = make_edges(list(product(range(20), range(15))), [0] * 300)
    same = [parts_of(edges, scope, seed=seed).tolist() for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]
