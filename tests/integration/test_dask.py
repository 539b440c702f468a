"""The same artifacts from a Dask cluster: one of its own, one at an address, one that loses a worker."""

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows.full_pipeline import rlmrec
from storage import StoreConfig
from tests.tasks.by_hand import run_by_hand, tiny
from tests.tasks.test_pipeline import digests

pytest.importorskip("prefect_dask", reason="the extra dask is not installed")


@pytest.fixture(scope="module", autouse=True)
def prefect_db():
    """A Prefect server of the tests' own."""
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A store that was filled without a cluster."""
    url = tmp_path_factory.mktemp("local") / "artifacts"
    run_by_hand(tiny(), StoreConfig(url=str(url)))
    return url


def test_a_cluster_on_this_machine_writes_the_same_bytes(local, tmp_path):
    config = tiny(engine={"kind": "dask", "workers": 2})
    rlmrec(config, StoreConfig(url=str(tmp_path / "dask")))
    assert digests(tmp_path / "dask") == digests(local)
