"""Finding the artifacts that a stage works on."""

from collections.abc import Mapping, Sequence

from storage import ArtifactRef, ArtifactStore, StoreError
from tasks.datasets import latest_keys, names


class MissingInput(LookupError):
    """A stage lacks an artifact to work on: names the deployment that makes it."""


def find_inputs(artifacts: ArtifactStore, name: str, **keys: str | list[str] | None) -> dict[str, list[ArtifactRef]]:
    """The artifacts of each stage: those with these keys, or where there are none the latest of the data set `name`.

    Raises MissingInput if one is not there, or if two of them were not made from the same data.
    """
    found = {stage: _of_stage(artifacts, name, stage, wanted) for stage, wanted in keys.items()}
    check_lineage(artifacts, found)
    return found


def _of_stage(artifacts: ArtifactStore, name: str, stage: str, keys: str | list[str] | None) -> list[ArtifactRef]:
    if not keys:
        return latest(artifacts, name, stage)
    return [_existing(artifacts, stage, key) for key in ([keys] if isinstance(keys, str) else keys)]


def latest(artifacts: ArtifactStore, name: str, stage: str) -> list[ArtifactRef]:
    """What the stage last made or found for this data set. Raises MissingInput if nothing, or if it is damaged."""
    refs = [artifacts.find(stage, key) for key in latest_keys(artifacts, name).get(stage, [])]
    if not refs or None in refs:
        known = ", ".join(names(artifacts)) or "none"
        raise MissingInput(
            f"{artifacts.url} has no sound artifact of {stage} for the data set {name!r} (there are: {known}): "
            f"{_way_out(stage)}"
        )
    return [ref for ref in refs if ref]


def check_lineage(artifacts: ArtifactStore, refs: Mapping[str, Sequence[ArtifactRef]]) -> None:
    """Raise MissingInput if an artifact was made from another one than the one that stands beside it."""
    beside = {stage: found[0] for stage, found in refs.items() if len(found) == 1}
    for stage, found in refs.items():
        for ref in found:
            for role, key in artifacts.manifest(ref).content.inputs.items():
                if role in beside and beside[role].key != key:
                    raise MissingInput(
                        f"{ref} was made from {role}/{key[:12]}, not from {beside[role]}: {_way_out(stage)}"
                    )


def _existing(artifacts: ArtifactStore, stage: str, key: str) -> ArtifactRef:
    ref = ArtifactRef(stage, key, artifacts.url)
    try:
        artifacts.manifest(ref)
    except StoreError as error:
        raise MissingInput(f"{error}; {_way_out(stage)}") from error
    return ref


def _way_out(stage: str) -> str:
    name = stage.replace("_", "-")
    return f"run the deployment {name}/{name} first"
