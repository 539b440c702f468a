"""What a run would cost; and another try for what failed."""

from typing import Any

from prefect import State, flow

from flows.full_pipeline import end_stages, gated, quick_subflows, run_stages
from rlmrec_core.config import PipelineConfig
from storage import ArtifactStore, StoreConfig
from tasks import datasets, report
from tasks.datasets import chosen
from tasks.gates import Gates
from tasks.last_run import last_config
from tasks.plan import plan as plan_task
from tasks.stages import hyper_parameters
from tasks.summary import show_stages


@flow(name="plan", persist_result=False)
def plan(config: PipelineConfig = PipelineConfig(), store: StoreConfig = StoreConfig()) -> list[dict[str, Any]]:
    """Say what profiles, and reasons in a model's words, would cost.

    Reads and divides the data, which is free, and asks no model.

    Args:
        config: Settings of every stage, as in the full pipeline.
        store: Where artifacts are kept.
    """
    with report.about(config.data_name), quick_subflows():
        done = run_stages(config, store, last="prepare")
        raw, split = (done[stage][0].ref for stage in ("ingest", "prepare"))
        rows: list[dict[str, Any]] = plan_task(config, store, raw, split)
    for row in rows:
        report.log().info("plan: %s", row)
    report.log().info("plan: %s", hyper_parameters(config.train, ArtifactStore.open(store), split))
    if not rows:
        report.log().info("plan: nothing is written by a model server, nothing costs anything")
    return rows


@flow(name="retry-failed", persist_result=False, on_crashed=[end_stages])
def retry_failed(
    config: PipelineConfig | None = None, store: StoreConfig = StoreConfig(), name: str | None = None
) -> State[None]:
    """Ask once more for the profiles, vectors and reasons that could not be had, and for nothing else.

    Works on the data set's latest data. What is finished already is found and left as it is.

    Args:
        config: Settings of every stage; none takes those that the data set's lists in use were made with.
        store: Where artifacts are kept.
        name: Data set to work on, where `config` is none; none takes the only one in the store, the sample aside.
    """
    artifacts = ArtifactStore.open(store)
    wanted = config or last_config(artifacts, chosen(artifacts, name))

    def work(settings: PipelineConfig, gates: Gates) -> None:
        again = settings.model_copy(update={"embed": settings.embed.model_copy(update={"retry_failed": True})})
        run_stages(again, store, first="item_profiles", last="embed", gates=gates)
        if datasets.latest_keys(artifacts, wanted.data_name).get("recommend"):
            run_stages(again, store, first="reasons", gates=gates)
        show_stages(store, wanted, gates)

    return gated(wanted, store, work)
