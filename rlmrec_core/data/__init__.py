"""Raw data: readers, filters and the split."""

from rlmrec_core.data.errors import DataError
from rlmrec_core.data.ingest import Checked, Ingested, check, ingest, open_reader
from rlmrec_core.data.prepare import prepare
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.vector_files import Side

__all__ = ["Checked", "DataError", "Ingested", "Reader", "Side", "check", "ingest", "open_reader", "prepare"]
