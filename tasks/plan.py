"""What the paid stages would cost, before anything is asked."""

from typing import Any

from prefect import task

from rlmrec_core import profiling
from rlmrec_core.config import ProfileConfig
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import report
from tasks.corpus import train_corpus
from tasks.item_profiles import item_stage
from tasks.stage import UNCACHED


@task(name="plan", **UNCACHED)
def plan(
    items: ProfileConfig, users: ProfileConfig, store: StoreConfig, ingest: ArtifactRef, prepare: ArtifactRef
) -> list[dict[str, Any]]:
    """One row for each side: requests, tokens, dollars, cache hits, and what a change of one item invalidates."""
    artifacts = ArtifactStore.open(store)
    corpus, ledger = train_corpus(artifacts, ingest, prepare), artifacts.ledger_path
    rows: list[dict[str, Any]] = []
    if items.generator == "llm":
        rows.append(profiling.plan_items(corpus, items, ledger=ledger).to_json())
    if users.generator == "llm":
        written = artifacts.find("item_profiles", item_stage(items.resolved(), ingest, prepare).key)
        table = artifacts.table(written, "profiles") if written else None
        touched = profiling.touched_users(corpus, users)
        row = profiling.plan_users(corpus, table, users, ledger=ledger).to_json()
        note = f"one changed item reaches {touched['mean']} users on average, {touched['most']} at most"
        rows.append(row | {"note": "; ".join(filter(None, [row["note"], note]))})
    report.show_table("plan", rows, "What would be asked, and what it would cost")
    return rows
