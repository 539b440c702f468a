"""Which artifacts of a data set are in use: datasets/NAME/current.json, and how it came to that."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rlmrec_core.canonical import digest_of
from storage import ArtifactRef, ArtifactStore, StoreError
from tasks import datasets

CURRENT = "current.json"
Entry = dict[str, Any]
"""A promotion: number, promoted (time), reason, artifacts (keys by stage), recommendations, figures, config."""
_KEPT = 100
"""Promotions that the file remembers."""


class NotPossible(LookupError):
    """There is nothing to promote, or to go back to: says why, and the way out."""


def current(artifacts: ArtifactStore, name: str) -> Entry | None:
    """What is in use, with its `history`: earlier promotions, newest first. None if nothing was promoted yet."""
    entry = datasets.read(artifacts, name, CURRENT)
    if entry is not None and not (isinstance(entry, dict) and isinstance(entry.get("artifacts"), dict)):
        raise StoreError(f"{CURRENT} of {name} in {artifacts.url} is damaged: remove it and run the full pipeline")
    return entry


def before(entry: Entry) -> Entry | None:
    """The promotion that a rollback returns to."""
    earlier = [one for one in entry.get("history", []) if one["number"] < entry["number"]]
    return next((one for one in earlier if not one.get("withdrawn")), None)


def promote(artifacts: ArtifactStore, name: str, run: Mapping[str, Any], reason: str) -> Entry:
    """Put a run's artifacts to use, in one step; returns the entry.

    run: a last-run.json. Raises NotPossible if the run wrote no lists.
    """
    if not run.get("recommendations"):
        raise NotPossible(
            f"the last run of {name} wrote no lists: {run.get('message') or 'it stopped before'}; to let such data "
            "pass, set that check's action to warn (such as gates.users.action=warn) and run again"
        )
    with _lock(artifacts, name):
        now = current(artifacts, name)
        keys: dict[str, list[str]] = {}
        for stage in run["stages"]:
            keys.setdefault(stage["stage"], []).append(stage["key"])
        fresh = {"number": max((one["number"] for one in _all(now)), default=0) + 1, "promoted": _time()}
        # The same artifacts once more are no promotion: a rollback shall lead to others.
        same = now if now and now["artifacts"] == keys else None
        entry = {name: same[name] for name in fresh} if same else fresh
        entry |= {
            "reason": reason,
            "artifacts": keys,
            "recommendations": run["recommendations"],
            "figures": {row["what"]: row["value"] for row in run.get("gates", [])},
            "config": run["config"],
        }
        return _write(artifacts, name, entry, now["history"] if same and now else list(_all(now)))


def promote_last(artifacts: ArtifactStore, name: str) -> Entry:
    """Put the data set's last run to use whatever the gates said, and let reruns of a stage start from it."""
    entry = promote(artifacts, name, datasets.last_run(artifacts, name), "promoted by hand")
    datasets.remember(artifacts, name, entry["artifacts"])
    return entry


def rollback(artifacts: ArtifactStore, name: str, number: int | None = None) -> Entry:
    """Put an earlier promotion to use again, the one before or the one of this number; returns its entry.

    Raises NotPossible if there is none, or if its artifacts are gone or damaged.
    """
    with _lock(artifacts, name):
        now = current(artifacts, name)
        if now is None:
            raise NotPossible(f"nothing of {name} was promoted yet in {artifacts.url}: run the full pipeline")
        if number is None:
            entry = before(now)
        else:
            entry = next((one for one in now["history"] if one["number"] == number), None)
        if entry is None:
            raise NotPossible(f"{name} has no {'earlier promotion' if number is None else f'promotion {number}'}")
        _check_sound(artifacts, entry)
        rest = [one for one in _all(now) if one["number"] != entry["number"]]
        rest = [one | {"withdrawn": _time()} if one["number"] == now["number"] else one for one in rest]
        back = {key: value for key, value in entry.items() if key != "withdrawn"}
        return _write(artifacts, name, back, rest)


def in_use(artifacts: ArtifactStore, name: str, *, alone: bool = False) -> dict[str, list[str]]:
    """Keys by stage of what is in use and, unless `alone`, of what a rollback would return to."""
    entry = current(artifacts, name)
    kept = [one for one in (entry, entry and not alone and before(entry)) if one]
    keys: dict[str, list[str]] = {}
    for one in kept:
        for stage, of_stage in one["artifacts"].items():
            keys.setdefault(stage, []).extend(of_stage)
    return keys


def datasets_of(artifacts: ArtifactStore) -> dict[str, list[str]]:
    """The data sets that artifacts belong to, by key: those of the runs that read the same raw data."""
    refs = artifacts.refs()
    roots = {ref.key: _root(artifacts, ref) for ref in refs}
    owners: dict[str | None, list[str]] = {}
    for name in datasets.names(artifacts):
        noted = [datasets.latest_keys(artifacts, name), in_use(artifacts, name)]
        for root in {roots.get(key) for keys in noted for of_stage in keys.values() for key in of_stage} - {None}:
            owners.setdefault(root, []).append(name)
    return {key: owners.get(root, []) for key, root in roots.items()}


def _root(artifacts: ArtifactStore, ref: ArtifactRef) -> str | None:
    """The key of the raw data that an artifact was made from."""
    while ref.stage != "ingest":
        try:
            inputs = artifacts.manifest(ref).content.inputs
        except StoreError:
            return None  # what it was made from was removed
        stage = "ingest" if "ingest" in inputs else "prepare" if "prepare" in inputs else next(iter(inputs), None)
        if stage is None:
            return None
        ref = ArtifactRef(stage.split("/")[0], inputs[stage], artifacts.url)
    return ref.key


def refs(artifacts: ArtifactStore, entry: Entry, stage: str) -> list[ArtifactRef]:
    """A promotion's artifacts of a stage, as far as they are there and sound."""
    found = [artifacts.find(stage, key) for key in entry["artifacts"].get(stage, [])]
    return [ref for ref in found if ref]


def in_words(name: str, entry: Entry) -> str:
    """What is in use now, in one line."""
    return f"in use of {name} now: promotion {entry['number']}, {entry['recommendations']}"


def _check_sound(artifacts: ArtifactStore, entry: Entry) -> None:
    """Of the stages' artifacts, and of the model that wrote the lists where it was trained once more for them."""
    needed = {(stage, key) for stage, keys in entry["artifacts"].items() for key in keys}
    for lists in refs(artifacts, entry, "recommend"):
        inputs = artifacts.manifest(lists).content.inputs
        needed |= {("train", key) for role, key in inputs.items() if role == "train"}
    for stage, key in sorted(needed):
        if artifacts.find(stage, key) is None:
            raise NotPossible(
                f"promotion {entry['number']} cannot be put to use: an artifact of {stage} is gone or damaged in "
                f"{artifacts.url}; run the full pipeline with the settings in {CURRENT} to make it again"
            )


def _all(now: Entry | None) -> Iterator[Entry]:
    """The promotion in use and those before, newest first."""
    if now:
        yield {key: value for key, value in now.items() if key != "history"}
        yield from now.get("history", [])


def _write(artifacts: ArtifactStore, name: str, entry: Entry, rest: list[Entry]) -> Entry:
    newest_first = sorted(rest, key=lambda one: -one["number"])[:_KEPT]
    datasets.write(artifacts, name, CURRENT, entry | {"history": newest_first})
    return entry


@contextmanager
def _lock(artifacts: ArtifactStore, name: str) -> Iterator[None]:
    with artifacts.lock("current", digest_of(name)):
        yield


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
