"""The refresh of profiles on a schedule: what changed in the raw data is read, profiled and embedded again."""

from prefect import flow

from flows.full_pipeline import learning, quick_subflows, semantics
from rlmrec_core.config import PipelineConfig
from storage import StoreConfig
from tasks.summary import publish, show_stages


@flow(name="refresh-profiles", persist_result=False)
def refresh_profiles(
    config: PipelineConfig = PipelineConfig(), store: StoreConfig = StoreConfig(), retrain: bool = False
) -> None:
    """Bring profiles and semantic vectors up to date with the raw data; only what changed is computed, or paid for.

    Args:
        config: Settings of every stage, as in the full pipeline.
        store: Where artifacts are kept.
        retrain: Train, evaluate and recommend afterwards.
    """
    with quick_subflows():
        done = semantics(config, store, force=False)
        if retrain:
            done |= learning(config, store, done, force=False)
    publish(store, done) if retrain else show_stages(store, done)
