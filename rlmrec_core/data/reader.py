"""The contract of all readers, and the set of known items that some of them check against."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.config.data import IngestConfig
from rlmrec_core.data import cells
from rlmrec_core.data.chunks import Chunk
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import explained
from rlmrec_core.data.malformed import MalformedLines

Side = Literal["item", "user"]


class Reader(ABC):
    """Raw data in one format, handed on as streams of canonical record batches.

    Every stream may be opened anew and gives the same rows again. Raises DataError on input that cannot be used.
    """

    def __init__(self, config: IngestConfig) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        """What was left out on the way, by name; complete once the streams are drained."""
        self.malformed = MalformedLines(config.max_malformed, share=config.max_malformed_share, strict=config.strict)
        """Lines that were skipped; complete once the streams are drained."""
        self.warnings: list[str] = []
        """What is strange though it can be read, one line each; complete once the streams are drained."""

    def sources(self) -> list[Path]:
        """The raw files that the output depends on."""
        return []

    @abstractmethod
    def interactions(self) -> Iterator[pa.RecordBatch]:
        """Batches of `tables.INTERACTIONS`, in the order of the raw data."""

    @abstractmethod
    def items(self) -> Iterator[pa.RecordBatch]:
        """Batches of `tables.ITEMS`, every item at most once."""

    def profiles(self, side: Side) -> Iterator[pa.RecordBatch]:
        """Batches of `tables.IMPORTED_PROFILES`: ready-made profiles, if the data has any."""
        return iter(())

    def whole(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches of one file; where faults are collected, one that ends the reading of the file is kept, too."""
        try:
            yield from batches
        except DataError as error:
            if not self.malformed.patient:
                raise
            self.malformed.keep(error)

    @property
    def folder(self) -> Path:
        """The folder of the raw files."""
        if self.config.path is None:
            raise DataError.at(f"reader {self.config.reader!r} needs a folder", "set ingest.path")
        folder = Path(self.config.path).expanduser()
        with explained(folder):
            known = folder.is_dir()
        if not known:
            raise DataError.at("no such folder", "check ingest.path", file=folder)
        return folder

    def file(self, name: str) -> Path:
        """A file that must be there."""
        path = self.folder / name
        with explained(path):
            known = path.is_file()
        if not known:
            raise DataError.at("no such file", f"reader {self.config.reader!r} needs it; check ingest.path", file=path)
        return path


class Catalogue:
    """The item ids of an items table: none twice, none elsewhere that is not among them.

    Raises DataError on building if an id occurs twice.
    """

    def __init__(self, chunks: Iterable[Chunk], column: str) -> None:
        self._known: set[str] = set()
        for chunk in chunks:
            self._add(chunk, column)

    def require(self, chunk: Chunk, column: str, item_ids: pa.Array) -> None:
        """Raise DataError at the first of `item_ids`, cells of `column`, that is not a known item."""
        unknown = set(pc.unique(item_ids).to_pylist()) - self._known
        if unknown:
            position = pc.index(pc.is_in(item_ids, pa.array(sorted(unknown))), True).as_py()
            problem = f"item {item_ids[position].as_py()!r} is not in the items table"
            raise chunk.error(column, position, problem, "add the item there, or drop the row")

    def _add(self, chunk: Chunk, column: str) -> None:
        for position, item_id in enumerate(cells.ids(chunk, column).to_pylist()):
            if item_id in self._known:
                raise chunk.error(column, position, f"item {item_id!r} occurs twice", "keep one row per item")
            self._known.add(item_id)
