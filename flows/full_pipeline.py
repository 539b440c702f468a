"""The whole pipeline: raw data in, recommendations out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows import stages
from flows.engine import ready
from flows.forms import fill_forms
from rlmrec_core.config import PipelineConfig
from storage import ArtifactRef, StoreConfig
from tasks import report
from tasks.stages import Done, between, for_this_data, inputs_of, is_wanted
from tasks.summary import publish


@flow(name="rlmrec", persist_result=False)
def rlmrec(config: PipelineConfig = PipelineConfig(), store: StoreConfig = StoreConfig(), force: bool = False) -> None:
    """Ingest, prepare, profile, embed, train, evaluate and recommend. What is in the store already is not done again.

    Args:
        config: Settings of every stage; the defaults run the embedded sample.
        store: Where artifacts are kept.
        force: Compute every stage anew.
    """
    with running(config) as settings:
        done = run_stages(settings, store, force)
        publish(store, config, done)
    with get_client(sync_client=True) as client:
        fill_forms(client, config, store)


def run_stages(
    config: PipelineConfig,
    store: StoreConfig,
    force: bool = False,
    *,
    first: str = "ingest",
    last: str = "recommend",
    done: Done | None = None,
    previous: ArtifactRef | None = None,
) -> Done:
    """The flows of the stages from `first` to `last`, in their order; those are left out that no model needs.

    done: What stages before made; where one is missing there, its latest artifact is taken.
    previous: User profiles of an earlier run, kept for those who changed too little.
    """
    done = dict(done or {})
    for spec in between(first, last):
        if not is_wanted(spec, config):
            continue
        parameters: dict[str, Any] = {"name": config.data_name}
        for stage, refs in inputs_of(spec, done).items():
            keys = [ref.key for ref in refs]
            parameters |= {"models": keys} if stage == "train" else {stage: keys[0]}
        if spec.takes_engine:
            parameters["engine"] = config.engine
        if previous and spec.name == previous.stage:
            parameters["previous"] = previous.key
        result = getattr(stages, spec.name)(getattr(config, spec.name), store, **parameters, force=force)
        done[spec.name] = result if isinstance(result, list) else [result]
        if spec.name == "prepare" and last != "prepare":
            config = for_this_data(config, store, done)
    return done


@contextmanager
def running(config: PipelineConfig) -> Iterator[PipelineConfig]:
    """What a flow of several stages shares: the data set's name, quick subflows, and one cluster for all.

    Yields the settings with that cluster named.
    """
    with report.about(config.data_name), quick_subflows(), ready(config.engine) as engine:
        yield config.model_copy(update={"engine": engine})


@contextmanager
def quick_subflows() -> Iterator[None]:
    """Run subflows without heartbeats: the parent's are enough, and ending a subflow's takes a second each."""
    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
