"""Times in the forms in which people write them, one form for a whole column."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import DataError, check, ingest
from tests.rlmrec_core.data.worlds import drain

COLUMNS = {"user_id": "user", "item_id": "item", "timestamp": "when"}
NOON = datetime(2020, 1, 31, 12)


def config(folder: Path, values: list[str], **settings: Any) -> IngestConfig:
    rows = "".join(f"u{n},i,{value}\n" for n, value in enumerate(values))
    (folder / "interactions.csv").write_text(f"user,item,when\n{rows}")
    return IngestConfig(reader="tabular", path=str(folder), columns=COLUMNS, **settings)


def times(folder: Path, values: list[str], **settings: Any) -> list[datetime | None]:
    return drain(ingest(config(folder, values, **settings)).tables)["interactions"]["timestamp"].to_pylist()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1580472000", NOON),
        ("1580472000000", NOON),
        ("1580472000000000", NOON),
        ("1580472000000000123", NOON),
        ("20200131", datetime(2020, 1, 31)),
        ("20200131120000", NOON),
        ("2020-01-31T12:00:00.1234567Z", NOON.replace(microsecond=123456)),
        ("2020-01-31T12:00:00.123456789", NOON.replace(microsecond=123456)),
        ('"2020-01-31 12:00:00,5"', NOON.replace(microsecond=500_000)),
        ("2020-01-31 12:00:00 UTC", NOON),
        ("2020-01-31T14:00:00+0200", NOON),
        (" 2020-01-31T12:00 ", NOON),
    ],
)
def test_forms_that_are_recognised(tmp_path: Path, value: str, expected: datetime) -> None:
    assert times(tmp_path, [value, "", "NaN", "NULL"]) == [expected, None, None, None]


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("seconds", "2020", datetime(1970, 1, 1, 0, 33, 40)),
        ("milliseconds", "1000", datetime(1970, 1, 1, 0, 0, 1)),
        ("year", "2020", datetime(2020, 1, 1)),
        ("excel", "43861.5", NOON),
        ("day-first", "31.1.2020 12:00", NOON),
        ("day-first", "3/2/20", datetime(2020, 2, 3)),
        ("month-first", "1/31/2020 12:00:00 PM", NOON),
        ("month-first", "01-31-2020", datetime(2020, 1, 31)),
        ("%d %b %Y", "31 Jan 2020", datetime(2020, 1, 31)),
        ("%a %b %d %H:%M:%S %z %Y", "Fri Jan 31 04:00:00 -0800 2020", NOON),
    ],
)
def test_forms_that_are_named(tmp_path: Path, form: str, value: str, expected: datetime) -> None:
    assert times(tmp_path, [value, ""], timestamp_format=form) == [expected, None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2020", "2019"], r"row 1, column 'when': '2020' and the others seem to be years, .*; set .* to year"),
        (["1580472000", *["2020"] * 20], r"row 2, column 'when': '2020' and the others seem to be years"),
        (["43861", "43862.25"], r"'43861' and the others seem to be Excel's numbers of days; set .* to excel"),
        (["31.01.2020", "1.2.2020"], r"'31.01.2020' does not say whether the day .*; set .* day-first or month-first"),
        (["1/2/2020 10:00"], r"set ingest.timestamp_format to day-first or month-first"),
        (["yesterday", "today"], r"'yesterday' is not a time; .*write seconds since 1970 or ISO 8601"),
    ],
)
def test_forms_that_only_a_person_can_tell(tmp_path: Path, values: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        times(tmp_path, values)


@pytest.mark.parametrize(
    ("values", "bad", "problem"),
    [
        (["1580472000"] * 3, "2020-01-31", "'2020-01-31' is not seconds since 1970, as the others are"),
        (["1580472000"] * 3, "1580472000000", "'1580472000000' is not seconds since 1970"),
        (["1580472000"] * 3, "20200131", "'20200131' is not seconds since 1970"),
        (["1580472000"] * 3, "2020", "'2020' is not seconds since 1970"),
        (["1580472000000"] * 3, "1580472000", "'1580472000' is not milliseconds since 1970"),
        (["20200131"] * 3, "20200230", "'20200230' is not a date as YYYYMMDD"),
        (["2020-01-31"] * 3, "1580472000", "'1580472000' is not ISO 8601"),
        (["2020-01-31"] * 3, "2020-02-30", "'2020-02-30' is not ISO 8601"),
    ],
)
def test_a_column_means_one_thing_however_long_it_is(tmp_path: Path, values: list[str], bad: str, problem: str) -> None:
    values = [value for value in values for _ in range(30_000)]
    checked = check(config(tmp_path, [*values, bad, values[0]]))
    [fault] = checked.faults.to_pylist()
    assert (fault["row"], fault["line"], fault["column"], fault["text"]) == (90_001, 90_002, "when", bad)
    assert fault["problem"].startswith(problem) and checked.usable


def test_a_few_odd_cells_at_the_beginning_decide_nothing(tmp_path: Path) -> None:
    values = ["5", *[""] * 30, "2020-01-31", *["1580472000000"] * 30]
    with mock.patch("rlmrec_core.data.files.BLOCK_BYTES", 40):
        checked = check(config(tmp_path, values))
    assert [(fault["row"], fault["text"]) for fault in checked.faults.to_pylist()] == [(1, "5"), (32, "2020-01-31")]


def test_the_zero_that_stands_for_none_decides_nothing(tmp_path: Path) -> None:
    assert times(tmp_path, ["0", "1580472000000", "0"]) == [datetime(1970, 1, 1), NOON, datetime(1970, 1, 1)]


def test_strange_times_are_told(tmp_path: Path) -> None:
    assert "all times lie in 1970; check ingest.timestamp_format" in check(config(tmp_path, ["5", "7"])).warnings[0]
    assert (
        "all times lie before 1995, the latest in 1974" in check(config(tmp_path, ["132223104000000000"])).warnings[0]
    )
    later = (datetime.now(UTC) + timedelta(days=300)).strftime("%Y-%m-%d")
    assert "1 of 2 times lie in the future" in check(config(tmp_path, [later, "2020-01-31"])).warnings[0]
    assert check(config(tmp_path, ["2020-01-31", "1999-01-31"])).warnings == []


FORMS = {
    "seconds": lambda t: str(int(t.timestamp())),
    "milliseconds": lambda t: str(int(t.timestamp()) * 1000),
    "nanoseconds": lambda t: f"{int(t.timestamp())}000000000",
    "yyyymmdd": lambda t: t.strftime("%Y%m%d%H%M%S"),
    "iso": lambda t: t.isoformat(),
    "day-first": lambda t: t.strftime("%d.%m.%Y %H:%M:%S"),
    "month-first": lambda t: t.strftime("%m/%d/%Y %I:%M:%S %p"),
}


def test_every_form_says_the_same(tmp_path: Path) -> None:
    moments = st.datetimes(datetime(1975, 1, 1), datetime(2040, 1, 1)).map(
        lambda t: t.replace(microsecond=0, tzinfo=UTC)
    )

    @given(st.lists(moments, min_size=1, max_size=5), st.sampled_from(sorted(FORMS)))
    def says(written: list[datetime], form: str) -> None:
        named = {"timestamp_format": form} if form.endswith("first") else {}
        read = times(tmp_path, [FORMS[form](t) for t in written], **named)
        assert read == [t.replace(tzinfo=None) for t in written]

    says()


def test_a_form_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'us-style' is not one of seconds, .*, nor a pattern such as"):
        config(tmp_path, [], timestamp_format="us-style")
