"""Finding the artifacts that a stage works on."""

from collections.abc import Mapping, Sequence

from storage import ArtifactRef, ArtifactStore, StoreError


class MissingInput(LookupError):
    """A stage lacks an artifact to work on: names the deployment that makes it."""


def find_inputs(artifacts: ArtifactStore, **keys: str | list[str] | None) -> dict[str, list[ArtifactRef]]:
    """The artifacts of each stage named: those with these keys, or where there are none those made or found last.

    Raises MissingInput if one is not there, or if two of them were not made from the same data.
    """
    found = {stage: _of_stage(artifacts, stage, wanted) for stage, wanted in keys.items()}
    check_lineage(artifacts, found)
    return found


def _of_stage(artifacts: ArtifactStore, stage: str, keys: str | list[str] | None) -> list[ArtifactRef]:
    if not keys:
        return latest(artifacts, stage)
    return [_existing(artifacts, stage, key) for key in ([keys] if isinstance(keys, str) else keys)]


def remember(artifacts: ArtifactStore, refs: list[ArtifactRef]) -> None:
    """Note what a stage made or found, for runs that ask for its latest."""
    artifacts.write_json(_note(refs[0].stage), [ref.key for ref in refs])


def noted_keys(artifacts: ArtifactStore, stage: str) -> list[str]:
    """Keys of what the stage made or found in its last run, whether or not it is still there."""
    keys = artifacts.read_json(_note(stage)) or []
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise StoreError(f"{_note(stage)} in {artifacts.url} is damaged: {_way_out(stage)}")
    return keys


def latest(artifacts: ArtifactStore, stage: str) -> list[ArtifactRef]:
    """What the stage made or found in its last run. Raises MissingInput if nothing, or if it was damaged since."""
    refs = [artifacts.find(stage, key) for key in noted_keys(artifacts, stage)]
    if not refs or None in refs:
        raise MissingInput(f"{artifacts.url} has no sound artifact of {stage}: {_way_out(stage)}")
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


def _note(stage: str) -> str:
    return f"latest-{stage}.json"
