"""A user's own tables: CSV, TSV, other delimited text, JSON Lines or Parquet, with a column mapping."""

import codecs
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data import cells
from rlmrec_core.data.chunks import SUFFIXES, Chunk, read_chunks
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import find_files, format_of, holds_utf8
from rlmrec_core.data.malformed import MalformedLines
from rlmrec_core.data.reader import UNKNOWN_ITEM, Reader
from rlmrec_core.data.times import TimeColumn
from rlmrec_core.tables import INTERACTIONS, ITEMS

_UNKNOWN_ITEMS = "items with an interaction that the items table lacks"


class TabularReader(Reader):
    """Interactions in `ingest.interactions_file`, items, if any, in `ingest.items_file`.

    Either may be a glob pattern, such as `ratings-*.csv`, or a list of names: what a pattern finds is read in the order
    of the names. Where they are not set, `interactions.*` and `items.*` are looked for; an empty list is no table.
    Rows that cannot be used are skipped and counted; an interaction with an item outside the items table is kept,
    without text, and counted.
    """

    def sources(self) -> list[Path]:
        return self._interaction_files + self._item_files

    def interactions(self) -> Iterator[pa.RecordBatch]:
        columns = self.config.columns
        optional = (columns.rating, columns.timestamp, columns.event, columns.review)
        named = [columns.user_id, columns.item_id, *(name for name in optional if name)]
        known, seen = self._known_items, set[str]()
        for file in self._interaction_files:
            yield from self.whole(self._interactions_of(file, named, known, seen))
        if known is not None:
            self._tell_of_join(known, seen)

    def _interactions_of(
        self, file: Path, named: list[str], known: set[str] | None, seen: set[str]
    ) -> Iterator[pa.RecordBatch]:
        config = self.config
        times = TimeColumn(config.timestamp_format)
        n_rows, unread = 0, set[str]()
        self.malformed.start(str(file))
        chunks = read_chunks([file], named, config, self.malformed, config.block_column)
        for chunk in cells.with_known_times(chunks, config.columns.timestamp, times):
            unread.update(chunk.unread)
            batch = self._interaction_batch(chunk, times, known, seen)
            n_rows += int(chunk.usable.sum())
            yield batch
        self.malformed.finish(str(file), n_rows)
        self.warnings += times.warnings(file, config.columns.timestamp or "")
        self._tell_of_unread(file, unread, ("rating", "timestamp", "event", "review"))
        self._doubt_encoding(file, config.encoding)

    def items(self) -> Iterator[pa.RecordBatch]:
        columns = self.config.columns
        key = columns.items_item_id or columns.item_id
        named = [key, *(name for name in (columns.title, columns.description) if name), *columns.attributes]
        seen: set[str] = set()
        for file in self._item_files:
            yield from self.whole(self._items_of(file, key, named, seen))

    def _items_of(self, file: Path, key: str, named: list[str], seen: set[str]) -> Iterator[pa.RecordBatch]:
        columns = self.config.columns
        n_rows, unread = 0, set[str]()
        self.malformed.start(str(file))
        for chunk in read_chunks([file], named, self.config.format_of_items, self.malformed):
            unread.update(chunk.unread)
            ids = cells.ids(chunk, key)
            cells.refuse_repeated(chunk, key, ids, seen)
            arrays = [
                ids,
                cells.texts(chunk, columns.title),
                cells.texts(chunk, columns.description),
                cells.attributes(chunk, columns.attributes),
            ]
            batch = _usable(chunk, arrays, ITEMS)
            self._note(chunk.counts)
            n_rows += batch.num_rows
            yield batch
        self.malformed.finish(str(file), n_rows)
        self._tell_of_unread(file, unread, ("title", "description"))
        self._doubt_encoding(file, self.config.format_of_items.encoding)

    def _tell_of_unread(self, file: Path, unread: set[str], settings: Sequence[str]) -> None:
        """Columns that are called as a setting which names none were probably forgotten."""
        for column in sorted(unread):
            name = column.strip().casefold()
            if name in settings and getattr(self.config.columns, name) is None:
                has_it_read = f"ingest.columns.{name} = {column!r} has it read"
                self.warnings.append(f"{file}: the column {column!r} is not read; {has_it_read}")

    def _doubt_encoding(self, file: Path, encoding: str | None) -> None:
        """Encodings of one byte a character take anything, text in UTF-8 too, and garble it."""
        named = encoding and codecs.lookup(encoding).name != "utf-8" and format_of(file) != ".parquet"
        if named and holds_utf8(file):
            what = f"the text is read as {encoding}, though all of it could be UTF-8"
            self.warnings.append(f"{file}: {what}; if it is garbled, leave ingest.encoding out")

    def _interaction_batch(
        self, chunk: Chunk, times: TimeColumn, known: set[str] | None, seen: set[str]
    ) -> pa.RecordBatch:
        config, columns = self.config, self.config.columns
        several = config.item_separator or config.item_pattern
        user_ids = cells.ids(chunk, columns.user_id)
        item_ids = cells.written(chunk, columns.item_id) if several else cells.ids(chunk, columns.item_id)
        ratings = cells.ratings(chunk, columns.rating, config.decimal)
        if config.unrated is not None:
            unrated = pc.fill_null(pc.equal(ratings, config.unrated), False)
            self._note({"ratings that say there is none": pc.sum(unrated).as_py() or 0})
            ratings = pc.if_else(unrated, pa.scalar(None, pa.float32()), ratings)
        wanted, ratings = self._events(chunk, ratings)
        times_read = cells.timestamps(chunk, columns.timestamp, times)
        if known is not None and not several:
            self._match(chunk, columns.item_id, item_ids, known, seen)
        nothing = pa.nulls(len(chunk), pa.string())
        arrays = [user_ids, item_ids, ratings, times_read, cells.texts(chunk, columns.review), nothing]
        self._note(chunk.counts)
        batch = _usable(chunk, arrays, INTERACTIONS, wanted, cast=not several)
        return self._separated(batch, known, seen) if several else batch

    def _events(self, chunk: Chunk, ratings: pa.Array) -> tuple[np.ndarray, pa.Array]:
        """Which rows have a wanted event, and the ratings with the events' weights where there are none."""
        config, column = self.config, self.config.columns.event
        if column is None:
            return np.ones(len(chunk), bool), ratings
        events = pc.utf8_trim_whitespace(cells.written(chunk, column))
        kept = pa.array([*config.events, *(name for name in config.event_weights if not config.events)], pa.string())
        if not len(kept):
            return np.ones(len(chunk), bool), ratings
        wanted = pc.fill_null(pc.is_in(events, value_set=kept), False).to_numpy(zero_copy_only=False)
        for name, n in zip(*np.unique(pc.fill_null(events, "none").to_pylist(), return_counts=True), strict=True):
            self.counts[f"interactions with the event {str(name)!r}"] += int(n)
        if config.event_weights:
            position = pc.index_in(events, value_set=pa.array(list(config.event_weights), pa.string()))
            weights = pa.array(list(config.event_weights.values()), pa.float32()).take(position)
            ratings = pc.coalesce(ratings, weights)
        return wanted, ratings

    def _match(self, chunk: Chunk, column: str, item_ids: pa.Array, known: set[str], seen: set[str]) -> None:
        """Count interactions with an item outside the items table, or make them unusable where they must not be."""
        usable = item_ids.filter(pa.array(chunk.usable))
        there = set(pc.unique(usable).to_pylist())
        unknown = pa.array(sorted(there - known), pa.string())
        seen |= there
        if not len(unknown):
            return
        outside = pc.is_in(item_ids, value_set=unknown).to_numpy(zero_copy_only=False) & chunk.usable
        self.counts[UNKNOWN_ITEM] += int(outside.sum())
        if not self.config.require_items:
            chunk.repair(column, outside, "is not in the items table: kept without text", "add the item there")
        else:
            chunk.refuse(column, outside, "item {} is not in the items table", "add the item there, or drop the row")

    def _separated(self, batch: pa.RecordBatch, known: set[str] | None, seen: set[str]) -> pa.RecordBatch:
        """A row for each of the items that a cell holds, of those that fit the pattern."""
        table = pa.Table.from_batches([batch])
        cell = table["item_id"].combine_chunks().fill_null("")
        separator = self.config.item_separator
        parts = pc.split_pattern(cell, separator) if separator else pa.ListArray.from_arrays(range(len(cell) + 1), cell)
        rows = table.take(pc.list_parent_indices(parts))
        ids = pc.utf8_trim_whitespace(pc.list_flatten(parts))
        if self.config.item_pattern:
            try:
                ids = pc.replace_substring_regex(ids, f"^(?:{self.config.item_pattern})$|^.*$", r"\1")
            except pa.ArrowInvalid as error:
                raise DataError.at(
                    f"ingest.item_pattern: {error}", "repair the expression; it needs a group"
                ) from error
        self._note({"items of cells that were left out": pc.sum(pc.equal(ids, "")).as_py() or 0})
        rows = rows.set_column(1, INTERACTIONS.field("item_id"), ids).filter(pc.not_equal(ids, ""))
        if known is not None:
            there = pc.value_counts(rows["item_id"])
            for item, n in zip(there.field(0).to_pylist(), there.field(1).to_pylist(), strict=True):
                seen.add(item)
                self.counts[UNKNOWN_ITEM] += n * (item not in known)
        return rows.cast(INTERACTIONS).combine_chunks().to_batches()[0] if len(rows) else _none(INTERACTIONS)

    def _note(self, counts: Mapping[str, int]) -> None:
        self.counts.update({name: n for name, n in counts.items() if n})

    def _tell_of_join(self, known: set[str], seen: set[str]) -> None:
        n = len(seen - known)
        self._note({"items without an interaction": len(known - seen), _UNKNOWN_ITEMS: n})
        if seen and 2 * n > len(seen):
            examples = f"{min(seen - known)!r} among the interactions, {min(known, default='none')!r} among the items"
            self.warnings.append(
                f"{n:,} of {len(seen):,} items are not in the items table and so have no text: {examples}; check that "
                "ingest.columns.item_id and ingest.columns.items_item_id name the same kind of id"
            )

    @cached_property
    def _known_items(self) -> set[str] | None:
        """Ids of the items table; None where there is none."""
        if not self._item_files:
            return None
        key = self.config.columns.items_item_id or self.config.columns.item_id
        known: set[str] = set()
        unheard = MalformedLines(None, sampled=0)
        try:
            for file in self._item_files:
                unheard.start(str(file))
                for chunk in read_chunks([file], [key], self.config.format_of_items, unheard):
                    ids = cells.ids(chunk, key)
                    known.update(chunk.usable_of(ids).to_pylist())
        except DataError:
            if not self.malformed.patient:
                raise
            return None  # Told once the items are read.
        return known

    @cached_property
    def _interaction_files(self) -> list[Path]:
        return self._find(self.config.interactions_file, "interactions")

    @cached_property
    def _item_files(self) -> list[Path]:
        wanted = self.config.items_file
        if wanted in ("", ()) or (wanted is None and not find_files(self.folder, "items.*")):
            return []
        return self._find(wanted, "items")

    def _find(self, asked: str | tuple[str, ...] | None, table: str) -> list[Path]:
        files = find_files(self.folder, asked or f"{table}.*")
        if not files:
            way_out = f"set ingest.{table}_file to a name or pattern within ingest.path ({', '.join(SUFFIXES)})"
            raise DataError.at("no such file", way_out, file=self.folder / str(asked or f"{table}.*"))
        if not asked and len(files) > 1:
            names = ", ".join(file.name for file in files)
            problem = f"several files could be meant: {names}"
            raise DataError.at(problem, f"name one in ingest.{table}_file", file=self.folder)
        return files


def _usable(
    chunk: Chunk, arrays: list[pa.Array], schema: pa.Schema, wanted: np.ndarray | None = None, cast: bool = True
) -> pa.RecordBatch:
    batch = pa.RecordBatch.from_arrays(arrays, names=schema.names)
    kept = chunk.usable if wanted is None else chunk.usable & wanted
    batch = batch if kept.all() else batch.filter(pa.array(kept))
    return batch.cast(schema) if cast else batch


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)
