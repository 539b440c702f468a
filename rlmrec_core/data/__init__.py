"""Raw data: readers, filters and the split."""

from rlmrec_core.data.errors import DataError
from rlmrec_core.data.ingest import Ingested, ingest
from rlmrec_core.data.prepare import prepare
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.readers import open_reader

__all__ = ["DataError", "Ingested", "Reader", "ingest", "open_reader", "prepare"]
