"""Pages that need neither Prefect nor a network."""

from rlmrec_core.reports.page import page

__all__ = ["page"]
