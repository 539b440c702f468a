"""The one error that unusable input raises."""

from pathlib import Path


class DataError(ValueError):
    """Input that cannot be used. The message says which file, row and column, what is wrong, and the way out."""

    @classmethod
    def at(
        cls,
        problem: str,
        way_out: str,
        *,
        file: Path | str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> "DataError":
        """The error about one place. `row` counts data rows from 1: a CSV's header is not one."""
        parts = (("", file), ("row ", row), ("column ", None if column is None else repr(column)))
        where = ", ".join(f"{label}{value}" for label, value in parts if value is not None)
        return cls(f"{where}: {problem}; {way_out}" if where else f"{problem}; {way_out}")
