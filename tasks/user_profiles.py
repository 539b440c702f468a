"""Write a profile of every user."""

from functools import cache
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from rlmrec_core.shard import Shard, Workplace
from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError
from tasks.profiles import (
    imported_profiles,
    profile_settings,
    profile_stage,
    run_profiles,
    run_profiles_shard,
    train_corpus,
)
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 3
_PREVIOUS = "user_profiles/previous"


def user_stage(
    config: ProfileConfig,
    artifacts: ArtifactStore,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef,
    previous: ArtifactRef | None = None,
) -> Stage:
    """The stage under resolved settings."""
    refs = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles}
    inputs = {name: ref.key for name, ref in refs.items()}
    if previous and _earlier(artifacts, previous, config):
        inputs = _with_previous(inputs, previous, artifacts.manifest(previous).content.inputs)
    return profile_stage("user", VERSION, config, inputs)


@task(name="user-profiles", **UNCACHED)
def profile_users(
    config: ProfileConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef,
    previous: ArtifactRef | None = None,
    force: bool = False,
    shard: Shard | None = None,
    n_shards: int = 0,
) -> StageResult | State[StageResult] | None:
    """Profiles of the users, from the profiles of their train items and their own reviews (RLMRec, eq. 14).

    previous: an earlier artifact; users who changed less than the threshold since keep their profile.
    shard: a worker's; None makes the whole, joining the `n_shards` that workers left as far as these go.
    """
    artifacts, config = ArtifactStore.open(store), config.resolved()
    earlier = _earlier(artifacts, previous, config) if previous else None
    stage = user_stage(config, artifacts, ingest, prepare, item_profiles, previous)

    @cache
    def corpus() -> profiling.TrainCorpus:
        return train_corpus(artifacts, ingest, prepare)

    def compute(place: Workplace) -> profiling.ProfileResult:
        items, imported = artifacts.table(item_profiles, "profiles"), imported_profiles(artifacts, ingest, "user")
        return profiling.profile_users(corpus(), items, config, place, imported, earlier)

    def audit(profiles: pa.Table) -> dict[str, Any]:
        items = profiling.summarizations(artifacts.table(item_profiles, "profiles"), corpus())
        return profiling.audit(corpus(), "user", profiles, items, max_reviews=config.max_reviews, seed=config.seed)

    if shard:
        return run_profiles_shard(stage, shard, artifacts, compute, pays=config.generator == "llm", force=force)
    return as_state(run_profiles(stage, artifacts, compute, audit, n_shards, force=force))


def _earlier(
    artifacts: ArtifactStore, previous: ArtifactRef, config: ProfileConfig
) -> tuple[pa.Table, pa.Table] | None:
    """Earlier profiles and the user_index they belong to; None if other settings wrote them, or they have gone."""
    try:
        content = artifacts.manifest(previous).content
        written_with = {name: value for name, value in content.config.items() if name != "unfinished"}
        if config.generator != "llm" or written_with != profile_settings("user", config) or content.version != VERSION:
            return None
        prepared = ArtifactRef("prepare", content.inputs["prepare"], artifacts.url)
        return artifacts.table(previous, "profiles"), artifacts.table(prepared, "user_index")
    except StoreError:
        return None


def _with_previous(inputs: dict[str, str], previous: ArtifactRef, its_inputs: dict[str, str]) -> dict[str, str]:
    """The inputs with the earlier profiles among them; where nothing changed since, the inputs those had."""
    if all(its_inputs.get(name) == key for name, key in inputs.items()):
        return its_inputs
    return inputs | {_PREVIOUS: previous.key}
