"""A user's own tables, good and bad."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from rlmrec_core.config import ColumnMapping, IngestConfig
from rlmrec_core.data import DataError, check, ingest, open_reader
from rlmrec_core.tables import INTERACTIONS, ITEMS
from tests.rlmrec_core.data.worlds import drain

COLUMNS = ColumnMapping(
    user_id="user", item_id="item", rating="stars", timestamp="when", review="text", title="title",
    description="about", attributes=("genre", "tags"),
)  # fmt: skip
ROWS = [
    {"user": "007", "item": 5, "stars": 4.5, "when": 1_600_000_000, "text": 'said "wow",\nthen left'},
    {"user": "8", "item": 6, "stars": None, "when": None, "text": None},
]
ITEM_ROWS = [
    {"item": 5, "title": "Émile", "about": "a boy", "genre": "novel", "tags": "old, french"},
    {"item": 6, "title": "B", "about": None, "genre": None, "tags": None},
]
BASIC = {"user_id": "user", "item_id": "item"}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        options = pyarrow.csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
        pyarrow.csv.write_csv(table, path, options)


def read(folder: Path, columns: dict[str, Any] | ColumnMapping = COLUMNS, **settings: Any) -> dict[str, pa.Table]:
    return drain(ingest(IngestConfig(reader="tabular", path=str(folder), columns=columns, **settings)).tables)


def counts(folder: Path, columns: dict[str, Any] | ColumnMapping = COLUMNS, **settings: Any) -> dict[str, float]:
    ingested = ingest(IngestConfig(reader="tabular", path=str(folder), columns=columns, **settings))
    drain(ingested.tables)
    return {row["name"]: row["value"] for row in ingested.report().to_pylist()}


def fails(folder: Path, message: str, columns: dict[str, Any] | ColumnMapping = BASIC, **settings: Any) -> None:
    with pytest.raises(DataError, match=message):
        read(folder, columns, **{"strict": True} | settings)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_tables(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"interactions.{suffix}", ROWS)
    write(tmp_path / f"items.{suffix}", ITEM_ROWS)
    tables = read(tmp_path, quote='"')
    when = datetime(2020, 9, 13, 12, 26, 40)
    assert tables["interactions"].schema == INTERACTIONS and tables["items"].schema == ITEMS
    assert [tuple(row.values()) for row in tables["interactions"].to_pylist()] == [
        ("007", "5", 4.5, when, 'said "wow",\nthen left', None),
        ("8", "6", None, None, None, None),
    ]
    genre, tags = {"name": "genre", "value": "novel"}, {"name": "tags", "value": "old, french"}
    assert [tuple(row.values()) for row in tables["items"].to_pylist()] == [
        ("5", "Émile", "a boy", [genre, tags]),
        ("6", "B", None, None),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_list_is_joined(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "interactions.csv", [{"user": 1, "item": 5}])
    write(tmp_path / f"items.{suffix}", [{"item": 5, "tags": ["old", "french"]}])
    assert read(tmp_path, {**BASIC, "attributes": ("tags",)})["items"]["attributes"].to_pylist() == [
        [{"name": "tags", "value": "old, french"}]
    ]


def test_json_ids_of_both_types(tmp_path: Path) -> None:
    write(tmp_path / "interactions.jsonl", [{"user": 1, "item": "a"}])
    with (tmp_path / "interactions.jsonl").open("a") as file:
        file.write('{"user": "x", "item": "b"}\n')
    assert read(tmp_path, BASIC)["interactions"]["user_id"].to_pylist() == ["1", "x"]


def test_a_pattern_reads_several_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "day-2.csv", [{"user": 3, "item": 1}])
    write(tmp_path / "day-1.csv", [{"user": 1, "item": 1}, {"user": 2, "item": 1}])
    assert read(tmp_path, BASIC, interactions_file="day-*.csv")["interactions"]["user_id"].to_pylist() == [
        "1",
        "2",
        "3",
    ]
    write(tmp_path / "day-2.csv", [{"user": 4, "item": 1}, {"user": None, "item": 1}, {"user": 5, "item": 1}])
    fails(tmp_path, r"day-2.csv, row 2, column 'user'", interactions_file="day-*.csv")


def test_gzipped_files(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "interactions.csv.gz").write_bytes(gzip.compress(b"user,item\n1,2\n"))
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress(b'{"item": 2}\n'))
    assert read(tmp_path, BASIC)["interactions"].num_rows == 1
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress(b'{"item": 2}\n')[:-4])
    fails(tmp_path, r"items.jsonl.gz: the file cannot be read")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1600000000", datetime(2020, 9, 13, 12, 26, 40)),
        ("1600000000000", datetime(2020, 9, 13, 12, 26, 40)),
        ("1600000000.25", datetime(2020, 9, 13, 12, 26, 40, 250_000)),
        ("1600000000123456", datetime(2020, 9, 13, 12, 26, 40, 123_456)),
        ("2020-09-13", datetime(2020, 9, 13)),
        ("2020-09-13 12:26:40", datetime(2020, 9, 13, 12, 26, 40)),
        ("2020-09-13T12:26:40+02:00", datetime(2020, 9, 13, 10, 26, 40)),
        ("-86400", datetime(1969, 12, 31)),
    ],
)
def test_times_as_text(tmp_path: Path, value: str, expected: datetime) -> None:
    (tmp_path / "interactions.csv").write_text(f"user,item,when\n1,2,{value}\n1,3,\n")
    assert read(tmp_path, {**BASIC, "timestamp": "when"})["interactions"]["timestamp"].to_pylist() == [expected, None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2020, 1, 1, 12, tzinfo=UTC), datetime(2020, 1, 1, 12)),
        (date(2020, 1, 1), datetime(2020, 1, 1)),
        (1_600_000_000_000, datetime(2020, 9, 13, 12, 26, 40)),
    ],
)
def test_times_with_a_type(tmp_path: Path, value: Any, expected: datetime) -> None:
    write(tmp_path / "interactions.parquet", [{"user": 1, "item": 2, "when": value}])
    assert read(tmp_path, {**BASIC, "timestamp": "when"})["interactions"]["timestamp"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "user,item,stars\n1,2,3\n,2,3\n",
            r"interactions.csv, row 2, column 'user': the id is missing; give every row",
        ),
        (
            "user,item,stars\n1,2,inf\n1,3,1\n",
            r"row 1, column 'stars': the rating is infinite or too big; leave the cell empty",
        ),
        ("user,item,stars\n1,2,3\n1,3,good\n", r"row 2, column 'stars': 'good' is not a number; write a number"),
        (
            "user,item,rating\n1,2,3\n",
            r"column 'stars': the column is missing; the file has: item, rating, user; rename",
        ),
        (
            'user,item,stars\n1,"2\n",3\n1,2,3,4\n',
            r"interactions.csv, row 2, line 4: 4 columns where there should be 3: '1,2,3,4'; quote text",
        ),
        ("user,item,stars\n1\n1,2,3\n", r"interactions.csv, row 1: 1 column where there should be 3: '1'; quote"),
        ("user,item,stars\n", r"interactions.csv: the file holds no rows; write at least one"),
        ("", r"interactions.csv: the file holds no rows; write at least one"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "interactions.csv").write_text(content)
    fails(tmp_path, message, {**BASIC, "rating": "stars"})


def test_broken_utf8_names_its_row(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_bytes(b"user,item,text\n1,2,fine\n1,3,caf\xe9\n")
    fails(tmp_path, r"row 2, column 'text': the text is not UTF-8; save the file as UTF-8", {**BASIC, "review": "text"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user": 1, "item": ', r"interactions.jsonl, row 2: not JSON: .*; write one JSON object per line"),
        ("[1, 2]", r"interactions.jsonl, row 2: a JSON list, not an object"),
        ('{"item": 2}', r"row 2, column 'user': the id is missing"),
        ('{"user": 1, "item": 2, "stars": "bad"}', r"row 2, column 'stars': 'bad' is not a number"),
        (
            '{"user": 1, "item": 2, "when": "yesterday"}',
            r"row 2, column 'when': 'yesterday' is not a time; write seconds since 1970",
        ),
        ('{"user": 1, "item": 2, "when": 1e300}', r"row 2, column 'when': '1e\+300' is not a time"),
    ],
)
def test_bad_json_lines(tmp_path: Path, line: str, message: str) -> None:
    good = '{"user": 1, "item": 1, "stars": 1.5, "when": null}'
    (tmp_path / "interactions.jsonl").write_text(f"{good}\n{line}\n")
    fails(tmp_path, message, {**BASIC, "rating": "stars", "timestamp": "when"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"user": True}, r"column 'user': the column's type is bool; ids must be integers or strings"),
        ({"stars": True}, r"column 'stars': the column's type is bool; a rating must be a number"),
        ({"when": True}, r"column 'when': the column's type is bool; a time must be"),
        ({"text": {"a": 1}}, r"column 'text': the column's type is struct<a: int64>; text is expected"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_wrong_types(tmp_path: Path, row: dict[str, Any], message: str, suffix: str) -> None:
    good = {"user": 1, "item": 2, "stars": 3.0, "when": 4, "text": "t"}
    write(tmp_path / f"interactions.{suffix}", [{**good, **row}])
    fails(tmp_path, rf"interactions.{suffix}, row 1, {message}", COLUMNS)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_ids_that_programs_made_floats_of(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"interactions.{suffix}", [{"user": user, "item": 1} for user in (1.0, 2.5, 1e17, None)])
    assert read(tmp_path, BASIC)["interactions"]["user_id"].to_pylist() == ["1", "2.5"]
    fails(tmp_path, r"row 3, column 'user': '1e\+17' has lost digits of the id; .* store ids as text")


@pytest.mark.parametrize("rating", [float("inf"), 1e300])
def test_ratings_are_finite(tmp_path: Path, rating: float) -> None:
    table = pa.table({"user": [1, 1], "item": [2, 3], "stars": pa.array([1.0, rating])})
    pq.write_table(table, tmp_path / "interactions.parquet")
    fails(tmp_path, r"row 2, column 'stars': the rating is infinite or too big", {**BASIC, "rating": "stars"})


def test_files_that_are_not_there(tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", r"nowhere: no such folder; check ingest.path")
    fails(tmp_path, r"interactions\.\*: no such file; set ingest.interactions_file")
    (tmp_path / "interactions.xls").write_text("x")
    fails(tmp_path, r"interactions.xls: unknown format; use one of .csv")
    (tmp_path / "interactions.xls").unlink()
    write(tmp_path / "interactions.csv", [{"user": 1, "item": 1}])
    fails(tmp_path, r"books.csv: no such file; set ingest.items_file", items_file="books.csv")
    with pytest.raises(DataError, match=r"set ingest\.path"):
        open_reader(IngestConfig(reader="tabular")).sources()


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "interactions.parquet").write_bytes(b"PAR1 but not really")
    fails(tmp_path, r"interactions.parquet: the file cannot be read")


def test_items_occur_once(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", [{"user": 1, "item": 1}])
    write(tmp_path / "items.csv", [{"item": 1}, {"item": 2}, {"item": 1}])
    assert read(tmp_path, BASIC)["items"]["item_id"].to_pylist() == ["1", "2"]
    fails(tmp_path, r"items.csv, row 3, column 'item': item '1' occurs twice; keep one row per item")


def test_interactions_are_with_known_items(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", [{"user": 1, "item": 1}, {"user": 1, "item": 9}])
    assert read(tmp_path, BASIC)["items"].num_rows == 0
    write(tmp_path / "items.csv", [{"item": 1}])
    assert read(tmp_path, BASIC, strict=True)["interactions"]["item_id"].to_pylist() == ["1", "9"]
    assert counts(tmp_path, BASIC)["interactions with an item that the items table lacks"] == 1
    message = r"interactions.csv, row 2, column 'item': item '9' is not in the items table; add the item there"
    fails(tmp_path, message, require_items=True)


def test_sources_are_all_files_read(tmp_path: Path) -> None:
    for name in ("interactions.csv", "items.jsonl", "other.csv"):
        write(tmp_path / name, [{"user": 1, "item": 1}])
    sources = open_reader(IngestConfig(reader="tabular", path=str(tmp_path))).sources()
    assert [source.name for source in sources] == ["interactions.csv", "items.jsonl"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_columns_that_were_probably_forgotten_are_told(tmp_path, suffix):
    """A rating that is not read makes a dislike count as a like, and a title that is not read leaves nothing to say."""
    write(tmp_path / f"interactions.{suffix}", [{"user": "u", "item": "i", "Rating": 1.0, "review": "no", "x": "y"}])
    write(tmp_path / f"items.{suffix}", [{"item": "i", "title": "T", "colour": "red"}])
    shop = {"reader": "tabular", "path": str(tmp_path), "quote": '"'}
    told = check(IngestConfig(**shop, columns=BASIC)).warnings
    assert [line.partition(": ")[2] for line in told] == [
        "the column 'Rating' is not read; ingest.columns.rating = 'Rating' has it read",
        "the column 'review' is not read; ingest.columns.review = 'review' has it read",
        "the column 'title' is not read; ingest.columns.title = 'title' has it read",
    ]
    named = {**BASIC, "rating": "Rating", "review": "review", "title": "title"}
    checked = check(IngestConfig(**shop, columns=named))
    assert checked.usable and not checked.warnings
