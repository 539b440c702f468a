"""Ready-made parts with imported profiles."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from rlmrec_core.config import IngestConfig, PrepareConfig
from rlmrec_core.data import DataError, ingest, open_reader, prepare
from tests.rlmrec_core.data.worlds import drain


def write(folder: Path, **tables: dict[str, list[Any]]) -> Path:
    parts = {"train": ([0, 1], [0, 1]), "validation": ([0], [1]), "test": ([1], [0])}
    columns = {part: {"user": users, "item": items} for part, (users, items) in parts.items()}
    for name, table in {**columns, **tables}.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder


def read(folder: Path, **settings: Any) -> dict[str, pa.Table]:
    return drain(ingest(IngestConfig(reader="splits", path=str(folder), **settings)).tables)


def test_parts_in_order(tmp_path: Path) -> None:
    rows = read(write(tmp_path))["interactions"].to_pylist()
    assert [(row["user_id"], row["item_id"], row["part"]) for row in rows] == [
        ("0", "0", "train"),
        ("1", "1", "train"),
        ("0", "1", "validation"),
        ("1", "0", "test"),
    ]
    assert rows[0]["rating"] is rows[0]["timestamp"] is rows[0]["review"] is None


def test_optional_columns_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path, test={"user": ["a"], "item": ["b"], "rating": [4], "review": ["fine"]})
    assert read(folder)["interactions"].to_pylist()[-1] == {
        **{"user_id": "a", "item_id": "b", "rating": 4.0, "timestamp": None, "review": "fine", "part": "test"}
    }


def test_profiles_and_items_are_imported(tmp_path: Path) -> None:
    write(
        tmp_path,
        items={"item": [0], "title": ["T"], "description": ["D"]},
        item_titles_sample={"item": [0], "title": ["ignored"]},
        item_profiles={"item": [0, 1], "summarization": ["S", ""], "reasoning": ["R", "R"]},
        user_profiles={"user": [1], "summarization": ["U"]},
    )
    tables = read(tmp_path)
    assert tables["items"].to_pylist() == [{"item_id": "0", "title": "T", "description": "D", "attributes": None}]
    assert tables["imported_item_profiles"].to_pylist() == [{"id": "0", "summarization": "S", "reasoning": "R"}]
    assert tables["imported_user_profiles"].to_pylist() == [{"id": "1", "summarization": "U", "reasoning": None}]


def test_partial_profiles_only_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, user_profiles_sample={"user": [1], "summarization": ["U"]})
    assert read(tmp_path)["imported_user_profiles"].num_rows == 0
    assert read(tmp_path, partial_profiles=True)["imported_user_profiles"].num_rows == 1
    sources = [
        open_reader(IngestConfig(reader="splits", path=str(tmp_path), partial_profiles=asked)).sources()
        for asked in (False, True)
    ]
    assert [len(files) for files in sources] == [3, 4]


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("train", {"user": [1]}, r"train.parquet, column 'item': the column is missing; the file has: user"),
        ("items", {"item": [1, 1]}, r"items.parquet, row 2, column 'item': item '1' occurs twice"),
        ("item_profiles", {"item": [1]}, r"item_profiles.parquet, column 'summarization': the column is missing"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, table: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, **{name: table}))


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    (write(tmp_path) / "validation.parquet").unlink()
    with pytest.raises(DataError, match=r"validation.parquet: no such file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "sizes", "n_profiles"),
    [
        ("rlmrec-amazon-book", (11_000, 9_332, 120_464, 40_290, 40_106), 0),
        ("rlmrec-yelp", (11_091, 11_010, 166_620, 55_479, 55_436), 0),
        ("xrec-yelp", (15_962, 14_085, 314_944, 39_368, 39_368), 14_085),
    ],
)
def test_the_published_splits_keep_their_sizes_and_codes(
    shared_data: Path, name: str, sizes: tuple[int, ...], n_profiles: int
) -> None:
    tables = read(shared_data / name)
    out = drain(prepare(ds.dataset(tables["interactions"]), ds.dataset(tables["items"]), PrepareConfig()))
    counts = {row["name"]: row["value"] for row in out["statistics"].to_pylist()}
    assert tuple(counts[key] for key in ("users", "items", "train", "validation", "test")) == sizes
    assert tables["imported_item_profiles"].num_rows == n_profiles
    train = pq.read_table(shared_data / name / "train.parquet")
    assert (
        out["split"]
        .slice(0, train.num_rows)
        .select(["user", "item"])
        .equals(train.select(["user", "item"]).cast(pa.schema([field.with_nullable(False) for field in train.schema])))
    )
