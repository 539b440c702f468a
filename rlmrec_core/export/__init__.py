"""Lists and vectors for other systems, with the original ids: as files, or as tables in Postgres."""

from rlmrec_core.export.files import write_csv, write_files
from rlmrec_core.export.tables import ExportError, ExportTables

__all__ = ["ExportError", "ExportTables", "write_csv", "write_files"]
