"""Raw data in, canonical tables out: the first stage."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.config.data import IngestConfig, ReaderName
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.filters import few_liked
from rlmrec_core.data.joined import JoinedReader
from rlmrec_core.data.layouts import LAYOUTS
from rlmrec_core.data.malformed import MalformedLines
from rlmrec_core.data.movielens import MovieLensReader
from rlmrec_core.data.raw import RawReader
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.release import ReleaseReader
from rlmrec_core.data.sample import SampleReader
from rlmrec_core.data.splits import SplitsReader
from rlmrec_core.data.tabular import TabularReader
from rlmrec_core.data.vector_files import Side
from rlmrec_core.tables import IMPORTED_PROFILES, IMPORTED_VECTORS, INTERACTIONS, ITEMS, MALFORMED, STATISTICS, Tables

READERS: dict[ReaderName, type[Reader]] = {
    "sample": SampleReader,
    "movielens": MovieLensReader,
    "tabular": TabularReader,
    "splits": SplitsReader,
    "rlmrec-release": ReleaseReader,
    **dict.fromkeys(LAYOUTS, RawReader),
}


def open_reader(config: IngestConfig) -> Reader:
    """The reader that `config.reader` names; one that joins texts to it where `config.raw` names a release."""
    reader = READERS[config.reader](config)
    return JoinedReader(config, reader) if config.raw.reader else reader


@dataclass(frozen=True)
class Ingested:
    """The streams of one reader, checked and counted while they are drained."""

    tables: Tables
    """interactions, items, imported_item_profiles, imported_user_profiles; imported_item_vectors and
    imported_user_vectors where there are such files."""
    _reader: Reader
    _rows: Counter[str]

    def report(self) -> pa.Table:
        """Rows of each table, and what the reader left out (STATISTICS); complete once the tables are drained."""
        return _report(self._rows, self._reader)

    def warnings(self) -> list[str]:
        """What is strange though it can be read, one line each; complete once the tables are drained."""
        return [*self._reader.warnings, *self._reader.malformed.warnings]

    def malformed(self) -> pa.Table:
        """Some of the lines that were skipped (MALFORMED); complete once the tables are drained."""
        return self._reader.malformed.table()


def ingest(config: IngestConfig) -> Ingested:
    """Open the raw data that `config` names; nothing is read before the tables are drained.

    Raises DataError, at the latest while draining, on input that cannot be used.
    """
    reader = open_reader(config)
    rows: Counter[str] = Counter()
    return Ingested(_streams(reader, rows), reader, rows)


@dataclass(frozen=True)
class Checked:
    """What a reading of raw data met.

    faults: of every file, with row, column and way out (MALFORMED). report: as `Ingested.report`. error: the line with
    which ingest would stop; None where it would not. repairs: the first cells of each kind that are odd and read all
    the same (MALFORMED).
    """

    faults: pa.Table
    report: pa.Table
    warnings: list[str]
    error: str | None
    repairs: pa.Table = field(default_factory=MALFORMED.empty_table)

    @property
    def usable(self) -> bool:
        """Whether ingest would read the data with the same settings."""
        return self.error is None


def check(config: IngestConfig, *, sampled: int = 1000, min_rating: float | None = None) -> Checked:
    """Read all raw data and collect what is wrong with it, of each file at most `sampled` faults. Raises nothing.

    min_rating: the threshold of prepare; that it would drop most interactions is among the warnings.
    """
    share, strict = config.max_malformed_share, config.strict
    faults = MalformedLines(config.max_malformed, share=share, strict=strict, sampled=sampled, patient=True)
    rows: Counter[str] = Counter()
    n_below = 0
    try:
        reader = open_reader(config)
        reader.malformed = faults
        for table, (_, stream) in _streams(reader, rows).items():
            try:
                for batch in stream:
                    if table == "interactions" and min_rating is not None:
                        n_below += pc.sum(pc.less(batch.column("rating"), min_rating)).as_py() or 0
            except DataError as error:
                # That nothing was read needs no word where a file has told why.
                if error.file or not faults.refusal:
                    faults.keep(error)
    except DataError as error:
        return Checked(faults.table(), pa.Table.from_pylist([], STATISTICS), [], str(error))
    doubt = few_liked(n_below, rows["interactions"], min_rating or 0.0)
    warnings = [*reader.warnings, *faults.warnings, *([doubt] if doubt else [])]
    refusal = faults.refusal
    ended = str(refusal) if refusal else None
    return Checked(faults.table(), _report(rows, reader), warnings, ended, faults.repairs())


def _report(rows: Counter[str], reader: Reader) -> pa.Table:
    counts = {**rows, **dict(sorted(reader.counts.items()))}
    counts |= {f"malformed lines in {name}": n for name, n in reader.malformed.counts.items()}
    return pa.table({"name": list(counts), "value": [float(n) for n in counts.values()]}, schema=STATISTICS)


def _streams(reader: Reader, rows: Counter[str]) -> Tables:
    streams = {
        "interactions": (INTERACTIONS, reader.interactions()),
        "items": (ITEMS, reader.items()),
        "imported_item_profiles": (IMPORTED_PROFILES, reader.profiles("item")),
        "imported_user_profiles": (IMPORTED_PROFILES, reader.profiles("user")),
    }
    for side in get_args(Side):
        if reader.vector_files(side):
            streams[f"imported_{side}_vectors"] = IMPORTED_VECTORS, reader.vectors(side)
    return {name: (schema, _counted(stream, name, rows)) for name, (schema, stream) in streams.items()}


def _counted(stream: Iterator[pa.RecordBatch], name: str, rows: Counter[str]) -> Iterator[pa.RecordBatch]:
    rows[name] = 0
    for batch in stream:
        rows[name] += batch.num_rows
        yield batch
    if name == "interactions" and not rows[name]:
        raise DataError.at("the raw data holds no interactions", "check ingest.path and ingest.reader")
