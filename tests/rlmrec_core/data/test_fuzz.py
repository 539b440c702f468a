"""Readers of tables given anything: what comes out is a table or a DataError. `test_raw` does it for raw releases."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlmrec_core.config import ColumnMapping, IngestConfig
from rlmrec_core.data import DataError, ingest
from tests.rlmrec_core.data.worlds import drain

COLUMNS = ColumnMapping(
    **{name: name for name in ("user_id", "item_id", "rating", "timestamp", "review", "title", "description")},
    attributes=("more",),
)
HEADERS = {
    "interactions.csv": b"user_id,item_id,rating,timestamp,review\n",
    "items.csv": b"item_id,title,description,more\n",
    "interactions.jsonl": b"",
    "items.jsonl": b"",
    "ratings.csv": b"userId,movieId,rating,timestamp\n",
    "movies.csv": b"movieId,title,genres\n",
    "tags.csv": b"userId,movieId,tag,timestamp\n",
    "ratings.dat": b"",
    "movies.dat": b"",
}
GOOD = {
    "interactions.csv": b'1,1,5,2020-01-01,"good, ""bad"""\n',
    "items.csv": b"1,T,D,M\n",
    "interactions.jsonl": b'{"user_id": 1, "item_id": "1", "rating": 4, "timestamp": 1e9, "review": ["a"]}\n',
    "items.jsonl": b'{"item_id": "1", "title": null, "description": {"a": 1}, "more": 3}\n',
    "ratings.csv": b"1,1,4.5,1000000000\n",
    "movies.csv": b"1,T (1999),A|B\n",
    "tags.csv": b"1,1,fun,1000000000\n",
    "ratings.dat": b"1::1::4::1000000000\n",
    "movies.dat": b"1::T (1999)::A|B\n",
}
PIECES = [b",", b'"', b"\n", b"\r", b"::", b"1", b"-1e400", b"9" * 25, b"NaN", b"\x00", b"\xff", b"\x1f", b"{", b"}"]
PIECES += [b"[", b"]", b":", b'{"user_id": true', b'"item_id"', b"null", b"2020-13-01", b"0001-01-01", b" ", b"T", b"|"]

NOISE = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=8).map(b"".join)


def contents(name: str) -> st.SearchStrategy[bytes]:
    spliced = st.builds(lambda at, new: GOOD[name][:at] + new + GOOD[name][at:], st.integers(0, 90), NOISE)
    rows = st.lists(st.just(GOOD[name]) | spliced | NOISE, max_size=4).map(b"".join)
    return rows.map(lambda body: HEADERS[name] + body) | NOISE


# Arrow complains on the side when it cannot show a row that is not UTF-8, and reports the row all the same.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("reader", "names", "more"),
    [
        ("tabular", ("interactions.csv", "items.csv"), {"columns": COLUMNS}),
        ("tabular", ("interactions.csv", "items.csv"), {"columns": COLUMNS, "escape": "\\", "header": True}),
        ("tabular", ("interactions.jsonl", "items.jsonl"), {"columns": COLUMNS}),
        ("movielens", ("ratings.csv", "movies.csv", "tags.csv"), {}),
        ("movielens", ("ratings.dat", "movies.dat"), {}),
    ],
)
def test_a_table_or_a_data_error(tmp_path: Path, reader: Any, names: tuple[str, ...], more: dict[str, Any]) -> None:
    @settings(max_examples=80)
    @given(st.tuples(*map(contents, names)))
    @example(tuple(HEADERS[name] + GOOD[name] for name in names))
    def check(files: tuple[bytes, ...]) -> None:
        for name, content in zip(names, files, strict=True):
            (tmp_path / name).write_bytes(content)
        with suppress(DataError):
            drain(ingest(IngestConfig(reader=reader, path=str(tmp_path), **more)).tables)

    check()
