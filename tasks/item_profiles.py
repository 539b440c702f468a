"""Write a profile of every item."""

from functools import cache
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from rlmrec_core.shard import Shard, Workplace
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks.profiles import imported_profiles, profile_stage, run_profiles, run_profiles_shard, train_corpus
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 3


def item_stage(config: ProfileConfig, ingest: ArtifactRef, prepare: ArtifactRef) -> Stage:
    """The stage under resolved settings."""
    return profile_stage("item", VERSION, config, {"ingest": ingest.key, "prepare": prepare.key})


@task(name="item-profiles", **UNCACHED)
def profile_items(
    config: ProfileConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    force: bool = False,
    shard: Shard | None = None,
    n_shards: int = 0,
) -> StageResult | State[StageResult] | None:
    """Profiles of the items, from their texts and train reviews (RLMRec, eq. 13).

    shard: a worker's; None makes the whole, joining the `n_shards` that workers left as far as these go.
    """
    artifacts, config = ArtifactStore.open(store), config.resolved()

    @cache
    def corpus() -> profiling.TrainCorpus:
        return train_corpus(artifacts, ingest, prepare)

    def compute(place: Workplace) -> profiling.ProfileResult:
        return profiling.profile_items(corpus(), config, place, imported_profiles(artifacts, ingest, "item"))

    def audit(profiles: pa.Table) -> dict[str, Any]:
        return profiling.audit(corpus(), "item", profiles, max_reviews=config.max_reviews, seed=config.seed)

    stage = item_stage(config, ingest, prepare)
    if shard:
        return run_profiles_shard(stage, shard, artifacts, compute, pays=config.generator == "llm", force=force)
    return as_state(run_profiles(stage, artifacts, compute, audit, n_shards, force=force))
