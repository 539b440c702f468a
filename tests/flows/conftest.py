import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from storage import StoreConfig


@pytest.fixture(scope="session")
def prefect_db():
    """A Prefect server of the tests' own."""
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture
def store(tmp_path) -> StoreConfig:
    return StoreConfig(url=str(tmp_path / "artifacts"))
