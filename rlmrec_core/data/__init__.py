"""Raw data: readers, filters and the split."""

from rlmrec_core.data.errors import DataError
from rlmrec_core.data.ingest import Checked, Ingested, check, ingest
from rlmrec_core.data.prepare import prepare
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.readers import open_reader

__all__ = ["Checked", "DataError", "Ingested", "Reader", "check", "ingest", "open_reader", "prepare"]
