"""What every stage does: key, lock, look in the store, compute, write."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect import State
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from storage import ArtifactRef, ArtifactStore, ArtifactWriter, artifact_key

# The store is the cache: Prefect must keep neither results nor keys of its own beside it.
UNCACHED: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@dataclass(frozen=True)
class StageResult:
    """How one artifact came to be in this run."""

    ref: ArtifactRef
    status: Literal["hit", "computed"]
    seconds: float
    rows: int
    bytes: int
    """Size of the artifact's files together."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """What tells artifacts of one stage apart; of a model: its ModelId."""
    unfinished: str | None = None
    """What the artifact lacks; the next run tries again."""
    wanted: str = ""
    """The key that was asked for; an unfinished artifact has another one."""
    asked_again_by: str = "retry-failed"
    """What asks again for what an unfinished artifact lacks."""

    @property
    def title(self) -> str:
        """The stage's name with its labels."""
        return " ".join([self.ref.stage, *map(str, self.labels.values())])

    def __str__(self) -> str:
        return f"{self.title}: {self.account}"

    @property
    def account(self) -> str:
        """Status, time, rows and size, in one line for people."""
        lacking = f", INCOMPLETE ({self.asked_again_by} asks again): {self.unfinished}" if self.unfinished else ""
        return f"{self.status} in {self.seconds:.1f} s, {self.rows:,} rows, {self.bytes / 1e6:.1f} MB{lacking}"


@dataclass(frozen=True)
class Stage:
    """A stage together with everything that its bytes depend on."""

    name: str
    version: int
    """Raised whenever the stage's code changes what it writes."""
    tables: tuple[str, ...]
    """The tables whose rows are counted in reports."""
    config: Mapping[str, Any]
    """The settings that its bytes depend on, without those at their default: `key_fields`."""
    inputs: Mapping[str, str]
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The key of this stage's artifact."""
        return artifact_key(self.name, self.version, self.config, self.inputs)

    def ref(self, store: ArtifactStore) -> ArtifactRef:
        """Where the artifact is in `store`, or would be."""
        return ArtifactRef(self.name, self.key, store.url)

    def run(self, store: ArtifactStore, write: Callable[[ArtifactWriter], object], *, force: bool) -> StageResult:
        """The artifact: found if it is in `store` unharmed, else made by `write`. `force` makes it anew.

        Where two runs want the same artifact, one computes and the other waits for it.
        """
        started = time.monotonic()
        with store.lock(self.name, self.key):
            ref = None if force else store.find(self.name, self.key)
            status: Literal["hit", "computed"] = "hit" if ref else "computed"
            if ref is None:
                with store.writer(
                    self.name, self.key, version=self.version, config=self.config, inputs=self.inputs
                ) as writer:
                    write(writer)
                ref = ArtifactRef(self.name, writer.key, store.url)
        seconds = round(time.monotonic() - started, 3)
        manifest = store.manifest(ref)
        rows = sum(manifest.content.files[f"{name}.parquet"].rows or 0 for name in self.tables)
        unfinished = manifest.content.config.get("unfinished")
        return StageResult(ref, status, seconds, rows, manifest.bytes, self.labels, unfinished, self.key)


def as_state(result: StageResult) -> State[StageResult]:
    """How a stage's task or flow ends, for the UI: what it took, as Cached or Incomplete where it is that."""
    return as_states([result], result)


def as_states(results: Sequence[StageResult], data: Any) -> State[Any]:
    """How a flow ends that made or found several artifacts; `data` is what its caller gets."""
    hit = all(result.status == "hit" for result in results)
    name = "Incomplete" if _lack(results) else "Cached" if hit else "Completed"
    return Completed(name=name, message="; ".join(map(str, results)), data=data)


def result_of(returned: StageResult | State[StageResult]) -> StageResult:
    """What a task's function returned, also where that is a state."""
    found = returned.result() if isinstance(returned, State) else returned
    assert isinstance(found, StageResult)
    return found


def whole_state(results: Iterable[StageResult]) -> State[None]:
    """How a run of several stages ends that nothing stopped: Incomplete where an artifact lacks something."""
    lacking = _lack(results)
    return Completed(name="Incomplete" if lacking else "Completed", message="; ".join(lacking) or None)


def _lack(results: Iterable[StageResult]) -> list[str]:
    return [f"{result.title}: {result.unfinished}" for result in results if result.unfinished]
