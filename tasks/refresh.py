"""What a refresh starts from, and what it changed and cost."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError
from tasks import report
from tasks.datasets import latest_keys
from tasks.profiles import spent_on
from tasks.stage import StageResult

_SIDES = {"item_profiles": "item", "user_profiles": "user"}


def latest_profiles(artifacts: ArtifactStore, name: str) -> dict[str, ArtifactRef]:
    """The data set's latest profiles of either side, as far as there are any."""
    noted = latest_keys(artifacts, name)
    found = {stage: artifacts.find(stage, key) for stage in _SIDES for key in noted.get(stage, [])}
    return {stage: ref for stage, ref in found.items() if ref}


def show_changes(
    store: StoreConfig, before: Mapping[str, ArtifactRef], done: Mapping[str, list[StageResult]]
) -> list[dict[str, Any]]:
    """One row for each side: who is new, changed or unchanged, and what the ledger says it cost."""
    artifacts = ArtifactStore.open(store)
    rows = [
        {
            "side": side,
            **_changes(artifacts, before.get(stage), done[stage][0].ref),
            **spent_on(artifacts, done[stage][0]),
        }
        for stage, side in _SIDES.items()
        if stage in done
    ]
    report.show_table("refresh", rows, "What changed, and what it cost")
    for row in rows:
        report.log().info("refresh: %s", row)
    return rows


def _changes(artifacts: ArtifactStore, before: ArtifactRef | None, after: ArtifactRef) -> dict[str, int]:
    new = _profiles(artifacts, after)
    old = _profiles(artifacts, before) if before else {}
    changed = sum(name in old and old[name] != profile for name, profile in new.items())
    added = len(new.keys() - old.keys())
    gone = len(old.keys() - new.keys())
    return {"new": added, "changed": changed, "unchanged": len(new) - added - changed, "gone": gone}


def _profiles(artifacts: ArtifactStore, ref: ArtifactRef) -> dict[str, str | None]:
    """What every item or user, by original id, has for a profile."""
    side = _SIDES[ref.stage]
    prepare = ArtifactRef("prepare", artifacts.manifest(ref).content.inputs["prepare"], artifacts.url)
    try:
        index: pa.Table = artifacts.table(prepare, f"{side}_index").sort_by(side)
    except StoreError:
        return {}  # the data that the earlier profiles belong to was removed
    profiles = artifacts.table(ref, "profiles", ["id", "summarization"])
    names = index[f"{side}_id"].take(profiles["id"]).to_pylist()
    return dict(zip(names, profiles["summarization"].to_pylist(), strict=True))
