"""The forms of the stages in the UI start from the settings of the last full run."""

from contextlib import suppress

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound

from rlmrec_core.config import PipelineConfig
from storage import ArtifactStore, StoreConfig, StoreError
from tasks.last_run import last_config
from tasks.stages import STAGES


def fill_forms(client: SyncPrefectClient, config: PipelineConfig, store: StoreConfig) -> None:
    """Make each section of `config`, and `store`, the default of its stage's deployment where there is one."""
    for spec in STAGES:
        settings = getattr(config, spec.name)
        parameters = {
            "config": settings.model_dump(mode="json"),
            "store": store.model_dump(),
            "name": config.data_name,
        }
        if spec.takes_engine:
            parameters["engine"] = config.engine.model_dump(mode="json")
        with suppress(ObjectNotFound):
            deployment = client.read_deployment_by_name(f"{spec.title}/{spec.title}")
            client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))


def refill_forms(client: SyncPrefectClient) -> None:
    """Fill the forms again, which a deploy has emptied, from what the worker's store remembers."""
    store = StoreConfig()
    with suppress(StoreError):  # damaged, or remembered by a version with other settings
        fill_forms(client, last_config(ArtifactStore.open(store)), store)
