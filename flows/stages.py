"""One flow for each stage: part of the full pipeline, and a deployment of its own, so that the UI can rerun it.

Inputs are keys of artifacts; left out, the latest are taken. `force` computes anew what is in the store already.
"""

from contextlib import nullcontext
from typing import Any

from prefect import Task, flow

from flows.approval import approved
from flows.engine import dask, run_shards
from flows.inputs import check_lineage, find_input, find_inputs, find_models, remember
from rlmrec_core.config import (
    EmbedConfig,
    EngineConfig,
    EvaluateConfig,
    IngestConfig,
    PrepareConfig,
    ProfileConfig,
    RecommendConfig,
    TrainConfig,
)
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import report
from tasks.embed import embed as embed_task
from tasks.embed import embed_stage, undisturbed, vectors_at_once
from tasks.evaluate import evaluate as evaluate_task
from tasks.ingest import ingest as ingest_task
from tasks.item_profiles import item_stage, profile_items
from tasks.plan import plan_of_items, plan_of_users
from tasks.prepare import prepare as prepare_task
from tasks.profiles import profiles_at_once
from tasks.recommend import recommend as recommend_task
from tasks.stage import StageResult, as_states
from tasks.train import reads_semantics, runs
from tasks.train import train as train_task
from tasks.user_profiles import profile_users, user_stage

DIVIDED = ("item_profiles", "user_profiles", "embed", "train")
"""Sections of the settings whose stage takes an engine."""


@flow(name="ingest", persist_result=False)
def ingest(
    config: IngestConfig = IngestConfig(), store: StoreConfig = StoreConfig(), force: bool = False
) -> StageResult:
    """Read raw data into the canonical tables.

    Args:
        config: Format and place of the raw data.
        store: Where artifacts are kept.
        force: Compute anew even if the artifact is there.
    """
    return _one(ingest_task, config, store, force=force)


@flow(name="prepare", persist_result=False)
def prepare(
    config: PrepareConfig = PrepareConfig(),
    store: StoreConfig = StoreConfig(),
    ingest: str | None = None,
    force: bool = False,
) -> StageResult:
    """Filter, index and divide the interactions.

    Args:
        config: Filtering and split.
        store: Where artifacts are kept.
        ingest: Key of the ingest artifact; None takes the latest.
        force: Compute anew even if the artifact is there.
    """
    refs = find_inputs(ArtifactStore.open(store), ingest=ingest)
    return _one(prepare_task, config, store, **refs, force=force)


@flow(name="item-profiles", persist_result=False)
def item_profiles(
    config: ProfileConfig = ProfileConfig(),
    store: StoreConfig = StoreConfig(),
    ingest: str | None = None,
    prepare: str | None = None,
    force: bool = False,
    engine: EngineConfig = EngineConfig(),
) -> StageResult:
    """Write a profile of every item.

    Args:
        config: How profiles are written.
        store: Where artifacts are kept.
        ingest: Key of the ingest artifact; None takes the latest.
        prepare: Key of the prepare artifact; None takes the latest.
        force: Build anew even if the artifact is there; answers already paid for are not asked again.
        engine: Where the profiles are written; changes no result.
    """
    refs = find_inputs(ArtifactStore.open(store), ingest=ingest, prepare=prepare)
    approved(config, lambda: plan_of_items(config, store, **refs))
    config = config.resolved()
    n_shards = run_shards(
        engine, profile_items, item_stage(config, **refs), config, store, profiles_at_once, **refs, force=force
    )
    return _one(profile_items, config, store, **refs, force=force, n_shards=n_shards)


@flow(name="user-profiles", persist_result=False)
def user_profiles(
    config: ProfileConfig = ProfileConfig(),
    store: StoreConfig = StoreConfig(),
    ingest: str | None = None,
    prepare: str | None = None,
    item_profiles: str | None = None,
    previous: str | None = None,
    force: bool = False,
    engine: EngineConfig = EngineConfig(),
) -> StageResult:
    """Write a profile of every user.

    Args:
        config: How profiles are written.
        store: Where artifacts are kept.
        ingest: Key of the ingest artifact; None takes the latest.
        prepare: Key of the prepare artifact; None takes the latest.
        item_profiles: Key of the item profiles; None takes the latest.
        previous: Key of earlier user profiles; users who changed less than config.refresh_threshold keep theirs.
        force: Build anew even if the artifact is there; answers already paid for are not asked again.
        engine: Where the profiles are written; changes no result.
    """
    artifacts = ArtifactStore.open(store)
    refs = find_inputs(artifacts, ingest=ingest, prepare=prepare, item_profiles=item_profiles)
    approved(config, lambda: plan_of_users(config, store, **refs))
    earlier = ArtifactRef("user_profiles", previous, artifacts.url) if previous else None
    config, inputs = config.resolved(), refs | {"previous": earlier}
    stage = user_stage(config, artifacts, **inputs)
    n_shards = run_shards(engine, profile_users, stage, config, store, profiles_at_once, **inputs, force=force)
    return _one(profile_users, config, store, **inputs, force=force, n_shards=n_shards)


@flow(name="embed", persist_result=False)
def embed(
    config: EmbedConfig = EmbedConfig(),
    store: StoreConfig = StoreConfig(),
    ingest: str | None = None,
    prepare: str | None = None,
    item_profiles: str | None = None,
    user_profiles: str | None = None,
    force: bool = False,
    engine: EngineConfig = EngineConfig(),
) -> StageResult:
    """Turn the profiles into semantic vectors.

    Args:
        config: Which encoder, and which text it reads.
        store: Where artifacts are kept.
        ingest: Key of the ingest artifact; None takes the latest.
        prepare: Key of the prepare artifact; None takes the latest.
        item_profiles: Key of the item profiles; None takes the latest.
        user_profiles: Key of the user profiles; None takes the latest.
        force: Compute anew even if the artifact is there.
        engine: Where the texts are embedded; changes no result.
    """
    keys = {"item_profiles": item_profiles, "user_profiles": user_profiles}
    refs = find_inputs(ArtifactStore.open(store), ingest=ingest, prepare=prepare, **keys)
    config = config.resolved()
    with undisturbed(config, store) if engine.kind == "dask" else nullcontext():
        n_shards = run_shards(
            engine, embed_task, embed_stage(config, **refs), config, store, vectors_at_once, **refs, force=force
        )
    return _one(embed_task, config, store, **refs, force=force, n_shards=n_shards)


@flow(name="train", persist_result=False)
def train(
    config: TrainConfig = TrainConfig(),
    store: StoreConfig = StoreConfig(),
    prepare: str | None = None,
    embed: str | None = None,
    force: bool = False,
    engine: EngineConfig = EngineConfig(),
) -> list[StageResult]:
    """Train a model for each backbone, variant and seed.

    Args:
        config: What is trained, and how.
        store: Where artifacts are kept.
        prepare: Key of the prepare artifact; None takes the latest.
        embed: Key of the semantic vectors; None takes the latest. Base does not need them.
        force: Train anew even if the model is there.
        engine: Where the models are trained; changes no result.
    """
    artifacts = ArtifactStore.open(store)
    keys = {"prepare": prepare} | ({"embed": embed} if reads_semantics(config) else {})
    refs = find_inputs(artifacts, **keys)
    wanted = [
        {"settings": settings, "store": store, "force": force}
        | (refs if settings.alignment else {"prepare": refs["prepare"]})
        for settings in runs(config)
    ]
    results = _results(engine, train_task, wanted)
    return _end(artifacts, results, results)


@flow(name="evaluate", persist_result=False)
def evaluate(
    config: EvaluateConfig = EvaluateConfig(),
    store: StoreConfig = StoreConfig(),
    prepare: str | None = None,
    models: list[str] | None = None,
    force: bool = False,
) -> StageResult:
    """Measure the models, with the baselines beside them: popularity, and the text alone.

    Args:
        config: What is measured.
        store: Where artifacts are kept.
        prepare: Key of the prepare artifact; None takes the latest.
        models: Keys of train artifacts; None takes those of the latest training.
        force: Compute anew even if the artifact is there.
    """
    artifacts = ArtifactStore.open(store)
    split = find_input(artifacts, "prepare", prepare)
    found = find_models(artifacts, models)
    for model in found:
        check_lineage(artifacts, {"prepare": split, "train": model})
    return _one(evaluate_task, config, store, prepare=split, models=found, force=force)


@flow(name="recommend", persist_result=False)
def recommend(
    config: RecommendConfig = RecommendConfig(),
    store: StoreConfig = StoreConfig(),
    prepare: str | None = None,
    evaluate: str | None = None,
    force: bool = False,
) -> StageResult:
    """Write the top-K list of every user.

    Args:
        config: How long the lists are, and which model writes them.
        store: Where artifacts are kept.
        prepare: Key of the prepare artifact; None takes the latest.
        evaluate: Key of the evaluate artifact, which knows the models; None takes the latest.
        force: Compute anew even if the artifact is there.
    """
    refs = find_inputs(ArtifactStore.open(store), prepare=prepare, evaluate=evaluate)
    return _one(recommend_task, config, store, **refs, force=force)


def _one(task: Task[..., Any], config: Any, store: StoreConfig, **inputs: Any) -> Any:
    result = _result(task, config, store, **inputs)
    return _end(ArtifactStore.open(store), [result], result)


def _results(engine: EngineConfig, task: Task[..., Any], calls: list[dict[str, Any]]) -> list[StageResult]:
    """One result for each call; on a cluster all have ended before the error of one is raised."""
    if engine.kind == "local":
        return [_result(task, **parameters) for parameters in calls]
    with dask(engine) as pool:
        # Workers elsewhere take relative addresses, and those of the environment, from elsewhere.
        results = pool.run(task, [call | {"store": call["store"].absolute()} for call in calls])
    for result in results:
        if isinstance(result, Exception):
            raise result
        report.log().info("%s", result)
    return results


def _result(task: Task[..., Any], *arguments: Any, **inputs: Any) -> StageResult:
    # Called for its state, since a direct call of a task that ends in a state of its own returns that state.
    result: StageResult = task(*arguments, **inputs, return_state=True).result()
    report.log().info("%s", result)
    return result


def _end(artifacts: ArtifactStore, results: list[StageResult], data: Any) -> Any:
    """The state that a stage's flow ends in; whoever calls the flow gets `data`."""
    remember(artifacts, [result.ref for result in results])
    return as_states(results, data)
