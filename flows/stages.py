"""One flow for each stage: part of the full pipeline, and a deployment of its own, so that the UI can rerun it.

Inputs are keys of artifacts; left out, the latest of the data set are taken. `force` computes anew what is there. The
flows differ in their signatures, from which Prefect draws the forms; what they do stands in tasks/stages.py.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from prefect import flow

from flows.approval import approved
from flows.engine import Made, run_shards, run_tasks
from flows.inputs import find_inputs
from rlmrec_core.config import (
    EmbedConfig,
    EngineConfig,
    EvaluateConfig,
    IngestConfig,
    PrepareConfig,
    ProfileConfig,
    ReasonsConfig,
    RecommendConfig,
    TrainConfig,
)
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import report
from tasks.datasets import chosen, latest_keys, remember
from tasks.plan import plan_of_items, plan_of_users
from tasks.reasons import plan_of_reasons
from tasks.stage import StageResult, as_states
from tasks.stages import ALL, STAGE, train_for_this_data

Data = TypeVar("Data")
_LOCAL = EngineConfig()
_COSTS: dict[str, Callable[..., dict[str, Any]]] = {
    "item_profiles": plan_of_items,
    "user_profiles": plan_of_users,
    "reasons": plan_of_reasons,
}
"""Stages whose cost somebody may have to approve, with what plans it."""


@flow(name="ingest", persist_result=False)
def ingest(
    config: IngestConfig = IngestConfig(),
    store: StoreConfig = StoreConfig(),
    force: bool = False,
    name: str | None = None,
) -> StageResult:
    """Read raw data into the canonical tables.

    Args:
        config: Format and place of the raw data.
        store: Where artifacts are kept.
        force: Compute anew even if the artifact is there.
        name: Name of the data set; None: one of reader and path.
    """
    return _one("ingest", name or config.data_name, config, store, force)


@flow(name="prepare", persist_result=False)
def prepare(
    config: PrepareConfig = PrepareConfig(),
    store: StoreConfig = StoreConfig(),
    ingest: str | None = None,
    force: bool = False,
    name: str | None = None,
) -> StageResult:
    """Filter, index and divide the interactions.

    Args:
        config: Filtering and split.
        store: Where artifacts are kept.
        ingest: Key of the ingest artifact; None takes the latest.
        force: Compute anew even if the artifact is there.
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    return _one("prepare", name, config, store, force, ingest=ingest)


@flow(name="item-profiles", persist_result=False)
def item_profiles(
    config: ProfileConfig = ProfileConfig(),
    store: StoreConfig = StoreConfig(),
    ingest: str | None = None,
    prepare: str | None = None,
    force: bool = False,
    engine: EngineConfig = EngineConfig(),
    name: str | None = None,
) -> StageResult:
    """Write a profile of every item.

    Args:
        config: How profiles are written.
        store: Where artifacts are kept.
        ingest: Key of the ingest artifact; None takes the latest.
        prepare: Key of the prepare artifact; None takes the latest.
        force: Build anew even if the artifact is there; answers already paid for are not asked again.
        engine: Where the profiles are written; changes no result.
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    return _one("item_profiles", name, config, store, force, engine, ingest=ingest, prepare=prepare)


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
    name: str | None = None,
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
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    keys = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles}
    return _one("user_profiles", name, config, store, force, engine, previous, **keys)


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
    name: str | None = None,
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
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    keys = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles, "user_profiles": user_profiles}
    return _one("embed", name, config, store, force, engine, **keys)


@flow(name="train", persist_result=False)
def train(
    config: TrainConfig = TrainConfig(),
    store: StoreConfig = StoreConfig(),
    prepare: str | None = None,
    embed: str | None = None,
    force: bool = False,
    engine: EngineConfig = EngineConfig(),
    name: str | None = None,
) -> list[StageResult]:
    """Train a model for each backbone, variant and seed.

    Args:
        config: What is trained, and how.
        store: Where artifacts are kept.
        prepare: Key of the prepare artifact; None takes the latest.
        embed: Key of the semantic vectors; None takes the latest. Base does not need them.
        force: Train anew even if the model is there.
        engine: Where the models are trained; changes no result.
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    from tasks.train import reads_semantics  # loads torch, which takes seconds

    if not embed:
        artifacts = ArtifactStore.open(store)
        split = find_inputs(artifacts, chosen(artifacts, name), prepare=prepare)["prepare"][0]
        config = train_for_this_data(config, store, split)
    keys = {"prepare": prepare} | ({"embed": embed} if reads_semantics(config) else {})
    return _ended(results := _run("train", name, config, store, force, engine, **keys), results)


@flow(name="evaluate", persist_result=False)
def evaluate(
    config: EvaluateConfig = EvaluateConfig(),
    store: StoreConfig = StoreConfig(),
    prepare: str | None = None,
    models: list[str] | None = None,
    force: bool = False,
    name: str | None = None,
) -> StageResult:
    """Measure the models, with the baselines beside them: popularity, ItemKNN, EASE, and the text alone.

    Args:
        config: What is measured.
        store: Where artifacts are kept.
        prepare: Key of the prepare artifact; None takes the latest.
        models: Keys of train artifacts; None takes those of the latest training.
        force: Compute anew even if the artifact is there.
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    return _one("evaluate", name, config, store, force, prepare=prepare, train=models)


@flow(name="recommend", persist_result=False)
def recommend(
    config: RecommendConfig = RecommendConfig(),
    store: StoreConfig = StoreConfig(),
    prepare: str | None = None,
    evaluate: str | None = None,
    embed: str | None = None,
    force: bool = False,
    name: str | None = None,
) -> StageResult:
    """Write the top-K list of every user.

    Args:
        config: How long the lists are, and which model writes them.
        store: Where artifacts are kept.
        prepare: Key of the prepare artifact; None takes the latest.
        evaluate: Key of the evaluate artifact, which knows the models; None takes the latest.
        embed: Key of semantic vectors made of all interactions, for config.profiles = rebuild; None takes the latest.
        force: Compute anew even if the artifact is there.
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    return _one("recommend", name, config, store, force, rebuilt=embed, prepare=prepare, evaluate=evaluate)


@flow(name="reasons", persist_result=False)
def reasons(
    config: ReasonsConfig = ReasonsConfig(),
    store: StoreConfig = StoreConfig(),
    recommend: str | None = None,
    force: bool = False,
    name: str | None = None,
) -> StageResult:
    """Put the reasons of lists into the words of a language model; only where config.generator is llm.

    Args:
        config: In whose words, how long, and how many of each list.
        store: Where artifacts are kept.
        recommend: Key of the recommend artifact; None takes the latest.
        force: Build anew even if the artifact is there; answers already paid for are not asked again.
        name: Data set whose latest are taken; None: the only one in the store, the sample aside.
    """
    return _one("reasons", name, config, store, force, recommend=recommend)


def _one(stage: str, *arguments: Any, **keys: Any) -> StageResult:
    """The end of a flow whose stage makes one artifact."""
    return _ended(results := _run(stage, *arguments, **keys), results[0])


def _run(
    stage: str,
    name: str | None,
    config: Any,
    store: StoreConfig,
    force: bool,
    engine: EngineConfig = _LOCAL,
    previous: str | None = None,
    rebuilt: str | None = None,
    **keys: str | list[str] | None,
) -> list[StageResult]:
    """Make or find a stage's artifacts from the inputs with these keys, by its task or the engine's workers.

    name: of the data set; None: the only one in the store, the sample aside.
    previous: key of earlier user profiles. rebuilt: of vectors made of all interactions.
    """
    spec, artifacts = STAGE[stage], ArtifactStore.open(store)
    name = chosen(artifacts, name)
    refs = find_inputs(artifacts, name, **keys)
    if stage in _COSTS and config.generator == "llm":
        approved(config.llm, lambda: _COSTS[stage](config, store, **{role: found[0] for role, found in refs.items()}))
    if hasattr(config, "resolved"):
        config = config.resolved()
    calls = spec.calls(config, refs)
    if previous:
        calls = [call | {"previous": ArtifactRef(stage, previous, artifacts.url)} for call in calls]
    if stage == "recommend" and config.rebuilds:
        rebuilt = rebuilt or next(iter(latest_keys(artifacts, name).get(f"embed{ALL}", ())), None)
        calls = [call | {"embed": rebuilt and ArtifactRef("embed", rebuilt, artifacts.url)} for call in calls]
    if spec.sharding:
        calls = [call | {"n_shards": run_shards(engine, spec, store, force, **call)} for call in calls]
        engine = _LOCAL  # which joins the shards
    calls = [call | {"store": store, "force": force} for call in calls]
    with report.about(name):
        results = run_tasks(engine, spec.task, calls, Made(stage, len(calls)))
    # Within a whole run nothing that is noted is replaced: the run does that, once it has ended well.
    made = {stage: [result.ref.key for result in results]}
    remember(artifacts, name, made, anew=not report.is_part_of_run())
    return results


def _ended(results: list[StageResult], data: Data) -> Data:
    """The state that a stage's flow ends in; Prefect hands `data` to whoever calls the flow."""
    return cast(Data, as_states(results, data))
