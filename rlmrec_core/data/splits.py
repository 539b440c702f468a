"""Ready-made train, validation and test parts, with imported profiles if there are any.

A folder holds `train`, `validation` and `test.parquet` with the columns user and item (integers or strings; rating,
timestamp and review if there are any), and may hold
- `items.parquet` (item, title, description) or, for some of the items only, `item_titles_sample.parquet` (item, title);
- `item_profiles.parquet` (item, summarization, reasoning) and `user_profiles.parquet` (user, summarization, reasoning);
- `item_profiles_sample.parquet`, `user_profiles_sample.parquet`: profiles of some, read if `ingest.partial_profiles`.
In items title and description are optional, in profiles reasoning.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from rlmrec_core.data import cells
from rlmrec_core.data.chunks import Chunk, parquet_columns, read_chunks
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.times import TimeColumn
from rlmrec_core.data.vector_files import Side
from rlmrec_core.tables import IMPORTED_PROFILES, INTERACTIONS, ITEMS, PARTS


class SplitsReader(Reader):
    """The paper's published data, and everything laid out like it."""

    def sources(self) -> list[Path]:
        optional = [self._items_file(), self._profiles_file("item"), self._profiles_file("user")]
        return [self.file(f"{part}.parquet") for part in PARTS] + [file for file in optional if file]

    def interactions(self) -> Iterator[pa.RecordBatch]:
        for part in PARTS:
            file = self.file(f"{part}.parquet")
            present = _present(file, ("rating", "timestamp", "review"))
            times, column = TimeColumn(), "timestamp" if "timestamp" in present else None
            chunks = read_chunks([file], ["user", "item", *present])
            for chunk in cells.with_known_times(chunks, column, times):
                yield _interaction_batch(chunk, part, present, times)

    def items(self) -> Iterator[pa.RecordBatch]:
        file = self._items_file()
        if file is None:
            return
        seen: set[str] = set()
        for chunk in read_chunks([file], ["item"]):  # before the first row goes out
            cells.refuse_repeated(chunk, "item", cells.ids(chunk, "item"), seen)
        present = _present(file, ("title", "description"))
        for chunk in read_chunks([file], ["item", *present]):
            texts = [cells.texts(chunk, name if name in present else None) for name in ("title", "description")]
            nothing = pa.nulls(len(chunk), ITEMS.field("attributes").type)
            yield pa.RecordBatch.from_arrays([cells.ids(chunk, "item"), *texts, nothing], schema=ITEMS)

    def profiles(self, side: Side) -> Iterator[pa.RecordBatch]:
        file = self._profiles_file(side)
        if file is None:
            return
        present = _present(file, ("reasoning",))
        for chunk in read_chunks([file], [side, "summarization", *present]):
            summaries = cells.texts(chunk, "summarization")
            reasons = cells.texts(chunk, "reasoning" if present else None)
            batch = pa.RecordBatch.from_arrays([cells.ids(chunk, side), summaries, reasons], IMPORTED_PROFILES.names)
            written = batch.filter(summaries.is_valid())
            if n_empty := batch.num_rows - written.num_rows:
                self.counts[f"empty {side} profiles"] += n_empty
            yield written.cast(IMPORTED_PROFILES)

    def _items_file(self) -> Path | None:
        return self._first("items.parquet", "item_titles_sample.parquet")

    def _profiles_file(self, side: Side) -> Path | None:
        partial = (f"{side}_profiles_sample.parquet",) if self.config.partial_profiles else ()
        return self._first(f"{side}_profiles.parquet", *partial)

    def _first(self, *names: str) -> Path | None:
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)


def _present(file: Path, columns: Sequence[str]) -> list[str]:
    names = parquet_columns(file)
    return [column for column in columns if column in names]


def _interaction_batch(chunk: Chunk, part: str, present: Sequence[str], times: TimeColumn) -> pa.RecordBatch:
    found = {name: name if name in present else None for name in ("rating", "timestamp", "review")}
    arrays = [
        cells.ids(chunk, "user"),
        cells.ids(chunk, "item"),
        cells.ratings(chunk, found["rating"]),
        cells.timestamps(chunk, found["timestamp"], times),
        cells.texts(chunk, found["review"]),
        pa.repeat(pa.scalar(part, pa.string()), len(chunk)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=INTERACTIONS)
