"""Write a profile of every item."""

from functools import cache
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks.corpus import train_corpus
from tasks.profiles import imported_profiles, profile_stage, run_profiles
from tasks.report import Progress
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 2


def item_stage(config: ProfileConfig, ingest: ArtifactRef, prepare: ArtifactRef) -> Stage:
    """The stage under resolved settings."""
    return profile_stage("item", VERSION, config, {"ingest": ingest.key, "prepare": prepare.key})


@task(name="item-profiles", **UNCACHED)
def profile_items(
    config: ProfileConfig, store: StoreConfig, ingest: ArtifactRef, prepare: ArtifactRef, force: bool = False
) -> StageResult | State[StageResult]:
    """Profiles of the items, from their texts and train reviews (RLMRec, eq. 13)."""
    artifacts, config = ArtifactStore.open(store), config.resolved()

    @cache
    def corpus() -> profiling.TrainCorpus:
        return train_corpus(artifacts, ingest, prepare)

    def compute(progress: Progress, account: str) -> profiling.ProfileResult:
        return profiling.profile_items(
            corpus(),
            config,
            imported=imported_profiles(artifacts, ingest, "item"),
            ledger=artifacts.ledger_path,
            progress=progress,
            account=account,
        )

    def audit(profiles: pa.Table) -> dict[str, Any]:
        return profiling.audit(corpus(), "item", profiles, max_reviews=config.max_reviews, seed=config.seed)

    return as_state(run_profiles(item_stage(config, ingest, prepare), artifacts, compute, audit, force=force))
