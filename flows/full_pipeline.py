"""The whole pipeline: raw data in, recommendations out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from prefect import State, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import MissingResult
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Failed

from flows import stages
from flows.client import end_orphans
from flows.engine import ready
from flows.forms import fill_forms
from rlmrec_core.config import PipelineConfig
from rlmrec_core.llm.errors import BudgetReached
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import report
from tasks.gates import GateClosed, Gates
from tasks.page import show_page
from tasks.prepare import all_interactions
from tasks.stage import StageResult, whole_state
from tasks.stages import (
    ALL,
    REBUILT,
    STAGE,
    Done,
    StageSpec,
    between,
    check_devices,
    for_this_data,
    inputs_of,
    inputs_of_all,
    is_wanted,
    rebuilds,
)
from tasks.summary import publish, publish_stopped


def end_stages(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Of a run whose process was killed, mark the stages that were under way: called by its worker."""
    with get_client(sync_client=True) as client:
        end_orphans(client)


@flow(name="rlmrec", persist_result=False, on_crashed=[end_stages])
def rlmrec(
    config: PipelineConfig = PipelineConfig(), store: StoreConfig = StoreConfig(), force: bool = False
) -> State[None]:
    """Ingest, prepare, profile, embed, train, evaluate and recommend. What is in the store already is not done again.

    Args:
        config: Settings of every stage; the defaults run the embedded sample.
        store: Where artifacts are kept.
        force: Compute every stage anew.
    """

    def work(settings: PipelineConfig, gates: Gates) -> None:
        run_stages(settings, store, force, gates=gates)
        show_page(store, config.data_name, gates.done)
        publish(store, config, gates)  # last: what is put to use is whole

    ended = gated(config, store, work)
    if ended.is_completed():
        with get_client(sync_client=True) as client:
            fill_forms(client, config, store)
    return ended


def gated(config: PipelineConfig, store: StoreConfig, work: Callable[[PipelineConfig, Gates], None]) -> State[None]:
    """Do the work of a whole run; returns the state that it ends in, whose name alarms can listen for.

    Completed, Incomplete where profiles or vectors are lacking, NotPromoted where a gate stopped the run, OverBudget
    where its budget did; the last two are of the type Failed. Whatever else goes wrong is raised.
    """
    artifacts = ArtifactStore.open(store)
    artifacts.check_bucket()
    with get_client(sync_client=True) as client:
        end_orphans(client)
    gates = Gates(artifacts, config)
    with running(config) as settings:
        try:
            work(settings, gates)
        except GateClosed as closed:
            publish_stopped(store, config, gates, str(closed))
            return Failed(name="NotPromoted", message=str(closed), data=closed)
        except BudgetReached as reached:
            return Failed(name="OverBudget", message=str(reached), data=reached)
    return whole_state(result for results in gates.done.values() for result in results)


def run_stages(
    config: PipelineConfig,
    store: StoreConfig,
    force: bool = False,
    *,
    first: str = "ingest",
    last: str = "reasons",
    done: Mapping[str, list[StageResult]] | None = None,
    previous: ArtifactRef | None = None,
    gates: Gates | None = None,
) -> Done:
    """The flows of the stages from `first` to `last`, in their order; those are left out that no model needs.

    Where what a stage reads was neither made here nor stands in `done`, its latest artifact is taken.

    done: What other calls made; it is in what is returned, too.
    previous: User profiles of an earlier run, kept for those who changed too little.
    gates: Check the figures of each stage once it has ended; they may stop the run.
    """
    check_devices(config)
    done = dict(done or {})
    for spec in between(first, last):
        if not is_wanted(spec, config):
            continue
        parameters: dict[str, Any] = {}
        if previous and spec.name == previous.stage:
            parameters["previous"] = previous.key
        if spec.name == "recommend" and rebuilds(config, store, done):
            _rebuild(config, store, done, force, gates)
            parameters["embed"] = done[f"embed{ALL}"][0].ref.key
        done[spec.name] = _run_stage(spec, config, store, inputs_of(spec, done), force, **parameters)
        if gates:
            gates.check(spec.name, done)
        if spec.name == "prepare" and last != "prepare":
            config = for_this_data(config, store, done)
    return done


def _run_stage(
    spec: StageSpec,
    config: PipelineConfig,
    store: StoreConfig,
    inputs: Mapping[str, Sequence[ArtifactRef]],
    force: bool,
    **parameters: str,
) -> list[StageResult]:
    """The flow of one stage, on these inputs."""
    given: dict[str, Any] = {"name": config.data_name, **parameters}
    for stage, refs in inputs.items():
        keys = [ref.key for ref in refs]
        given |= {"models": keys} if stage == "train" else {stage: keys[0]}
    if spec.takes_engine:
        given["engine"] = config.engine
    run = partial(getattr(stages, spec.name), getattr(config, spec.name), store, **given)
    try:
        result = run(force=force)
    except MissingResult:
        # On a busy server a state may be kept and the answer to it lost: it then refuses the same state again, and the
        # flow's result with it. The artifact is in the store.
        result = run(force=False)
    return result if isinstance(result, list) else [result]


def _rebuild(config: PipelineConfig, store: StoreConfig, done: Done, force: bool, gates: Gates | None) -> None:
    """Profiles and vectors made of all interactions; they reach the lists, and nothing that is measured."""
    done[f"prepare{ALL}"] = [all_interactions(store, done["prepare"][0].ref, force)]
    for spec in (STAGE[name] for name in REBUILT):
        results = _run_stage(spec, config, store, inputs_of_all(spec, done), force)
        done[spec.name + ALL] = [replace(one, labels={"of": "all interactions"}) for one in results]
        if gates:
            gates.check(spec.name + ALL, done)


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
