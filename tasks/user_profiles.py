"""Write a profile of every user."""

from functools import cache
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError
from tasks.corpus import train_corpus
from tasks.profiles import imported_profiles, profile_settings, profile_stage, run_profiles
from tasks.report import Progress
from tasks.stage import UNCACHED, StageResult, as_state

VERSION = 2
_PREVIOUS = "user_profiles/previous"


@task(name="user-profiles", **UNCACHED)
def profile_users(
    config: ProfileConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef,
    previous: ArtifactRef | None = None,
    force: bool = False,
) -> StageResult | State[StageResult]:
    """Profiles of the users, from the profiles of their train items and their own reviews (RLMRec, eq. 14).

    previous: an earlier artifact; users who changed less than the threshold since keep their profile.
    """
    artifacts, config = ArtifactStore.open(store), config.resolved()
    refs = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles}
    inputs = {name: ref.key for name, ref in refs.items()}
    earlier = _earlier(artifacts, previous, config) if previous else None
    if previous and earlier:
        inputs = _with_previous(inputs, previous, artifacts.manifest(previous).content.inputs)

    @cache
    def corpus() -> profiling.TrainCorpus:
        return train_corpus(artifacts, ingest, prepare)

    def compute(progress: Progress, account: str) -> profiling.ProfileResult:
        return profiling.profile_users(
            corpus(),
            artifacts.table(item_profiles, "profiles"),
            config,
            imported=imported_profiles(artifacts, ingest, "user"),
            ledger=artifacts.ledger_path,
            progress=progress,
            account=account,
            previous=earlier,
        )

    def audit(profiles: pa.Table) -> dict[str, Any]:
        items = profiling.summarizations(artifacts.table(item_profiles, "profiles"), corpus())
        return profiling.audit(corpus(), "user", profiles, items, max_reviews=config.max_reviews, seed=config.seed)

    stage = profile_stage("user", VERSION, config, inputs)
    return as_state(run_profiles(stage, artifacts, compute, audit, force=force))


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
