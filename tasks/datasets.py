"""What the store remembers of each data set by its name, in datasets/NAME: its latest artifacts, its last run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rlmrec_core.canonical import digest_of
from storage import ArtifactStore, StoreError

SAMPLE = "sample"
LAST_RUN = "last-run.json"
_FOLDER, _LATEST = "datasets", "latest.json"
_NOTES = ContextVar("notes", default=True)


class UnknownDataSet(LookupError):
    """No data set of that name is in the store, or none was named where there are several: says which there are."""


def names(artifacts: ArtifactStore) -> list[str]:
    """Names of the data sets that runs were about, sorted."""
    return artifacts.folders(_FOLDER)


def chosen(artifacts: ArtifactStore, name: str | None) -> str:
    """`name`; None means the only data set in the store, the sample not counted beside another.

    Raises UnknownDataSet if None could mean several.
    """
    if name:
        return name
    own = [known for known in names(artifacts) if known != SAMPLE]
    if len(own) > 1:
        raise UnknownDataSet(f"{artifacts.url} holds the data sets {', '.join(own)}: say which one with `name`")
    return own[0] if own else SAMPLE


def read(artifacts: ArtifactStore, name: str, file: str) -> Any:
    """A JSON file of the data set, or None if there is none. Raises StoreError if it is damaged."""
    return artifacts.read_json(f"{_FOLDER}/{name}/{file}")


def write(artifacts: ArtifactStore, name: str, file: str, value: Any) -> str:
    """Write a JSON file of the data set, whole or not at all; returns where it is."""
    return artifacts.write_json(f"{_FOLDER}/{name}/{file}", value)


def last_run(artifacts: ArtifactStore, name: str) -> dict[str, Any]:
    """What the data set's last run wrote down. Raises UnknownDataSet if there was none, StoreError if it is damaged."""
    run = read(artifacts, name, LAST_RUN)
    if run is None:
        known = ", ".join(names(artifacts)) or "none"
        raise UnknownDataSet(
            f"{artifacts.url} has no full run of the data set {name!r} (there are: {known}): run it once as a whole"
        )
    if not isinstance(run, dict):
        raise StoreError(f"{_FOLDER}/{name}/{LAST_RUN} in {artifacts.url} is damaged: run the full pipeline again")
    return run


def latest_keys(artifacts: ArtifactStore, name: str) -> dict[str, list[str]]:
    """Keys of the artifacts that the data set's stages last made or found, whether or not they are still there."""
    keys = read(artifacts, name, _LATEST) or {}
    if not isinstance(keys, dict) or not all(_are_texts(of_stage) for of_stage in keys.values()):
        raise StoreError(
            f"{_FOLDER}/{name}/{_LATEST} in {artifacts.url} is damaged: remove it and run the full pipeline"
        )
    return keys


@contextmanager
def unnoted() -> Iterator[None]:
    """Within it `remember` notes nothing: what is made is not what others should go on from, such as half the data."""
    token = _NOTES.set(False)
    try:
        yield
    finally:
        _NOTES.reset(token)


def remember(artifacts: ArtifactStore, name: str, keys: Mapping[str, Sequence[str]], *, anew: bool = True) -> None:
    """Note what stages made or found, for runs that ask for the data set's latest; all of it in one step.

    anew: whether to replace what is noted already.
    """
    if not _NOTES.get():
        return
    with artifacts.lock("latest", digest_of(name)):
        noted = latest_keys(artifacts, name)
        fresh = {stage: list(made) for stage, made in keys.items() if anew or stage not in noted}
        if fresh:
            write(artifacts, name, _LATEST, noted | fresh)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(key, str) for key in value)
