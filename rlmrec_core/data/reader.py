"""The contract of all readers."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from rlmrec_core.config.data import IngestConfig
from rlmrec_core.data import vector_files
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import explained
from rlmrec_core.data.malformed import MalformedLines
from rlmrec_core.data.vector_files import Side

UNKNOWN_ITEM = "interactions with an item that the items table lacks"
"""What such interactions, which are kept without text, are counted as."""


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

    def vector_files(self, side: Side) -> list[Path]:
        """The raw files that `vectors` depends on; none where the data have no vectors of that side."""
        name = self.config.item_vectors_file if side == "item" else self.config.user_vectors_file
        if name is None:
            return []
        file = self.file(name) if self.config.path else Path(name).expanduser()
        return [file, *vector_files.ids_file(file, side)]

    def vectors(self, side: Side) -> Iterator[pa.RecordBatch]:
        """Batches of `tables.IMPORTED_VECTORS`: semantic vectors made elsewhere."""
        file, *_ = self.vector_files(side)
        return vector_files.read_vectors(file, side)

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
