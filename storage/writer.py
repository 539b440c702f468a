"""Writing one artifact: files into a temporary folder, each hashed as it is closed."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.errors import explained
from storage.keys import checked_file
from storage.manifest import FileEntry

ROW_GROUP = 65_536
"""Rows in one Parquet row group. Fixed, since the same key must give the same bytes."""
_LOOKED_AT = 4096


class ArtifactWriter:
    """Collects the files of one artifact in `folder`; `ArtifactStore.writer` publishes them all at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, FileEntry] = {}
        self.unfinished: str | None = None
        """What the artifact lacks and a later run may add, in words that tell one such gap from another."""
        self.earlier_seconds = 0.0
        """What interrupted attempts took whose work this one goes on from."""
        self.key = ""
        """The key it was published under; known when the writing has ended."""

    def table(self, name: str, table: pa.Table) -> int:
        """Write a table as `name`.parquet; returns its number of rows."""
        return self.batches(name, table.schema, table.to_batches())

    def batches(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """Write a stream of record batches as `name`.parquet in constant memory; returns the number of rows."""
        path = self._path(f"{name}.parquet")
        groups = _regroup(schema, batches)
        first = next(groups, schema.empty_table())
        with explained(f"write {path}"):
            writer = pq.ParquetWriter(path, schema, compression="zstd", version="2.6", use_dictionary=_repeating(first))
        groups = chain([first], groups)
        del first  # No name may hold a group that is written while the next one is gathered.
        try:
            rows = sum(map(partial(_write, writer, path), groups))
            with explained(f"write {path}"):
                writer.close()
        except BaseException:
            with suppress(OSError):  # a full disk takes no footer either
                writer.close()
            raise
        self._close(path, rows, {field.name: str(field.type) for field in schema})
        return rows

    def file(self, name: str, content: bytes) -> None:
        """Write other content, such as weights in the safetensors format."""
        with self.stream(name) as file:
            file.write(content)

    @contextmanager
    def stream(self, name: str) -> Iterator[BinaryIO]:
        """The same for content that is written piece by piece."""
        path = self._path(name)
        with explained(f"write {path}"), path.open("wb") as file:
            yield file
        self._close(path, None, None)

    def _path(self, name: str) -> Path:
        if checked_file(name) in self.files:
            raise ValueError(f"{name} was written already")
        return self._folder / name

    def _close(self, path: Path, rows: int | None, columns: dict[str, str] | None) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.files[path.name] = FileEntry(sha256=sha256, bytes=path.stat().st_size, rows=rows, columns=columns)


def _write(writer: pq.ParquetWriter, path: Path, group: pa.Table) -> int:
    """One row group more; an error of the disk is told apart from one of whoever made the rows."""
    if group.num_rows:
        with explained(f"write {path}"):
            writer.write_table(group, row_group_size=ROW_GROUP)
    return int(group.num_rows)


def _repeating(group: pa.Table) -> list[str]:
    """Columns that are worth a dictionary: those whose values repeat. To build one for the others takes most time."""
    return [
        name
        for name, column in zip(group.column_names, group.columns, strict=True)
        if pa.types.is_nested(column.type) or pc.count_distinct(column.slice(0, _LOOKED_AT)).as_py() < _LOOKED_AT / 2
    ]


def _regroup(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of exactly ROW_GROUP rows (the last may be shorter), however the batches were cut."""
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in batches:
        while n_waiting + batch.num_rows >= ROW_GROUP:
            head = batch.slice(0, ROW_GROUP - n_waiting)
            yield pa.Table.from_batches([*waiting, head], schema=schema)
            batch, waiting, n_waiting = batch.slice(head.num_rows), [], 0
        if batch.num_rows:
            waiting.append(batch)
            n_waiting += batch.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting, schema=schema)
