import pytest

from storage import ArtifactStore, StoreConfig
from tasks.datasets import remember
from tasks.stage import StageResult
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny


@pytest.fixture
def store(tmp_path) -> StoreConfig:
    return StoreConfig(url=str(tmp_path / "artifacts"))


@pytest.fixture
def artifacts(store) -> ArtifactStore:
    return ArtifactStore.open(store)


@pytest.fixture(scope="session")
def con_world(tmp_path_factory) -> tuple[StoreConfig, dict[str, list[StageResult]]]:
    """A run with a model that reads text, noted as the sample's latest; artifacts may be added to its store."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("con") / "artifacts"))
    done = run_by_hand(tiny(train={"variants": ["con"]}, embed={"embed_source": "profile"}), store)
    remember(
        ArtifactStore.open(store), "sample", {stage: [one.ref.key for one in made] for stage, made in done.items()}
    )
    return store, done
