"""What the paid stages would cost, before anything is asked."""

from collections.abc import Callable
from typing import Any

from prefect import task

from rlmrec_core import profiling
from rlmrec_core.config import PipelineConfig, ProfileConfig
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import datasets, report
from tasks.item_profiles import item_stage
from tasks.prepare import all_interactions
from tasks.profiles import train_corpus
from tasks.reasons import assumed_plan_of_reasons, plan_of_reasons
from tasks.stage import UNCACHED
from tasks.stages import hyper_parameters, run_by_hand


@task(name="plan", **UNCACHED)
def plan(config: PipelineConfig, store: StoreConfig, ingest: ArtifactRef, prepare: ArtifactRef) -> list[dict[str, Any]]:
    """One row for each side: requests, tokens, dollars, cache hits, and what a change of one item invalidates.

    Rows of their own tell of profiles that are to be rebuilt for the lists, and of the reasons.
    """
    rows = _plan_of_profiles(config, store, ingest, prepare)
    if config.recommend.rebuilds and rows:
        again = _plan_of_profiles(config, store, ingest, all_interactions(store, prepare).ref)
        rows += [row | {"side": f"{row['side']}, of all interactions"} for row in again]
    if config.reasons.generator == "llm":
        rows.append(_plan_of_reasons(config, store, prepare))
    report.show_table("plan", rows, "What would be asked, and what it would cost")
    return rows


def _plan_of_profiles(
    config: PipelineConfig, store: StoreConfig, ingest: ArtifactRef, prepare: ArtifactRef
) -> list[dict[str, Any]]:
    artifacts = ArtifactStore.open(store)
    items, users = config.item_profiles, config.user_profiles
    rows: list[dict[str, Any]] = []
    if items.generator == "llm":
        rows.append(plan_of_items(items, store, ingest, prepare))
    if users.generator == "llm":
        written = artifacts.find("item_profiles", item_stage(items.resolved(), ingest, prepare).key)
        rows.append(plan_of_users(users, store, ingest, prepare, written))
    return rows


def plan_of_items(
    config: ProfileConfig, store: StoreConfig, ingest: ArtifactRef, prepare: ArtifactRef
) -> dict[str, Any]:
    """What the items' profiles would cost."""
    artifacts = ArtifactStore.open(store)
    corpus = train_corpus(artifacts, ingest, prepare)
    return profiling.plan_items(corpus, config, ledger=artifacts.ledger_path).to_json()


def plan_of_users(
    config: ProfileConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef | None,
) -> dict[str, Any]:
    """What the users' profiles would cost, and how many of them a changed item reaches."""
    artifacts = ArtifactStore.open(store)
    corpus = train_corpus(artifacts, ingest, prepare)
    table = artifacts.table(item_profiles, "profiles") if item_profiles else None
    row = profiling.plan_users(corpus, table, config, ledger=artifacts.ledger_path).to_json()
    touched = profiling.touched_users(corpus, config)
    note = f"one changed item reaches {touched['mean']} users on average, {touched['most']} at most"
    return row | {"note": "; ".join(filter(None, [row["note"], note]))}


def _plan_of_reasons(config: PipelineConfig, store: StoreConfig, prepare: ArtifactRef) -> dict[str, Any]:
    """About the latest lists of the data as they are now; where there are none, about as many as there will be."""
    artifacts = ArtifactStore.open(store)
    for key in datasets.latest_keys(artifacts, config.data_name).get("recommend", []):
        lists = artifacts.find("recommend", key)
        if lists and artifacts.manifest(lists).content.inputs["prepare"] == prepare.key:
            row = plan_of_reasons(config.reasons, store, lists)
            return row | {"note": "; ".join(filter(None, [row["note"], "about the latest lists"]))}
    return assumed_plan_of_reasons(config.reasons, store, prepare, config.recommend.k)


def plan_by_hand(
    config: PipelineConfig, store: StoreConfig, tell: Callable[[str], object] = lambda told: None
) -> list[dict[str, Any]]:
    """What the deployment `plan` says, computed in this process. Reads and divides the data if that was not done.

    tell: is told where the hyper-parameters come from.
    """
    done = run_by_hand(config, store, last="prepare")
    raw, split = (done[stage][0].ref for stage in ("ingest", "prepare"))
    tell(hyper_parameters(config.train, ArtifactStore.open(store), split))
    return plan.fn(config, store, raw, split)
