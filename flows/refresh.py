"""The refresh of profiles on a schedule: what changed in the raw data is read, profiled and embedded again."""

from prefect import flow

from flows.full_pipeline import run_stages, running
from rlmrec_core.config import PipelineConfig
from storage import ArtifactStore, StoreConfig
from tasks import report
from tasks.datasets import chosen
from tasks.refresh import latest_profiles, show_changes
from tasks.summary import last_config, publish, show_stages


@flow(name="refresh-profiles", persist_result=False)
def refresh_profiles(
    config: PipelineConfig | None = None,
    store: StoreConfig = StoreConfig(),
    retrain: bool = False,
    name: str | None = None,
) -> None:
    """Bring profiles and semantic vectors up to date with the raw data; only what changed is computed, or paid for.

    An item is asked about again if anything it is described by changed, a user if at least as many of the interactions
    shown to the model are new or changed as user_profiles.refresh_threshold says.

    Args:
        config: Settings of every stage; none takes those of the data set's last full run.
        store: Where artifacts are kept.
        retrain: Train, evaluate and recommend afterwards.
        name: Data set to refresh, where `config` is none; none takes the only one in the store, the sample aside.
    """
    artifacts = ArtifactStore.open(store)
    config = config or last_config(artifacts, chosen(artifacts, name))
    report.log().info("refreshing the data set %s: reader %s", config.data_name, config.ingest.reader)
    before = latest_profiles(artifacts, config.data_name)
    with running(config) as settings:
        last = "recommend" if retrain else "embed"
        done = run_stages(settings, store, last=last, previous=before.get("user_profiles"))
        show_changes(store, before, done)
        publish(store, config, done) if retrain else show_stages(store, config, done)
