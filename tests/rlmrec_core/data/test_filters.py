"""Filters by date, text and k, the hold-out of users and items, and the statistics of the data set."""

from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.config import PrepareConfig
from rlmrec_core.data import DataError, prepare
from rlmrec_core.tables import COLD_START, HISTOGRAMS, ITEMS, check
from tests.rlmrec_core.data.worlds import NO_ITEMS, drain, interactions, pair_lists

BLOCK = [(f"u{user}", f"i{item}", None, None, f"{user} on {item}") for user, item in product(range(12), range(11))]


def prepared(rows: list[Any], items: ds.Dataset = NO_ITEMS, **settings: Any) -> dict[str, pa.Table]:
    config = PrepareConfig(**{"min_rating": None, "k_core": 1, **settings})
    return drain(prepare(interactions(rows), items, config))


def items_of(tables: dict[str, pa.Table]) -> list[str]:
    return tables["item_index"]["item_id"].to_pylist()


def steps(tables: dict[str, pa.Table]) -> dict[str, int]:
    return {row["step"]: row["removed"] for row in tables["filter_report"].to_pylist()}


def statistics(tables: dict[str, pa.Table]) -> dict[str, float]:
    return {row["name"]: row["value"] for row in tables["statistics"].to_pylist()}


def test_the_way_out_looks_at_the_step_that_removed_most() -> None:
    rows = [(user, item, 2.0 if item > "i2" else 5.0) for user, item, *_ in BLOCK]
    message = (
        r"step 'k_core' removed the last 48 interactions, after 'min_rating' had removed 84 of 132; "
        r"lower prepare.min_rating \(now 3\), or lower prepare.k_core \(now 10\)"
    )
    with pytest.raises(DataError, match=message):
        prepared(rows, min_rating=3, k_core=10)


DATED = [
    ("u", "before", None, datetime(2019, 12, 31, 23, 59, 59)),
    ("u", "first", None, datetime(2020, 1, 1)),
    ("u", "last", None, datetime(2020, 12, 31, 23, 59, 59)),
    ("u", "after", None, datetime(2021, 1, 1)),
    ("u", "untimed", None, None),
]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"since": date(2020, 1, 1)}, ["after", "first", "last"]),
        ({"before": date(2021, 1, 1)}, ["before", "first", "last"]),
        ({"since": date(2020, 1, 1), "before": date(2021, 1, 1)}, ["first", "last"]),
    ],
)
def test_dates(settings: dict[str, date], kept: list[str]) -> None:
    tables = prepared(DATED, **settings)
    assert items_of(tables) == kept
    assert steps(tables)["dates"] == len(DATED) - len(kept)


def test_dates_come_before_duplicates() -> None:
    rows = [("u", "i", 1.0, datetime(2020, 1, 1), "then"), ("u", "i", 5.0, datetime(2021, 1, 1), "later")]
    assert prepared(rows, before=date(2020, 6, 1))["split"]["review"].to_pylist() == ["then"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=30))
def test_the_halves_of_each_user_are_its_earlier_and_its_later_interactions(drawn: list[tuple[int, int, int]]) -> None:
    latest = {
        (user, item): (time, row)
        for row, (user, item, time) in sorted(enumerate(drawn), key=lambda one: (one[1][2], one[0]))
    }
    rows = [(f"u{user}", f"i{item}", None, datetime(2020, 1, 1 + time)) for user, item, time in drawn]
    expected: dict[str, set[tuple[str, str]]] = {"first": set(), "second": set()}
    for user in {user for user, _ in latest}:
        own = sorted((time_row, item) for (other, item), time_row in latest.items() if other == user)
        for place, (_, item) in enumerate(own):
            expected["second" if place >= len(own) / 2 else "first"].add((f"u{user}", f"i{item}"))
    for half, pairs in expected.items():
        if not pairs:
            continue
        tables = drain(prepare(interactions(rows), NO_ITEMS, PrepareConfig(min_rating=None, k_core=1, half=half)))
        ids = [tables[f"{side}_index"][f"{side}_id"].to_pylist() for side in ("user", "item")]
        split = tables["split"].to_pylist()
        assert {(ids[0][row["user"]], ids[1][row["item"]]) for row in split} == pairs


def test_halves_need_times_and_whole_data() -> None:
    with pytest.raises(DataError, match=r"'half' removed the last 2 interactions; leave out prepare.half"):
        prepared([("u", "i"), ("u", "j")], half="first")
    ready = [("u", "i", None, datetime(2020, 1, 1), None, "train")]
    with pytest.raises(DataError, match=r"ready-made parts .* have no halves"):
        prepared(ready, half="second")


def test_short_reviews() -> None:
    rows = [("u", "long", None, None, "café!"), ("u", "short", None, None, "café"), ("u", "none", None, None, None)]
    tables = prepared(rows, min_review_chars=5)
    assert items_of(tables) == ["long"]
    assert steps(tables)["min_review_chars"] == 2


def test_items_with_little_text() -> None:
    described = [
        {"item_id": "long", "title": "ab", "description": "cde"},
        {"item_id": "titled", "title": "abcde", "description": None},
        {"item_id": "short", "title": "ab", "description": "cd"},
    ]
    items = ds.dataset(pa.Table.from_pylist(described, schema=ITEMS))
    rows = [("u", name) for name in ("unknown", "short", "titled", "long")]
    assert items_of(prepared(rows, items, min_item_chars=5)) == ["long", "titled"]
    with pytest.raises(DataError, match=r"'min_item_chars' removed the last 4 .*lower prepare.min_item_chars"):
        prepared(rows, items, min_item_chars=6)
    with pytest.raises(DataError, match=r"'min_item_chars'"):
        prepared(rows, min_item_chars=1)


def test_users_and_items_may_have_a_k_of_their_own() -> None:
    # Two users with three items each; the items have two users each.
    rows = [(f"u{user}", f"i{item}") for user, item in product(range(2), range(3))]
    assert prepared(rows, k_core=3, item_k_core=2)["split"].num_rows == 6
    with pytest.raises(DataError, match=r"lower prepare.k_core \(now 3\)"):
        prepared(rows, k_core=3)
    with pytest.raises(DataError, match=r"\(now 2, for items 3\)"):
        prepared(rows, k_core=2, item_k_core=3)


@given(pair_lists(6, 6, 30), st.sampled_from([(0.3, 0.0), (0.0, 0.3), (0.4, 0.4)]), st.integers(0, 99))
def test_what_is_held_out_is_unknown_to_train(
    pairs: list[tuple[int, int]], shares: tuple[float, float], seed: int
) -> None:
    rows = [(f"u{user}", f"i{item}", None, None, f"{user} on {item}") for user, item in pairs]
    try:
        tables = prepared(rows, cold_users=shares[0], cold_items=shares[1], seed=seed)
    except DataError:
        return  # All were drawn.
    cold, split = check(tables["cold_start"], COLD_START, "cold_start").to_pylist(), tables["split"].to_pylist()
    assert sorted(row["review"] for row in cold + split) == sorted(row[4] for row in rows)
    known = [set(tables[f"{side}_index"][f"{side}_id"].to_pylist()) for side in ("user", "item")]
    for row in cold:
        new = {"user": row["user_id"] not in known[0], "item": row["item_id"] not in known[1]}
        assert row["cold"] == ("both" if all(new.values()) else next(side for side, is_new in new.items() if is_new))
        assert row["review"] == f"{row['user_id'][1:]} on {row['item_id'][1:]}"


def test_the_share_held_out() -> None:
    n_cold = []
    for seed in range(10):
        tables = prepared(BLOCK, cold_users=0.25, seed=seed)
        n_cold.append(len(set(tables["cold_start"]["user_id"].to_pylist())))
        assert tables["user_index"].num_rows == 12 - n_cold[-1] and steps(tables)["cold start"] == 11 * n_cold[-1]
    assert min(n_cold) >= 1 and 11 <= sum(n_cold) <= 49  # 120 x 1/4, within four standard errors
    assert prepared(BLOCK)["cold_start"].num_rows == 0


def test_the_card_by_hand() -> None:
    first, last = datetime(2020, 1, 1), datetime(2020, 1, 2)
    rows = [("u", "i", 4.0, first, "four"), ("u", "j", None, last, "a"), ("v", "i", 5.0, None, None)]
    tables = prepared(rows)
    expected = {
        **{"users": 2, "items": 2, "interactions": 3, "density": 0.75},
        **{"interactions per user, smallest": 1, "interactions per user, median": 1.5},
        **{"interactions per user, mean": 1.5, "interactions per user, largest": 2},
        **{"characters per review, smallest": 1, "characters per review, median": 2.5},
        **{"interactions with rating": 2, "interactions with review": 2, "interactions with time": 2},
        **{"items with reviews": 2, "items with description": 0},
        **{"first time": first.replace(tzinfo=UTC).timestamp(), "last time": last.replace(tzinfo=UTC).timestamp()},
    }
    assert expected.items() <= statistics(tables).items()
    assert check(tables["histograms"], HISTOGRAMS, "histograms").to_pylist() == [
        {"name": "interactions per user", "low": 1.0, "high": 2.0, "count": 1},
        {"name": "interactions per user", "low": 2.0, "high": 4.0, "count": 1},
        {"name": "interactions per item", "low": 1.0, "high": 2.0, "count": 1},
        {"name": "interactions per item", "low": 2.0, "high": 4.0, "count": 1},
        {"name": "characters per review", "low": 1.0, "high": 2.0, "count": 1},
        {"name": "characters per review", "low": 2.0, "high": 4.0, "count": 0},
        {"name": "characters per review", "low": 4.0, "high": 8.0, "count": 1},
    ]


def test_a_card_without_text_and_times() -> None:
    tables = prepared([("u", "i"), ("v", "i")])
    assert statistics(tables)["interactions with time"] == statistics(tables)["items with reviews"] == 0
    assert "first time" not in statistics(tables)
    assert set(tables["histograms"]["name"].to_pylist()) == {"interactions per user", "interactions per item"}


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=30))
def test_every_value_is_in_one_bin(lengths: list[int]) -> None:
    rows = [("u", f"i{n}", None, None, "x" * length) for n, length in enumerate(lengths)]
    bins = [row for row in prepared(rows)["histograms"].to_pylist() if row["name"] == "characters per review"]
    twin = [int(np.sum([row["low"] <= length < row["high"] for length in lengths])) for row in bins]
    assert [row["count"] for row in bins] == twin and sum(twin) == len(lengths)


def test_the_card_needs_the_split_drained() -> None:
    tables = prepare(interactions(BLOCK), NO_ITEMS, PrepareConfig(k_core=1))
    with pytest.raises(RuntimeError, match="once split is drained"):
        next(iter(tables["statistics"][1]))


def test_a_threshold_that_drops_most_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = [(user, item, float(n % 4), None, None) for n, (user, item, *_) in enumerate(BLOCK)]
    prepared(rows, min_rating=1)
    assert "min_rating" not in caplog.text
    prepared(rows, min_rating=3)
    assert "below prepare.min_rating (3) and dropped; if the column holds quantities or plays, set" in caplog.text
