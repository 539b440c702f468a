"""Interactions filtered, divided and numbered."""

from datetime import datetime
from itertools import product

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from rlmrec_core.config import PrepareConfig
from rlmrec_core.data import DataError, prepare
from rlmrec_core.tables import FILTER_REPORT, ITEM_INDEX, ITEMS, PARTS, SPLIT, STATISTICS, USER_INDEX, check
from tests.rlmrec_core.data.worlds import NO_ITEMS, drain, interactions

ALL = PrepareConfig(min_rating=None, k_core=1)
BLOCK = [(f"u{user}", f"i{item}", 4.0) for user, item in product(range(12), range(11))]


def prepared(data: ds.Dataset, config: PrepareConfig = ALL, items: ds.Dataset = NO_ITEMS) -> dict[str, pa.Table]:
    return drain(prepare(data, items, config))


def steps(tables: dict[str, pa.Table]) -> dict[str, int]:
    return {row["step"]: row["removed"] for row in tables["filter_report"].to_pylist()}


def values(table: pa.Table) -> dict[str, float]:
    return {row["name"]: row["value"] for row in table.to_pylist()}


def test_every_table_has_its_schema() -> None:
    tables = prepared(interactions(BLOCK))
    schemas = {"split": SPLIT, "user_index": USER_INDEX, "item_index": ITEM_INDEX}
    for name, schema in {**schemas, "statistics": STATISTICS, "filter_report": FILTER_REPORT}.items():
        assert check(tables[name], schema, name).schema == schema


def test_of_duplicates_the_latest_is_kept_and_the_later_row_breaks_ties() -> None:
    early, late = datetime(2020, 1, 1), datetime(2021, 1, 1)
    rows = [
        ("u", "i", 1.0, late, "latest"),
        ("u", "i", 2.0, early, "older"),
        ("u", "j", 3.0, early, "first"),
        ("u", "j", 4.0, early, "second"),
        ("v", "i", 5.0, None, "untimed"),
        ("v", "i", 5.0, early, "timed"),
    ]
    tables = prepared(interactions(rows))
    assert tables["split"]["review"].to_pylist() == ["latest", "second", "timed"]
    assert steps(tables)["duplicates"] == 3


@pytest.mark.parametrize(
    ("ids", "ordered"),
    [
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["7", "07", "6"], ["6", "07", "7"]),
        (["2", "10", "123456789012345678901"], ["10", "123456789012345678901", "2"]),
    ],
)
def test_codes_follow_numbers_or_else_text(ids: list[str], ordered: list[str]) -> None:
    tables = prepared(interactions([(name, name) for name in ids]))
    assert tables["user_index"]["user_id"].to_pylist() == ordered
    assert tables["item_index"]["item"].to_pylist() == [0, 1, 2]
    assert [ordered[code] for code in tables["split"]["user"].to_pylist()] == ids


def test_text_stays_with_its_interaction_across_batches() -> None:
    rows = [(f"u{n % 300}", f"i{n // 300}", 1.0 if n % 7 == 0 else 5.0, None, f"{n}") for n in range(40_000)]
    tables = prepared(interactions(rows), PrepareConfig(min_rating=3, k_core=1))
    users, items = (tables[f"{side}_index"][f"{side}_id"].to_pylist() for side in ("user", "item"))
    found = [(users[row["user"]], items[row["item"]], row["review"]) for row in tables["split"].to_pylist()]
    assert found == [(row[0], row[1], row[4]) for row in rows if row[2] == 5.0]


def test_the_report_says_what_each_step_removed() -> None:
    rows = [*BLOCK, ("u0", "rare", 5.0), ("u1", "i1", 5.0), ("lazy", "i0", 2.0)]
    tables = prepared(interactions(rows), PrepareConfig())
    assert steps(tables) == {"read": 0, "duplicates": 1, "min_rating": 1, "k_core": 1, "split": 0}
    counted = values(tables["statistics"])
    assert [counted[name] for name in ("users", "items", "interactions", "density")] == [12, 11, 132, 1.0]
    assert sum(counted[part] for part in PARTS) == 132 and min(counted[part] for part in PARTS) > 10
    assert counted["moved to another part for coverage"] == 0


def test_unrated_interactions_pass_the_threshold() -> None:
    tables = prepared(interactions([("u", "i", None), ("u", "j", 2.9)]), PrepareConfig(k_core=1))
    assert tables["item_index"]["item_id"].to_pylist() == ["i"]


def test_a_share_of_users_is_drawn_by_seed() -> None:
    def users(seed: int) -> list[str]:
        config = PrepareConfig(min_rating=None, k_core=1, user_fraction=0.5, seed=seed)
        return prepared(interactions(BLOCK), config)["user_index"]["user_id"].to_pylist()

    assert users(1) == users(1) != users(2)
    assert 36 <= sum(len(users(seed)) for seed in range(10)) <= 84  # 120 x 1/2, within four standard errors


def test_statistics_count_the_text_of_items_that_are_kept() -> None:
    items = [
        {"item_id": "i0", "title": "t", "description": "d", "attributes": [{"name": "a", "value": "v"}]},
        {"item_id": "i1", "title": "t", "description": None, "attributes": None},
        {"item_id": "elsewhere", "title": "t", "description": "d", "attributes": None},
    ]
    counted = values(
        prepared(interactions(BLOCK), ALL, ds.dataset(pa.Table.from_pylist(items, schema=ITEMS)))["statistics"]
    )
    assert [counted[f"items with {name}"] for name in ("title", "description", "attributes")] == [2, 1, 1]


def test_ready_made_parts_are_kept_as_they_are() -> None:
    rows = [("1", "2", 1.0, None, None, "test"), ("0", "2", None, None, None, "train")]
    tables = prepared(interactions(rows), PrepareConfig(min_rating=3, k_core=10))
    assert tables["split"].select(["user", "item", "part"]).to_pylist() == [
        {"user": 1, "item": 0, "part": "test"},
        {"user": 0, "item": 0, "part": "train"},
    ]


def test_a_pair_in_several_parts_is_told_and_left_in_the_last(caplog: pytest.LogCaptureFixture) -> None:
    pairs = [("a", "x", "train"), ("a", "y", "train"), ("b", "x", "train"), ("a", "x", "test"), ("a", "x", "test")]
    data = interactions([(user, item, None, None, None, part) for user, item, part in pairs])
    split = prepared(data)["split"].select(["user", "item", "part"]).to_pylist()
    assert sorted((row["user"], row["item"], row["part"]) for row in split) == [
        (0, 0, "test"),
        (0, 1, "train"),
        (1, 0, "train"),
    ]
    assert "1 pairs of a user and an item stand in several parts" in caplog.text


@pytest.mark.parametrize("part", [None, "holdout"])
def test_parts_are_given_for_all_or_none(part: str | None) -> None:
    rows = [("0", "0", None, None, None, "train"), ("0", "1", None, None, None, part)]
    with pytest.raises(DataError, match=r"row 2, column 'part'.*every interaction, or for none"):
        prepared(interactions(rows))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PrepareConfig(min_rating=4.5), r"'min_rating' removed the last 132 .*lower prepare.min_rating \(now 4.5\)"),
        (PrepareConfig(k_core=13), r"'k_core' removed the last 132 .*lower prepare.k_core \(now 13\)"),
    ],
)
def test_nothing_left_names_the_step_and_the_setting(config: PrepareConfig, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(interactions(BLOCK), config)


def test_no_interactions_at_all() -> None:
    with pytest.raises(DataError, match="check ingest"):
        prepared(interactions([]))


@pytest.mark.parametrize("scope", ["global", "per_user", "temporal", "per_user_temporal"])
def test_same_input_same_tables(scope: str) -> None:
    rows = [(user, item, rating, datetime(2020, 1, 1 + i % 28)) for i, (user, item, rating) in enumerate(BLOCK)]
    config = PrepareConfig(scope=scope)
    first, second = (prepared(interactions(rows), config) for _ in range(2))
    assert all(first[name].equals(second[name]) for name in first)


def test_later_strangers_are_left_out_of_a_temporal_split() -> None:
    known = [(f"u{n % 5}", f"i{n % 4}", None, datetime(2020, 1, 1 + n)) for n in range(20)]
    tables = prepared(
        interactions([*known, ("stranger", "i0", None, datetime(2020, 3, 1))]),
        ALL.model_copy(update={"scope": "temporal"}),
    )
    assert steps(tables)["split"] == 1
    assert "stranger" not in tables["user_index"]["user_id"].to_pylist()
