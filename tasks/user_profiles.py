"""Write a profile of every user."""

from prefect import State, task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks.corpus import train_corpus
from tasks.profiles import imported_profiles, profile_stage, run_profiles
from tasks.report import Progress
from tasks.stage import UNCACHED, StageResult, as_state

VERSION = 1


@task(name="user-profiles", **UNCACHED)
def profile_users(
    config: ProfileConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef,
    force: bool = False,
) -> StageResult | State[StageResult]:
    """Profiles of the users, from the profiles of their train items and their own reviews (RLMRec, eq. 14)."""
    artifacts, config = ArtifactStore.open(store), config.resolved()
    inputs = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles}
    stage = profile_stage("user", VERSION, config, inputs)

    def compute(progress: Progress) -> profiling.ProfileResult:
        return profiling.profile_users(
            train_corpus(artifacts, ingest, prepare),
            artifacts.table(item_profiles, "profiles"),
            config,
            imported=imported_profiles(artifacts, ingest, "user"),
            ledger=artifacts.ledger_path,
            progress=progress,
        )

    return as_state(run_profiles(stage, artifacts, compute, force=force))
