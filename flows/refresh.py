"""The refresh of profiles on a schedule: what changed in the raw data is read, profiled and embedded again."""

from prefect import State, flow

from flows.full_pipeline import end_stages, gated, run_stages
from rlmrec_core.config import PipelineConfig
from storage import ArtifactStore, StoreConfig
from tasks import report
from tasks.datasets import chosen
from tasks.gates import Gates
from tasks.last_run import last_config
from tasks.refresh import latest_profiles, show_changes
from tasks.summary import publish, show_stages


@flow(name="refresh-profiles", persist_result=False, on_crashed=[end_stages])
def refresh_profiles(
    config: PipelineConfig | None = None,
    store: StoreConfig = StoreConfig(),
    retrain: bool = False,
    name: str | None = None,
) -> State[None]:
    """Bring profiles and semantic vectors up to date with the raw data; only what changed is computed, or paid for.

    An item is asked about again if anything it is described by changed, a user if at least as many of the interactions
    shown to the model are new or changed as user_profiles.refresh_threshold says.

    Args:
        config: Settings of every stage; none takes those that the data set's lists in use were made with.
        store: Where artifacts are kept.
        retrain: Train, evaluate and recommend afterwards, and put the lists to use if the gates let them pass.
        name: Data set to refresh, where `config` is none; none takes the only one in the store, the sample aside.
    """
    artifacts = ArtifactStore.open(store)
    wanted = config or last_config(artifacts, chosen(artifacts, name))
    report.log().info("refreshing the data set %s: reader %s", wanted.data_name, wanted.ingest.reader)
    before = latest_profiles(artifacts, wanted.data_name)

    def work(settings: PipelineConfig, gates: Gates) -> None:
        last, previous = "reasons" if retrain else "embed", before.get("user_profiles")
        done = run_stages(settings, store, last=last, previous=previous, gates=gates)
        show_changes(store, before, done)
        publish(store, wanted, gates) if retrain else show_stages(store, wanted, gates)

    return gated(wanted, store, work)
