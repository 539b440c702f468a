"""Tables in every dialect that the settings offer: read as they were written, or refused with the place."""

import csv
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import DataError, check, delimited, ingest
from tests.rlmrec_core.data.small import COLUMNS, GOOD, NAMES, config, refusal, rows
from tests.rlmrec_core.data.worlds import drain


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('u1,i1,a\nu2,i2,"great\nu3,i3,ok\n', 'row 2: a quote (") opens here and is never closed'),
        ('u1,i1,a\nu2,i2,"great\nu3,i3,"ok"\n', 'row 2: a quote (") opens here and closes before the cell ends'),
        ('u1,i1,"a\nb"\nu2,i2,c\nu3,"i3,d\nu4,i4,e\n', "row 3, line 5: a quote"),
        ('u1,i1,a\nu2,i2,"b"c\n', "row 2: a quote"),
    ],
)
def test_a_quote_that_swallows_rows_is_refused_where_it_begins(tmp_path: Path, content: str, place: str) -> None:
    chosen = config(tmp_path, f"user,item,text\n{content}".encode())
    assert place in refusal(chosen) and 'ingest.quote = ""' in refusal(chosen)
    unquoted = rows(chosen.model_copy(update={"quote": ""}))
    n_misfits = check(chosen.model_copy(update={"quote": ""})).faults.num_rows
    assert len(unquoted) + n_misfits == content.count("\n")


SWALLOWING = 'user,item,text\nu1,i1,"great\nu2,i2,ok\nu3,i3,nice"\nu4,i4,"a\nb, c, d\n""e"", f"\n'


@pytest.mark.parametrize("name", ["interactions.csv", "unmapped.csv"])
def test_rows_between_two_lone_quotes_are_told(tmp_path: Path, name: str) -> None:
    columns = {"user_id": "user", "item_id": "item"} if name == "unmapped.csv" else COLUMNS
    chosen = config(tmp_path, SWALLOWING.encode(), name, columns=columns)

    def told() -> None:
        ingested = ingest(chosen)
        assert drain(ingested.tables)["interactions"].num_rows == 2
        assert [f"{name}, line 3: 2 lines within quotes look like rows" in line for line in ingested.warnings()] == [
            True
        ]

    by_both(told)
    strict = check(chosen.model_copy(update={"strict": True})).error
    assert strict and "line 3: a line within quotes looks like a row" in strict and 'ingest.quote = ""' in strict


def test_names_of_columns_within_the_file_are_no_row(tmp_path: Path) -> None:
    joined = config(tmp_path, b"user,item,text\nu1,i1,a\n\xef\xbb\xbfuser,item,text\n\xef\xbb\xbfu2,i2,b\n")
    assert rows(joined) == GOOD
    [fault] = check(joined).faults.to_pylist()
    assert (fault["row"], fault["problem"]) == (2, "the row repeats the columns' names")
    named = config(tmp_path, b"user,item,text\nu1,i1,a\nu2,i2,b\n", column_names=tuple(NAMES))
    assert rows(named) == GOOD and check(named).faults["row"].to_pylist() == [1]


def test_a_key_that_stands_twice_in_an_object(tmp_path: Path) -> None:
    lines = (
        b'{"user": "u1", "item": "i1", "text": "\\"text\\"", "user": "u0"}\n{"user": "u2", "item": "i2", "text": "b"}\n'
    )
    chosen = config(tmp_path, lines, "a.jsonl")
    assert rows(chosen) == GOOD[1:]
    [fault] = check(chosen).faults.to_pylist()
    assert (fault["row"], fault["problem"]) == (1, "the key 'user' stands there twice")


@pytest.mark.parametrize("content", [b'[{"user": 1},\n{"user": 2}]', b"[\n {", b'{\n "user": 1\n}'])
def test_json_over_a_whole_file_is_named(tmp_path: Path, content: bytes) -> None:
    message = refusal(config(tmp_path, content, "a.json"))
    assert "not an object per line" in message or "over several lines" in message
    assert "jq -c" in message


def test_all_files_are_looked_at_though_one_is_refused(tmp_path: Path) -> None:
    for name, content in {
        "1": "user\nu\n",
        "2": 'user,item,text\nu,i,"\n',
        "3": "user,item,text\n,i,a\nu,i,b\n",
    }.items():
        (tmp_path / f"{name}.csv").write_text(content)
    (tmp_path / "items.csv").write_text("item\n\n")
    checked = check(config(tmp_path, name="[123].csv", items_file="items.csv"))
    told = [(Path(fault["file"]).name, fault["problem"]) for fault in checked.faults.to_pylist()]
    assert [name for name, _ in told] == ["1.csv", "2.csv", "3.csv", "items.csv"]
    assert told[2][1] == "the id is missing" and checked.report["value"].to_pylist()[0] == 1
    assert checked.error and "1.csv, column 'item': the column is missing" in checked.error


def test_a_quote_far_behind_is_found_where_it_begins(tmp_path: Path) -> None:
    content = "user,item,text\n" + "u,i,plain\n" * 300_000 + 'u,i,"open\n' + "u,i,plain\n" * 300_000
    assert "row 300001: a quote" in refusal(config(tmp_path, content.encode()))


def test_quotes_within_a_cell_are_text(tmp_path: Path) -> None:
    chosen = config(tmp_path, b'user,item,text\nu1,i1,5" disc\nu2,"i,2","a ""b"""\n')
    assert rows(chosen) == [("u1", "i1", '5" disc'), ("u2", "i,2", 'a "b"')]


def test_quotes_after_a_blank_are_not_taken_for_text(tmp_path: Path) -> None:
    chosen = config(tmp_path, b'user, item, text\nu1, i1, a\n"u2", "i2", "b"\nu3,i3, "c" and d\nu4,i4," ""e"""\n')
    assert rows(chosen) == [("u1", "i1", " a"), ("u3", "i3", ' "c" and d'), ("u4", "i4", ' "e"')]
    [fault] = check(chosen).faults.to_pylist()
    assert (fault["row"], fault["problem"]) == (2, "' \"i2\"' has a blank before its quote")


def test_tab_separated_files_have_no_quotes_unless_said(tmp_path: Path) -> None:
    chosen = config(tmp_path, b'user\titem\ttext\nu1\ti1\t"Sam"\nu2\ti2\t"open\n', "a.tsv")
    assert rows(chosen) == [("u1", "i1", '"Sam"'), ("u2", "i2", '"open')]
    assert "row 2: a quote" in refusal(chosen.model_copy(update={"quote": '"'}))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_that_makes_the_header_fit_is_taken(tmp_path: Path, delimiter: str) -> None:
    content = "\n".join(delimiter.join(row) for row in [("user", "item", "text"), ("u1", "i1", "a, b")]) + "\n"
    assert rows(config(tmp_path, content.encode())) == [("u1", "i1", "a, b")]
    wrong = config(tmp_path, content.encode(), columns=COLUMNS | {"user_id": "customer"})
    assert f"set apart by {delimiter!r}: see ingest.delimiter" in refusal(wrong)


def test_files_without_a_header(tmp_path: Path) -> None:
    content = b"u1::i1::a::9\nu2::i2::b::9\n"
    named = config(tmp_path, content, "a.dat", delimiter="::", column_names=NAMES)
    assert rows(named) == GOOD
    numbered = config(
        tmp_path, delimiter="::", header=False, name="a.dat", columns={"user_id": "1", "item_id": "2", "review": "3"}
    )
    assert rows(numbered) == GOOD
    assert "unknown format; use one of .csv" in refusal(config(tmp_path, content, "a.dat"))
    headed = config(tmp_path, b"1,2,3\n1,2,3\n")
    assert "if the first row is no header, name the columns in ingest.column_names" in refusal(headed)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user,item,text,Item", "column 'item': the file has 2 columns of that name: 'item', 'Item'; rename all but"),
        ("user,item,item,text", "the file has 2 columns of that name: 'item', 'item'"),
        ("User,item,text", "column 'user': the column is missing; the file has: User, item, text; did you mean 'User'"),
    ],
)
def test_columns_of_nearly_the_same_name(tmp_path: Path, header: str, message: str) -> None:
    assert message in refusal(config(tmp_path, f"{header}\n1,2,3,4\n".encode()))
    assert rows(config(tmp_path, b" user , item,text\nu1,i1,a\nu2,i2,b\n")) == GOOD


def test_names_of_columns_that_are_no_text_are_shown(tmp_path: Path) -> None:
    checked = check(config(tmp_path, b"us\xffer,item,text\n1,2,3\n"))
    assert checked.error and r"the file has: item, text, us\udcffer" in checked.error


def test_a_pattern_of_items_that_is_none(tmp_path: Path) -> None:
    message = refusal(config(tmp_path, b"user,item,text\n1,2,3\n", item_pattern="("))
    assert "ingest.item_pattern: " in message and "repair the expression" in message


def test_ids_keep_their_digits_and_whole_numbers_are_one(tmp_path: Path) -> None:
    unseen = "user,item,text\n007,1.0,\n \ufeff7\u200b\u00a0,1,\n".encode()
    content = unseen + b"12345678901234567890123,2.50,\n1.2e+12,3,\n1,NaN,\n"
    chosen = config(tmp_path, content)
    assert [row[:2] for row in rows(chosen)] == [("007", "1"), ("7", "1"), ("12345678901234567890123", "2.50")]
    checked = check(chosen)
    counts = {row["name"]: row["value"] for row in checked.report.to_pylist()}
    assert counts["ids like 1.0 read as 1 in 'item'"] == 1 and counts["ids with blanks around them in 'user'"] == 1
    assert [fault["problem"] for fault in checked.faults.to_pylist()] == [
        "'1.2e+12' has lost digits of the id",
        "the id is missing",
    ]


def test_json_ids_keep_their_digits(tmp_path: Path) -> None:
    big = 10**20
    lines = [{"user": big, "item": 1.0}, {"user": big + 1, "item": 1}, {"user": "x", "item": True}]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    chosen = config(tmp_path, content, "a.jsonl", columns={"user_id": "user", "item_id": "item"})
    assert [row[:2] for row in rows(chosen)] == [(str(big), "1"), (str(big + 1), "1")]
    [fault] = check(chosen).faults.to_pylist()
    assert fault["problem"] == "'true' is not an id" and fault["row"] == 3


def test_json_lines_as_programs_write_them(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"user": "u1", "item": "i1", "text": NaN}\r\n\n{"user": "u2", "item": "i2"}\n\n'
    chosen = config(tmp_path, content, "a.jsonl")
    assert rows(chosen) == [("u1", "i1", None), ("u2", "i2", None)]
    counts = {row["name"]: row["value"] for row in check(chosen).report.to_pylist()}
    assert counts["lines with NaN, which is no JSON, read as missing"] == 1


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    orders = (
        "customer,sku,when,quantity\n"
        + "c1,1,2020-01-01,2\n" * 20
        + ",1,2020-01-01,1\n c2 ,2,2020-01-01,1\nc3,9,2020-01-01,1\nc4,1,soon,1\nc5,1,2020-01-01,many\nc6,1\n"
    )
    (tmp_path / "orders.csv").write_text(orders)
    (tmp_path / "articles.csv").write_text("article,name\n1,A\n 2,B\n1,A again\n")
    columns = {"user_id": "customer", "item_id": "sku", "items_item_id": "article", "timestamp": "when"}
    columns |= {"rating": "quantity", "title": "name"}
    chosen = IngestConfig(
        reader="tabular",
        path=str(tmp_path),
        columns=columns,
        interactions_file="orders.csv",
        items_file="articles.csv",
    )
    checked = check(chosen)
    assert checked.usable and check(chosen.model_copy(update={"strict": True})).error
    assert not checked.warnings
    [warning] = check(chosen, min_rating=3).warnings
    assert "22 of 22 interactions are rated below prepare.min_rating (3)" in warning and "quantities" in warning
    told = [(fault["row"], fault["column"], fault["text"]) for fault in checked.faults.to_pylist()]
    assert sorted(told) == sorted([(26, None, "c6,1"), (21, "customer", ""), (25, "quantity", "many"), (24, "when", "soon"), (3, "article", "1")])  # fmt: skip  # noqa: E501
    assert all(fault["way_out"] for fault in checked.faults.to_pylist())
    repaired = [(fault["row"], fault["column"], fault["text"]) for fault in checked.repairs.to_pylist()]
    assert repaired == [(22, "customer", " c2 "), (23, "sku", "9"), (2, "article", " 2")]
    counts = {row["name"]: row["value"] for row in checked.report.to_pylist()}
    assert counts["interactions"] == 22 and counts["items"] == 2
    assert counts["interactions with an item that the items table lacks"] == 1
    tables = drain(ingest(chosen).tables)
    assert tables["interactions"]["user_id"].to_pylist()[-2:] == ["c2", "c3"]


def test_a_file_that_is_mostly_unreadable_fails(tmp_path: Path) -> None:
    content = b"user,item,text\nu1,i1,a\nx\ny\n"
    message = refusal(config(tmp_path, content))
    assert "row 2: 1 column where there should be 3" in message and "2 of the file's 3 lines (67%)" in message
    assert rows(config(tmp_path, max_malformed_share=0.7)) == [("u1", "i1", "a")]
    assert "more than 1 (ingest.max_malformed)" in refusal(config(tmp_path, max_malformed=1))
    none = refusal(config(tmp_path, b"user,item,text\nx\ny\n"))
    assert "holds no usable line; of 2 none can be read (line 2: 1 column where" in none


TEXT = st.text(st.sampled_from("ab1,;|\t\"'\n\\ äß€#:{}"), max_size=8) | st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=5
)
ID = st.text(st.sampled_from("abcXYZ0123456789ä€-_.,;\"'|"), min_size=1, max_size=6).filter(
    lambda text: text == text.strip() and not text.endswith(".0") and text.lower() not in ("nan", "null", "none")
)
TABLE = st.lists(st.tuples(ID, ID, TEXT), min_size=1, max_size=5)


def as_csv(table: list[tuple[str, ...]], delimiter: str, quote: str, escape: str, ends: str) -> str:
    out = io.StringIO()
    options: dict[str, Any] = {"doublequote": not escape, "escapechar": escape or None, "lineterminator": ends}
    writer = csv.writer(out, delimiter=delimiter, quotechar=quote, **options)
    writer.writerows([tuple(NAMES), *table])
    return out.getvalue()


def expected(table: list[tuple[str, ...]]) -> list[tuple[Any, ...]]:
    return [(user, item, text if text.strip() else None) for user, item, text in table]


@pytest.fixture(autouse=True)
def _texts_as_they_are(request: pytest.FixtureRequest) -> Any:
    """What becomes of texts is tested elsewhere."""
    with mock.patch("rlmrec_core.data.cells.clean_texts", _blank_to_none):
        yield


def _blank_to_none(array: pa.Array) -> pa.Array:
    return pa.array([None if text is None or not text.strip() else text for text in array.to_pylist()], pa.string())


def test_tables_in_every_dialect_come_back(tmp_path: Path) -> None:
    @settings(max_examples=80)
    @given(
        TABLE,
        st.sampled_from([",", ";", "\t", "|", "^"]),
        st.sampled_from("\"'"),
        st.sampled_from(["", "\\"]),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"]),
    )
    def come_back(table: Any, delimiter: str, quote: str, escape: str, ends: str, encoding: str) -> None:
        content = as_csv(table, delimiter, quote, escape, ends).encode(encoding)
        form = {"delimiter": delimiter, "quote": quote, "escape": escape, "encoding": encoding}
        assert rows(config(tmp_path, content, **form)) == expected(table)

    come_back()


def test_tables_of_other_programs_come_back(tmp_path: Path) -> None:
    @settings(max_examples=25)
    @given(TABLE)
    def come_back(table: Any) -> None:
        frame = pd.DataFrame(table, columns=NAMES)
        assert rows(config(tmp_path, frame.to_csv(index=False).encode())) == expected(table)
        lines = "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in table)
        assert rows(config(tmp_path, lines.encode(), "a.jsonl")) == expected(table)
        frame.to_parquet(tmp_path / "a.parquet")
        assert rows(config(tmp_path, name="a.parquet")) == expected(table)

    come_back()


PIECES = ['"', ",", "\n", "\r\n", "a", '""', '"a"', "u,i,t\n", 'u,i,"x\ny"\n', 'u,"i""",t\n', " ", "\\"]


def by_both(check_them: Callable[[], Any]) -> None:
    """Also with every block read record by record."""
    check_them()
    with mock.patch.object(delimited, "end_of_records", lambda *_: None):
        check_them()


def test_every_row_is_read_or_told(tmp_path: Path) -> None:
    """As many rows as Python's own parser counts, in blocks of any size; or the file is refused."""

    @settings(max_examples=120)
    @given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.integers(1, 40))
    @example('u,i,"x\ny"\nu,i\nu,i,t', 7)
    def told(body: str, size: int) -> None:
        content = f"user,item,text\n{body}"

        def compare() -> None:
            checked = None
            with suppress(DataError):
                chosen = config(tmp_path, content.encode(), max_malformed_share=1.0)
                checked = check(chosen)
            assert checked is not None
            if checked.error and "a quote" in checked.error:
                with pytest.raises(csv.Error):
                    list(csv.reader(io.StringIO(content, newline=""), strict=True))
                return
            counted = [
                row for row in csv.reader(io.StringIO(content, newline="")) if len(row) > 1 or "".join(row).strip()
            ]
            n_read = checked.report.to_pylist()[0]["value"]
            n_told = len([fault for fault in checked.faults.to_pylist() if fault["row"]])
            assert n_read + n_told == len(counted) - 1

        with mock.patch("rlmrec_core.data.files.BLOCK_BYTES", max(size, len("user,item,text\n"))):
            by_both(compare)

    told()
