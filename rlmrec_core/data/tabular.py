"""A user's own tables: CSV, TSV, JSON Lines or Parquet, with a column mapping."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from rlmrec_core.data import cells
from rlmrec_core.data.catalogue import Catalogue
from rlmrec_core.data.chunks import SUFFIXES, Chunk, find_files, read_chunks
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.reader import Reader
from rlmrec_core.tables import INTERACTIONS, ITEMS


class TabularReader(Reader):
    """Interactions in `ingest.interactions_file`, items, if any, in `ingest.items_file`.

    Either may be a glob pattern, such as `ratings-*.csv`: the files are read in the order of their names. Left empty,
    `interactions.*` and `items.*` are looked for. Where there is an items table, it must list every interaction's item.
    """

    def sources(self) -> list[Path]:
        return self._interaction_files + self._item_files

    def interactions(self) -> Iterator[pa.RecordBatch]:
        columns = self.config.columns
        optional = (columns.rating, columns.timestamp, columns.review)
        named = [columns.user_id, columns.item_id, *(name for name in optional if name)]
        for chunk in read_chunks(self._interaction_files, named):
            yield self._interaction_batch(chunk)

    def items(self) -> Iterator[pa.RecordBatch]:
        columns = self.config.columns
        named = [columns.item_id, *(name for name in (columns.title, columns.description) if name), *columns.attributes]
        if self._catalogue is None:
            return
        for chunk in read_chunks(self._item_files, named):
            yield pa.RecordBatch.from_arrays(
                [
                    cells.ids(chunk, columns.item_id),
                    cells.texts(chunk, columns.title),
                    cells.texts(chunk, columns.description),
                    cells.attributes(chunk, columns.attributes),
                ],
                schema=ITEMS,
            )

    def _interaction_batch(self, chunk: Chunk) -> pa.RecordBatch:
        columns = self.config.columns
        item_ids = cells.ids(chunk, columns.item_id)
        if self._catalogue is not None:
            self._catalogue.require(chunk, columns.item_id, item_ids)
        arrays = [
            cells.ids(chunk, columns.user_id),
            item_ids,
            cells.ratings(chunk, columns.rating),
            cells.timestamps(chunk, columns.timestamp),
            cells.texts(chunk, columns.review),
            pa.nulls(len(chunk), pa.string()),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=INTERACTIONS)

    @cached_property
    def _catalogue(self) -> Catalogue | None:
        column = self.config.columns.item_id
        return Catalogue(read_chunks(self._item_files, [column]), column) if self._item_files else None

    @cached_property
    def _interaction_files(self) -> list[Path]:
        return self._find(self.config.interactions_file or "interactions.*", "interactions_file")

    @cached_property
    def _item_files(self) -> list[Path]:
        if self.config.items_file is None:
            return find_files(self.folder, "items.*")
        return self._find(self.config.items_file, "items_file")

    def _find(self, pattern: str, setting: str) -> list[Path]:
        files = find_files(self.folder, pattern)
        if not files:
            way_out = f"set ingest.{setting} to a name or pattern within ingest.path ({', '.join(SUFFIXES)})"
            raise DataError.at("no such file", way_out, file=self.folder / pattern)
        return files
