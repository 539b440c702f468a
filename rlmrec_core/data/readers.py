"""The formats that can be read: one line each."""

from rlmrec_core.config.data import IngestConfig, ReaderName
from rlmrec_core.data.layouts import LAYOUTS
from rlmrec_core.data.movielens import MovieLensReader
from rlmrec_core.data.raw import RawReader
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.sample import SampleReader
from rlmrec_core.data.splits import SplitsReader
from rlmrec_core.data.tabular import TabularReader

READERS: dict[ReaderName, type[Reader]] = {
    "sample": SampleReader,
    "movielens": MovieLensReader,
    "tabular": TabularReader,
    "splits": SplitsReader,
    **dict.fromkeys(LAYOUTS, RawReader),
}


def open_reader(config: IngestConfig) -> Reader:
    """The reader that `config.reader` names."""
    return READERS[config.reader](config)
