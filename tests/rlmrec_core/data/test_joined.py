"""Ready-made parts with the texts of the release that they were made from."""

import json
import re
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import DataError, check, ingest
from tasks.ingest import source_digests
from tests.rlmrec_core.data.worlds import drain

MAPPERS = Path(__file__).parents[4] / "shared" / "data" / "rlmrec-mappers"
ITEMS = [{"iid": 0, "asin": "A"}, {"iid": 1, "asin": "B"}, {"iid": 2, "asin": "C"}]
USERS = [{"uid": 0, "reviewerID": "ann"}, {"uid": 1, "reviewerID": "bob"}]
REVIEWS = [
    ("ann", "A", 5, 86_400, "early"),
    ("ann", "A", 4, 172_800, "late"),
    ("bob", "B", 3, 0, "his"),
    ("eve", "A", 1, 0, "hers"),
]
META = [("A", "Title a", "About a"), ("Z", "Unknown", ""), ("B", "Title b", None)]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def world(tmp_path):
    """Parts with numbers, both mappings, and a release, as settings."""
    parts, release = tmp_path / "parts", tmp_path / "release"
    parts.mkdir()
    release.mkdir()
    for part, pairs in {"train": [(0, 0), (1, 1)], "validation": [(0, 1)], "test": [(1, 2)]}.items():
        users, items = zip(*pairs, strict=True)
        pq.write_table(
            pa.table({"user": pa.array(users, pa.int32()), "item": pa.array(items, pa.int32())}),
            parts / f"{part}.parquet",
        )
    names = ("reviewerID", "asin", "overall", "unixReviewTime", "reviewText")
    lines(release / "reviews_Books.json", [dict(zip(names, row, strict=True)) for row in REVIEWS])
    lines(release / "meta_Books.json", [dict(zip(("asin", "title", "description"), row, strict=True)) for row in META])
    return {
        "reader": "amazon-2014",
        "path": str(release),
        "item_mapping": lines(tmp_path / "amazon_item.json", ITEMS),
        "user_mapping": lines(tmp_path / "amazon_user.json", USERS),
    }


def config(world, **raw):
    chosen = {name: value for name, value in (world | raw).items() if value}
    return IngestConfig(reader="splits", path=str(Path(world["path"]).parent / "parts"), raw=chosen)


def tables(world, **raw):
    done = ingest(config(world, **raw))
    return drain(done.tables), {row["name"]: row["value"] for row in done.report().to_pylist()}


def test_pairs_get_the_latest_review_and_items_their_texts(world):
    found, report = tables(world)
    rows = [tuple(row.values()) for row in found["interactions"].to_pylist()]
    assert rows == [
        ("0", "0", 4.0, datetime(1970, 1, 3), "late", "train"),
        ("1", "1", 3.0, datetime(1970, 1, 1), "his", "train"),
        ("0", "1", None, None, None, "validation"),
        ("1", "2", None, None, None, "test"),
    ]
    items = [(row["item_id"], row["title"], row["description"]) for row in found["items"].to_pylist()]
    assert items == [("0", "Title a", "About a"), ("1", "Title b", None)]
    assert report["interactions with a review of the release"] == report["items described by the release"] == 2


def test_without_the_users_mapping_items_alone_have_texts(world):
    found, report = tables(world, user_mapping=None)
    assert found["interactions"]["review"].null_count == 4 and len(found["items"]) == 2
    assert "interactions with a review of the release" not in report


def test_what_the_parts_say_themselves_stays(world):
    folder = Path(config(world).path)
    pq.write_table(pa.table({"item": [0], "title": ["Own"]}), folder / "items.parquet")
    pq.write_table(pa.table({"user": [0], "item": [0], "review": ["own"], "rating": [1.0]}), folder / "train.parquet")
    found, _ = tables(world)
    assert found["items"]["title"].to_pylist() == ["Own", "Title b"]
    first = found["interactions"].to_pylist()[0]
    assert (first["review"], first["rating"], first["timestamp"]) == ("own", 1.0, datetime(1970, 1, 3))


def test_every_file_is_in_the_key(world):
    before = source_digests(config(world))
    assert {Path(name).name for name in before} >= {
        "train.parquet",
        "amazon_item.json",
        "amazon_user.json",
        "reviews_Books.json",
        "meta_Books.json",
    }
    lines(Path(world["item_mapping"]), ITEMS[::-1])
    assert source_digests(config(world)) != before


@pytest.mark.parametrize(
    ("side", "rows", "message"),
    [
        ("item", ITEMS[:2], "amazon_item.json: has no line for item 2 of the parts; take the mapping of this data set"),
        (
            "item",
            [{"iid": n, "asin": f"X{n}"} for n in range(3)],
            "release: no interaction of the parts is among its reviews; take",
        ),
        ("user", [{"uid": 0, "reviewerID": "zoe"}], "release: no interaction of the parts is among its reviews"),
        ("item", [*ITEMS, {"iid": 0, "asin": "D"}], "line 4: '0' stands in line 1, too"),
        ("item", [*ITEMS, {"iid": 3, "asin": "A"}], "line 4: 'A' stands in line 1, too"),
        ("item", [{"uid": 0, "asin": "A"}], "line 1: has not a number 'iid' and one id beside it; write lines such as"),
        ("item", [{"iid": "0", "asin": "A"}], "line 1: has not a number 'iid'"),
        ("item", [{"iid": True, "asin": "A"}], "line 1: has not a number 'iid'"),
        ("item", [{"iid": 0, "asin": "A", "more": "B"}], "line 1: has not a number 'iid'"),
        ("item", [[0, "A"]], "line 1: has not a number 'iid'"),
    ],
)
def test_mappings_that_cannot_be_right(world, side, rows, message):
    lines(Path(world[f"{side}_mapping"]), rows)
    with pytest.raises(DataError, match=re.escape(message)):
        tables(world)
    assert message in str(check(config(world)).error)


def test_files_that_are_no_mapping(world):
    Path(world["item_mapping"]).write_text('{"iid": 0', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: is no JSON object"):
        tables(world)
    with pytest.raises(DataError, match="nowhere"):
        tables(world, item_mapping="nowhere.json")


def test_settings_that_do_not_fit_each_other(world):
    with pytest.raises(ValidationError, match="to join texts of yelp, set path and item_mapping, too"):
        IngestConfig(reader="splits", raw={"reader": "yelp"})
    with pytest.raises(ValidationError, match="set reader, too"):
        IngestConfig(reader="splits", raw={"path": "release"})
    with pytest.raises(ValidationError, match="raw joins texts to ready-made parts, and reader 'movielens' reads none"):
        IngestConfig(reader="movielens", raw=world)


@pytest.mark.parametrize(("name", "n"), [("amazon", 9332), ("yelp", 11010), ("steam", 5237)])
def test_the_authors_mappings_are_read(name, n):
    from rlmrec_core.data.joined import read_mapping

    if not MAPPERS.is_dir():
        pytest.skip("the authors' mappings are not here")
    found = read_mapping(MAPPERS / f"{name}_item.json", "item")
    assert found["number"].to_pylist() == [str(number) for number in range(n)]
