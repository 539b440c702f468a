"""Raw data in, canonical tables out: the first stage."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from rlmrec_core.config.data import IngestConfig
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.readers import open_reader
from rlmrec_core.tables import IMPORTED_PROFILES, INTERACTIONS, ITEMS, STATISTICS, Tables


@dataclass(frozen=True)
class Ingested:
    """The streams of one reader, checked and counted while they are drained."""

    tables: Tables
    """interactions, items, imported_item_profiles, imported_user_profiles."""
    _reader: Reader
    _rows: Counter[str]

    def report(self) -> pa.Table:
        """Rows of each table, and what the reader left out (STATISTICS); complete once the tables are drained."""
        counts = {**self._rows, **dict(sorted(self._reader.counts.items()))}
        counts |= {f"malformed lines in {name}": n for name, n in self._reader.malformed.counts.items()}
        return pa.table({"name": list(counts), "value": [float(n) for n in counts.values()]}, schema=STATISTICS)

    def malformed(self) -> pa.Table:
        """Some of the lines that were skipped (MALFORMED); complete once the tables are drained."""
        return self._reader.malformed.table()


def ingest(config: IngestConfig) -> Ingested:
    """Open the raw data that `config` names; nothing is read before the tables are drained.

    Raises DataError, at the latest while draining, on input that cannot be used.
    """
    reader = open_reader(config)
    rows: Counter[str] = Counter()
    streams = {
        "interactions": (INTERACTIONS, reader.interactions()),
        "items": (ITEMS, reader.items()),
        "imported_item_profiles": (IMPORTED_PROFILES, reader.profiles("item")),
        "imported_user_profiles": (IMPORTED_PROFILES, reader.profiles("user")),
    }
    tables = {name: (schema, _counted(stream, name, rows)) for name, (schema, stream) in streams.items()}
    return Ingested(tables, reader, rows)


def _counted(stream: Iterator[pa.RecordBatch], name: str, rows: Counter[str]) -> Iterator[pa.RecordBatch]:
    rows[name] = 0
    for batch in stream:
        rows[name] += batch.num_rows
        yield batch
    if name == "interactions" and not rows[name]:
        raise DataError.at("the raw data holds no interactions", "check ingest.path and ingest.reader")
