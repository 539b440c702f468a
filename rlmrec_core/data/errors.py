"""The one error that unusable input raises."""

from pathlib import Path


class DataError(ValueError):
    """Input that cannot be used. The message says which file, row and column, what is wrong, and the way out.

    The same stands in the attributes of errors made by `at`: problem, way_out, file, row, line, column, value.
    """

    problem: str | None = None
    way_out: str | None = None
    file: str | None = None
    row: int | None = None
    line: int | None = None
    column: str | None = None
    value: str | None = None

    @classmethod
    def at(
        cls,
        problem: str,
        way_out: str,
        *,
        file: Path | str | None = None,
        row: int | None = None,
        column: str | None = None,
        line: int | None = None,
        value: str | None = None,
    ) -> "DataError":
        """The error about one place.

        `row` counts data rows from 1: a CSV's header is not one. `line` counts the lines of the file from 1; it is
        shown where it does not follow from the row. `value`: what stands there, where the problem does not quote it.
        """
        # Names of columns may hold anything: bytes that are no UTF-8, line ends, commands to a terminal.
        problem, way_out = printable(problem), printable(way_out)
        shown_line = line if row is None or line not in (None, row, row + 1) else None
        parts = (
            ("", None if file is None else printable(str(file))),
            ("row ", row),
            ("column ", None if column is None else repr(column)),
            ("line ", shown_line),
        )
        where = ", ".join(f"{label}{place}" for label, place in parts if place is not None)
        error = cls(f"{where}: {problem}; {way_out}" if where else f"{problem}; {way_out}")
        error.problem, error.way_out, error.file = problem, way_out, None if file is None else str(file)
        error.row, error.line, error.column, error.value = row, line, column, value
        return error


def printable(text: str) -> str:
    """The text on one line, with everything that a terminal would not show as a character written as an escape."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
