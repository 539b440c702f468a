"""The same small world as for profiles."""

from tests.rlmrec_core.profiling.conftest import corpus

__all__ = ["corpus"]
