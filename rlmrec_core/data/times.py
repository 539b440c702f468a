"""Times in the forms in which people write them: one form for a whole column.

The form is that of most of the first thousand cells that hold anything, unless it is named; whatever does not fit it is
refused. So a column never means two things.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data.chunks import Chunk
from rlmrec_core.data.errors import DataError

MICROSECONDS = pa.timestamp("us")
_NAMES = {
    "seconds": "seconds since 1970",
    "milliseconds": "milliseconds since 1970",
    "microseconds": "microseconds since 1970",
    "nanoseconds": "nanoseconds since 1970",
    "iso": "ISO 8601",
    "yyyymmdd": "a date as YYYYMMDD",
    "year": "a year",
    "excel": "Excel's number of a day",
}
# Units in a second, and below what the numbers of a unit stay: seconds until the year 5138; for others the same.
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_SECONDS_BELOW = 1e11
# Where a column of seconds lies beyond this, 1973, numbers below it are something else: dates, years, days.
_SURELY_SECONDS = 1e8
_EARLIEST = np.datetime64("1995")
"""Nobody's shop or site is older: earlier times are counted from another day, or in another unit."""
_DOUBTFUL = (
    ((1900, 2100), "years, not seconds since 1970", "year"),
    ((20_000, 80_000), "Excel's numbers of days", "excel"),  # 1954 to 2119
)
_EXCEL_EPOCH_DAYS = 25_569
_DAY_SECONDS = 86_400
_FIRST_DAY, _LAST_DAY = 19_000_101, 21_001_231
_DATE_PARTS = r"^\s*(\d{1,2})[./ -](\d{1,2})[./ -](\d{4}|\d{2})\b,?"
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f")
_WAY_OUT = "write seconds since 1970 or ISO 8601, such as 2020-01-31T12:00:00Z, or name ingest.timestamp_format"


class TimeColumn:
    """The times of one column of one file. `form`: one of config's TimeForm or a pattern, None until it is known."""

    def __init__(self, form: str | None = None) -> None:
        self.form = form
        self._named, self._doubted = form is not None, False
        self._least = 0.0
        self._n = self._n_future = 0
        self._latest = np.datetime64(0, "us")
        self._now = np.datetime64(int(time.time()) + _DAY_SECONDS, "s")

    def recognise(self, column: str, found: Sequence[tuple[Chunk, pa.Array]]) -> None:
        """Decide the form by these cells, which are text.

        Raises DataError where it cannot be told without a setting.
        """
        cells = pa.chunked_array([cells for _, cells in found], pa.string()).combine_chunks().drop_null()
        if not len(cells):
            return
        numbers = _numbers(cells)
        try:
            form = _recognised(cells, numbers)
        except _Doubt as doubt:
            chunk, position = next(
                (chunk, at) for chunk, those in found if (at := pc.index(those, doubt.cell).as_py()) >= 0
            )
            raise chunk.error(column, position, doubt.problem, doubt.way_out) from None
        self.form, self._doubted = form or "iso", form is None
        size = pc.abs(numbers.cast(pa.float64(), safe=False)).drop_null().to_numpy()
        # Zero often stands for none.
        if form == "seconds" and len(size := size[size > 0]) and np.median(size) >= _SURELY_SECONDS:
            self._least = _SURELY_SECONDS

    def read(self, chunk: Chunk, column: str, cells: pa.Array) -> pa.Array:
        """Times in UTC of cells that are text, null where they are. Cells that are no times make their rows unusable.

        Raises DataError where the column's form cannot be told without a setting.
        """
        if self.form is None:
            self.recognise(column, [(chunk, cells)])
        if self.form is None:
            return pa.nulls(len(cells), MICROSECONDS)
        times = _parsed(cells, _numbers(cells), self.form, self._named, self._least)
        bad = pc.and_(pc.is_null(times), cells.is_valid())
        if self._doubted:
            problem, way_out = "{} is not a time", _WAY_OUT
        else:
            what = _NAMES.get(self.form, f"a time in the form {self.form!r}")
            problem = f"{{}} is not {what}, {'as ingest.timestamp_format says' if self._named else 'as the others are'}"
            way_out = f"write it as {what}, or name another ingest.timestamp_format"
        chunk.refuse(column, bad, problem, way_out)
        return self.keep(times)

    def keep(self, times: pa.Array) -> pa.Array:
        """Times that the file holds as such."""
        values = times.drop_null().to_numpy()
        self._n += len(values)
        self._n_future += int((values > self._now).sum())
        self._latest = max(self._latest, values.max(initial=self._latest))
        return times

    def warnings(self, file: Path, column: str) -> list[str]:
        """What is strange about the times of a file that was read to its end."""
        told = []
        if self._n and self._latest < _EARLIEST:
            year = self._latest.astype("M8[Y]")
            when = "in 1970" if str(year) == "1970" else f"before {_EARLIEST}, the latest in {year}"
            told.append(f"all times lie {when}; check ingest.timestamp_format")
        if self._n_future:
            told.append(f"{self._n_future:,} of {self._n:,} times lie in the future; check their form")
        return [f"{file}, column {column!r}: {what}" for what in told]


class _Doubt(Exception):
    """The form of a column cannot be told; `cell` is one of those that leave it open."""

    def __init__(self, cell: str, problem: str, way_out: str) -> None:
        super().__init__(problem)
        self.cell, self.problem, self.way_out = cell, f"{cell!r} {problem}", way_out


def _numbers(cells: pa.Array) -> pa.Array:
    """int64 or float64; null where a cell is no number."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return cells.cast(kind)
        except pa.ArrowInvalid:
            continue
    return pa.array(pd.to_numeric(cells.to_pandas(), errors="coerce").astype("float64"), from_pandas=True)


def _recognised(cells: pa.Array, numbers: pa.Array) -> str | None:
    """The form of most cells; None where none is known. Raises _Doubt where only a person can tell."""
    if 2 * (len(numbers) - numbers.null_count) >= len(cells):
        return _form_of_numbers(cells.filter(numbers.is_valid()), numbers.drop_null().to_numpy())
    texts = cells.filter(numbers.is_null())
    if pc.sum(pc.is_valid(_iso(texts))).as_py() * 2 >= len(texts):
        return "iso"
    dated = texts.filter(pc.match_substring_regex(texts, _DATE_PARTS))
    if 2 * len(dated) > len(texts):
        problem = "does not say whether the day or the month comes first"
        raise _Doubt(dated[0].as_py(), problem, "set ingest.timestamp_format to day-first or month-first")
    return None


def _form_of_numbers(cells: pa.Array, values: npt.NDArray[Any]) -> str | None:
    telling = values[values != 0]
    if not len(telling):
        return "seconds"
    if np.mean(~np.isnat(_compact_dates(telling))) > 0.9:
        return "yyyymmdd"
    # Of a few that are something else the form does not hang.
    for (low, high), what, form in _DOUBTFUL:
        inside = (values >= low) & (values <= high)
        if inside.sum() > 0.9 * len(telling):
            way_out = f"set ingest.timestamp_format to {form}, or to seconds"
            raise _Doubt(cells[int(inside.argmax())].as_py(), f"and the others seem to be {what}", way_out)
    limits = [_SECONDS_BELOW * unit for unit in _UNITS.values()]
    units = np.digitize(np.abs(telling.astype("float64")), limits)
    return [*_UNITS, None][int(np.bincount(units).argmax())]


def _parsed(cells: pa.Array, numbers: pa.Array, form: str, named: bool, least: float = 0.0) -> pa.Array:
    if form in _UNITS:
        return _epoch(numbers, _UNITS[form], named, least)
    if form == "iso":
        # A bare number in a column of dates is none, but for YYYYMMDD.
        short = pc.and_(numbers.is_valid(), pc.not_equal(pc.utf8_length(cells), 8))
        return _iso(pc.if_else(pc.fill_null(short, False), pa.scalar(None, pa.string()), cells))
    if form == "yyyymmdd":
        values = numbers.fill_null(0).to_numpy(zero_copy_only=False)
        return _as_times(_compact_dates(values))
    if form == "year":
        whole = pc.fill_null(pc.equal(pc.floor(numbers), numbers), False)
        inside = pc.and_(pc.greater_equal(numbers, 1), pc.less_equal(numbers, 9999))
        years = pc.if_else(pc.and_(whole, inside), numbers, pa.scalar(None, numbers.type)).cast(pa.float64())
        values = years.fill_null(np.nan).to_numpy(zero_copy_only=False)
        begins = (np.nan_to_num(values, nan=1970).astype("int64") - 1970).astype("datetime64[Y]").astype("M8[us]")
        return _as_times(np.where(np.isnan(values), np.datetime64("NaT"), begins))
    if form == "excel":
        days = pc.subtract(numbers.cast(pa.float64()), float(_EXCEL_EPOCH_DAYS))
        return _epoch(pc.round(pc.multiply(days, 1000.0 * _DAY_SECONDS)), 1000, named=True)
    if form in ("day-first", "month-first"):
        return _dated(cells, "%d/%m/" if form == "day-first" else "%m/%d/")
    return parsed_times(cells, form)


def _epoch(numbers: pa.Array, unit: int, named: bool, least: float = 0.0) -> pa.Array:
    """Times of numbers of which `unit` make a second; null where a number must be of another unit.

    least: what a number of seconds must be at least.
    """
    size = pc.abs(numbers.cast(pa.float64(), safe=False))
    # No bigger than the year 5138, and no numbers of a larger unit: 0 often stands for none.
    fits = pc.less(size, _SECONDS_BELOW * unit)
    if not named:
        least = _SECONDS_BELOW * unit / 10_000 if unit > 1 else least
        fits = pc.and_(fits, pc.or_(pc.greater_equal(size, least), pc.equal(size, 0)))
    usable = pc.if_else(pc.fill_null(fits, False), numbers, pa.scalar(None, numbers.type))
    if pa.types.is_integer(usable.type):
        whole = pc.multiply(usable, 10**6 // unit) if unit <= 10**6 else pc.divide(usable, unit // 10**6)
        return whole.cast(MICROSECONDS)
    return pc.round(pc.multiply(usable, 1e6 / unit)).cast(pa.int64()).cast(MICROSECONDS)


def _compact_dates(values: npt.NDArray[Any]) -> npt.NDArray[np.datetime64]:
    """Times of numbers YYYYMMDD or YYYYMMDDhhmmss; NaT where they are none."""
    finite = np.where(np.isfinite(values), values, 0)
    whole = np.where(np.abs(finite) < 10**15, finite, 0).astype("int64")
    clocked = whole >= 10**13
    day = np.where(clocked, whole // 10**6, whole)
    clock = np.where(clocked, whole % 10**6, 0)
    hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
    fits = (day >= _FIRST_DAY) & (day <= _LAST_DAY) & (whole == values) & (hours < 24) & (minutes < 60) & (seconds < 60)
    year, month, of_month = day // 10_000, day // 100 % 100, day % 100
    fits &= (month >= 1) & (month <= 12) & (of_month >= 1)
    months = (np.where(fits, year, 1970) - 1970).astype("datetime64[Y]").astype("datetime64[M]")
    months = months + np.where(fits, month - 1, 0)
    times = months.astype("datetime64[D]") + np.where(fits, of_month - 1, 0)
    fits &= times.astype("datetime64[M]") == months
    exact: npt.NDArray[np.datetime64] = times.astype("M8[us]") + (hours * 3600 + minutes * 60 + seconds) * 10**6
    return np.where(fits, exact, np.datetime64("NaT"))


def _as_times(times: npt.NDArray[np.datetime64]) -> pa.Array:
    return pa.array(times.astype("M8[us]"), MICROSECONDS)


def _iso(texts: pa.Array) -> pa.Array:
    for kind in (MICROSECONDS, pa.timestamp("us", "UTC")):
        try:
            return texts.cast(kind).cast(MICROSECONDS)
        except pa.ArrowInvalid:
            continue
    # Digits beyond microseconds are cut off; a comma may stand for the point.
    tidy = pc.replace_substring_regex(texts, r"[.,](\d{1,6})\d*", r".\1")
    tidy = pc.replace_substring_regex(tidy, r"\s*(UTC|GMT|z)$", "Z")
    return parsed_times(tidy)


def _dated(cells: pa.Array, order: str) -> pa.Array:
    """Times of texts such as 31.1.2020 15:30 or 1/31/20, 3:30:00 PM."""
    tidy = pc.utf8_upper(pc.replace_substring_regex(cells, _DATE_PARTS, r"\1/\2/\3"))
    times = pa.nulls(len(cells), MICROSECONDS)
    for year in ("%Y", "%y"):
        for clock in _CLOCKS:
            if times.null_count > cells.null_count:
                times = pc.coalesce(times, parsed_times(tidy, order + year + clock))
    return times


def parsed_times(array: pa.Array, form: str = "ISO8601") -> pa.Array:
    """Times in UTC of texts in the given form (as pandas names it), null where there is none."""
    try:
        # Without digits pandas takes "now" and "today" for times, too.
        digits = pc.match_substring_regex(array, r"\d")
        array = pc.if_else(digits, array, pa.scalar(None, pa.string()))
        times = pd.to_datetime(array.to_pandas(), format=form, utc=True, errors="coerce")
    except ValueError as error:
        raise DataError.at(f"no pattern of times: {error}", "repair ingest.timestamp_format") from error
    return pa.array(times.dt.tz_localize(None).dt.as_unit("us"), MICROSECONDS, from_pandas=True)
