"""The small inputs kept beside the repository, read as they stand there; skipped where they are absent."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import Checked, check, ingest
from tests.rlmrec_core.data.worlds import drain

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"


def settings(case: str, **more: Any) -> IngestConfig:
    folder = CASES / case
    if not folder.is_dir():
        pytest.skip(f"no case at {folder}")
    written = tomllib.loads((folder / "own.toml").read_text(encoding="utf-8-sig"))["ingest"]
    return IngestConfig(**{"reader": "tabular"} | written | {"path": str(folder)} | more)


def counts(checked: Checked) -> dict[str, float]:
    return {row["name"]: row["value"] for row in checked.report.to_pylist()}


SHOPS = [
    "blankjsonl",
    "bomjsonl",
    "bomtoml",
    "bracket",
    "floatids",
    "html",
    "nanjsonl",
    "noval",
    "semi",
    "utf16",
    "ymd",
]


@pytest.mark.parametrize("case", [*SHOPS, "abspath"])
def test_a_shop_is_read_whole(case: str) -> None:
    more = {"interactions_file": str(CASES / case / "orders.csv")} if case == "abspath" else {}
    checked = check(settings(case, strict=True, **more))
    assert checked.usable and not checked.warnings and not checked.faults.num_rows
    assert counts(checked)["interactions"] == 192 and counts(checked)["items"] == 16
    orders = drain(ingest(settings(case, **more)).tables)["interactions"]
    assert len(orders["user_id"].unique()) == 24 and orders["timestamp"].to_pylist()[0].year == 2020


def test_orders_alone_are_enough() -> None:
    assert counts(check(settings("notext")))["interactions"] == 192


def test_texts_that_say_nan_are_none() -> None:
    tables = drain(ingest(settings("nantext")).tables)
    assert tables["items"]["title"].to_pylist()[:5] == [None] * 5
    assert tables["interactions"]["review"].null_count == tables["interactions"].num_rows


def test_big_ids_stay_apart() -> None:
    users = drain(ingest(settings("tab-big-id-collapse")).tables)["interactions"]["user_id"].to_pylist()
    assert users == ["100000000000000000000", "100000000000000000001", "100000000000000000002", "x"]


@pytest.mark.parametrize(
    ("case", "expected"), [("tab-time-net", "2020-01-31T12:00:00.123456"), ("tab-time-yyyymmdd", "2020-01-31T00:00:00")]
)
def test_times_are_what_they_say(case: str, expected: str) -> None:
    assert drain(ingest(settings(case)).tables)["interactions"]["timestamp"].to_pylist()[0].isoformat() == expected


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("tab-dupheader", "column 'item': the file has 2 columns of that name: 'item', 'item'; rename all but one"),
        ("tab-unclosed-quote-last", 'row 2: a quote (") opens here and is never closed; close it, double the quotes'),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(case: str, message: str) -> None:
    error = check(settings(case)).error
    assert error and message in error and "\n" not in error


def test_an_unclosed_quote_is_text_without_quoting() -> None:
    reviews = drain(ingest(settings("tab-unclosed-quote-last", quote="")).tables)["interactions"]["review"].to_pylist()
    assert reviews == ["a", '"great', "ok", "fine"]


@pytest.mark.parametrize(("case", "reader"), [("slash-mixed", "amazon-2014"), ("mlfloat", "movielens")])
def test_releases_of_odd_copies_are_read(case: str, reader: Any) -> None:
    if not (CASES / case).is_dir():
        pytest.skip(f"no case at {CASES / case}")
    chosen = IngestConfig(reader=reader, path=str(CASES / case))
    assert check(chosen).usable
    tables = drain(ingest(chosen).tables)
    if reader == "movielens":
        assert tables["items"]["description"].to_pylist() == ["A lamp on a hill.", "A kettle that sings.", None]
    else:
        assert tables["interactions"]["item_id"].to_pylist() == ["B1", "a/b"]
        assert tables["interactions"]["review"].to_pylist() == ["x", "Naturopathic/Holistic"]
