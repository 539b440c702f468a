import sys

import pytest

from flows.engine import NoEngine, ready
from rlmrec_core.config import EngineConfig


def test_without_the_library_only_the_one_who_asks_for_it_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect_dask", None)  # as if it were not installed
    with ready(EngineConfig()) as engine:
        assert engine == EngineConfig()
    with pytest.raises(NoEngine, match="pip install 'prefect-dask"), ready(EngineConfig(kind="dask")):
        pass
