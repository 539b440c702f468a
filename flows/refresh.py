"""The refresh of profiles on a schedule: what changed in the raw data is read, profiled and embedded again."""

from prefect import flow

from flows.full_pipeline import run_stages, running
from rlmrec_core.config import PipelineConfig
from storage import ArtifactStore, StoreConfig
from tasks import report
from tasks.refresh import latest_profiles, show_changes
from tasks.summary import last_config, publish, show_stages


@flow(name="refresh-profiles", persist_result=False)
def refresh_profiles(
    config: PipelineConfig | None = None, store: StoreConfig = StoreConfig(), retrain: bool = False
) -> None:
    """Bring profiles and semantic vectors up to date with the raw data; only what changed is computed, or paid for.

    An item is asked about again if anything it is described by changed, a user if at least as many of the interactions
    shown to the model are new or changed as user_profiles.refresh_threshold says.

    Args:
        config: Settings of every stage; none takes those of the store's last full run.
        store: Where artifacts are kept.
        retrain: Train, evaluate and recommend afterwards.
    """
    if config is None:
        config = last_config(ArtifactStore.open(store))
        report.log().info("refreshing with the settings of the last full run: reader %s", config.ingest.reader)
    before = latest_profiles(store)
    with running(config) as settings:
        last = "recommend" if retrain else "embed"
        done = run_stages(settings, store, last=last, previous=before.get("user_profiles"))
    show_changes(store, before, done)
    publish(store, config, done) if retrain else show_stages(store, done)
