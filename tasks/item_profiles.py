"""Write a profile of every item."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from rlmrec_core.parts import WHOLE, Part
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks.corpus import train_corpus
from tasks.parts import Share
from tasks.profiles import imported_profiles, profile_stage, run_profiles, run_profiles_part
from tasks.report import Progress
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 2


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
    share: Share | None = None,
    pieces: Sequence[ArtifactRef] = (),
) -> StageResult | State[StageResult] | None:
    """Profiles of the items, from their texts and train reviews (RLMRec, eq. 13).

    share: a worker's part; None makes the whole, out of the `pieces` that workers left as far as these go.
    """
    artifacts, config = ArtifactStore.open(store), config.resolved()

    @cache
    def corpus() -> profiling.TrainCorpus:
        return train_corpus(artifacts, ingest, prepare)

    def compute(
        progress: Progress, account: str, part: Part = WHOLE, ready: pa.Table | None = None
    ) -> profiling.ProfileResult:
        return profiling.profile_items(
            corpus(),
            config,
            imported=imported_profiles(artifacts, ingest, "item"),
            ledger=artifacts.ledger_path,
            progress=progress,
            account=account,
            part=part,
            ready=ready,
        )

    def audit(profiles: pa.Table) -> dict[str, Any]:
        return profiling.audit(corpus(), "item", profiles, max_reviews=config.max_reviews, seed=config.seed)

    stage = item_stage(config, ingest, prepare)
    if share:
        return run_profiles_part(stage, share, artifacts, compute, pays=config.generator == "llm", force=force)
    return as_state(run_profiles(stage, artifacts, compute, audit, pieces, force=force))
