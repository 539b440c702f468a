"""Write a profile of every item."""

from prefect import State, task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks.corpus import train_corpus
from tasks.profiles import imported_profiles, profile_stage, run_profiles
from tasks.report import Progress
from tasks.stage import UNCACHED, StageResult, as_state

VERSION = 1


@task(name="item-profiles", **UNCACHED)
def profile_items(
    config: ProfileConfig, store: StoreConfig, ingest: ArtifactRef, prepare: ArtifactRef, force: bool = False
) -> StageResult | State[StageResult]:
    """Profiles of the items, from their texts and train reviews (RLMRec, eq. 13)."""
    artifacts, config = ArtifactStore.open(store), config.resolved()
    stage = profile_stage("item", VERSION, config, {"ingest": ingest, "prepare": prepare})

    def compute(progress: Progress) -> profiling.ProfileResult:
        return profiling.profile_items(
            train_corpus(artifacts, ingest, prepare),
            config,
            imported=imported_profiles(artifacts, ingest, "item"),
            ledger=artifacts.ledger_path,
            progress=progress,
        )

    return as_state(run_profiles(stage, artifacts, compute, force=force))
