import pytest

from storage import ArtifactStore, StoreConfig


@pytest.fixture
def store(tmp_path) -> StoreConfig:
    return StoreConfig(url=str(tmp_path / "artifacts"))


@pytest.fixture
def artifacts(store) -> ArtifactStore:
    return ArtifactStore.open(store)
