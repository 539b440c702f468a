"""The engine that runs a stage's tasks: this process, or a Dask cluster."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect import Task

from rlmrec_core.config import EngineConfig
from storage import ArtifactStore, StoreConfig
from tasks import report
from tasks.shards import cut
from tasks.stage import StageResult
from tasks.stages import StageSpec

_PATIENCE = 120.0
"""Seconds that a cluster may take to show its first worker."""

WITHOUT_PROFILER = {"distributed.worker.profile.enabled": False}
"""Dask's settings for workers. Their profiler asks Python for the frames of all threads each 10 ms. Before Python
3.12.3 that may stop a worker for ever: a collection of garbage can begin while the list of threads is locked."""


class NoEngine(LookupError):
    """The settings ask for Dask, which is not to be had: says what is missing."""


@contextmanager
def ready(engine: EngineConfig) -> Iterator[EngineConfig]:
    """The engine, with an address where it is Dask: without one, a cluster on this machine that ends with the block.

    Raises NoEngine if the library is not installed.
    """
    if engine.kind == "local":
        yield engine
        return
    _check_library()
    if engine.address:
        yield engine
        return
    from dask import config
    from distributed import LocalCluster

    workers = engine.workers or len(os.sched_getaffinity(0))
    with (
        config.set(WITHOUT_PROFILER),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, memory_limit=None, dashboard_address=None
        ) as cluster,
    ):
        yield engine.model_copy(update={"address": cluster.scheduler_address, "workers": workers})


@contextmanager
def dask(engine: EngineConfig) -> Iterator["Pool"]:
    """The cluster's workers, for as long as the block lasts. Raises NoEngine if there is none."""
    with ready(engine) as found:
        from prefect_dask.task_runners import DaskTaskRunner

        with DaskTaskRunner(address=found.address) as runner:
            try:
                runner.client.wait_for_workers(1, timeout=_PATIENCE)
            except OSError as error:  # time-outs among them
                raise NoEngine(f"no Dask cluster at {found.address}, or one without workers: {error}") from error
            yield Pool(runner, found.workers or sum(runner.client.nthreads().values()))


class Pool:
    """Workers that take tasks, so many at once."""

    def __init__(self, runner: Any, at_once: int) -> None:
        self._runner = runner
        self.at_once = at_once

    def run(
        self,
        task: Task[..., Any],
        calls: Iterable[Mapping[str, Any]],
        at_once: int | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """What the task returns for each call's parameters, or the exception that ended it, in the order of calls.

        at_once: most calls under way at the same time; None: as many as there are workers.
        on_end: called when one has ended.
        """
        from distributed import as_completed

        futures, waiting = [], iter(calls)
        ended = as_completed(loop=self._runner.client.loop)

        def begin() -> None:
            if (parameters := next(waiting, None)) is not None:
                futures.append(self._runner.submit(task, parameters=dict(parameters)))
                ended.add(futures[-1].wrapped_future)

        for _ in range(at_once or self.at_once):
            begin()
        for _ in ended:
            begin()
            on_end()
        return [_outcome(future) for future in futures]


class Made:
    """Tells how far a stage is that makes several artifacts, and what is left at the mean of what one took."""

    def __init__(self, stage: str, total: int) -> None:
        self._progress = report.Progress(f"{stage}-progress", f"artifacts of {stage}", every=0.0)
        self._total, self._done, self._found, self._started = total, 0, 0, time.monotonic()

    def __call__(self, result: StageResult | None = None) -> None:
        """One more has ended; result: what came of it, where that is known."""
        self._done += 1
        self._found += result is not None and result.status == "hit"
        computed, left = self._done - self._found, self._total - self._done
        seconds = (time.monotonic() - self._started) / max(computed, 1) * left
        note = f"at this pace {report.minutes(seconds)} to go" if computed and left else ""
        if self._total > 1:
            self._progress(self._done, self._total, note)


def run_tasks(
    engine: EngineConfig,
    task: Task[..., Any],
    calls: list[dict[str, Any]],
    on_end: Callable[[StageResult | None], None] = lambda result: None,
) -> list[StageResult]:
    """One result for each call; on a cluster all have ended before the error of one is raised.

    on_end: Called when one has ended, in this process with its result.
    """
    if engine.kind == "local":
        results = []
        for call in calls:
            results.append(_result(task, call))
            on_end(results[-1])
        return results
    with dask(engine) as pool:
        # Workers elsewhere take relative addresses, and those of the environment, from elsewhere.
        results = pool.run(
            task, [call | {"store": call["store"].absolute()} for call in calls], on_end=lambda: on_end(None)
        )
    for result in results:
        if isinstance(result, Exception):
            raise result
        report.log().info("%s", result)
    return results


def _result(task: Task[..., Any], call: dict[str, Any]) -> StageResult:
    # Called for its state, since a direct call of a task that ends in a state of its own returns that state.
    result: StageResult = task(**call, return_state=True).result()
    report.log().info("%s", result)
    return result


def run_shards(
    engine: EngineConfig, spec: StageSpec, store: StoreConfig, force: bool, config: Any, **inputs: Any
) -> int:
    """Have workers do a stage's shards, for its task to join; returns how many shards there are.

    config: resolved settings. Nothing is done where the engine is local, the work is not to be divided, or the artifact
    is there. A shard that fails is left to the task.
    """
    artifacts, sharding = ArtifactStore.open(store), spec.sharding
    if engine.kind == "local" or not sharding or not sharding.at_once(config, 1):
        return 0
    stage = sharding.stage(config, artifacts, **inputs)
    if not force and artifacts.find(stage.name, stage.key):
        return 0
    with sharding.undisturbed(config, store), dask(engine) as pool:
        n = sharding.at_once(config, pool.at_once)
        shards = cut(stage, artifacts, engine.shards or n, n)
        call = {"config": config, "store": store.absolute(), **inputs, "force": force}
        name = spec.task.name
        one = spec.task.with_options(name=f"{name}-shard", task_run_name=f"{name} {{shard.title}}")
        pool.run(one, [call | {"shard": shard} for shard in shards], n)
    return len(shards)


def _outcome(future: Any) -> Any:
    try:
        return future.result()
    except Exception as error:
        report.log().warning("a task on the cluster failed: %s: %s", type(error).__name__, error)
        return error


def _check_library() -> None:
    try:
        import prefect_dask  # noqa: F401
    except ImportError as error:
        raise NoEngine(
            "engine dask needs a library that is not installed: pip install 'prefect-dask>=0.3.7,<0.4'"
        ) from error
