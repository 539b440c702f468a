"""What every stage does: key, lock, look in the store, compute, write."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect import State
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

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
    labels: Mapping[str, Any] = field(default_factory=dict)
    """What tells artifacts of one stage apart; of a model: backbone, variant, seed."""

    @property
    def title(self) -> str:
        """The stage's name with its labels."""
        return " ".join([self.ref.stage, *map(str, self.labels.values())])

    def __str__(self) -> str:
        return f"{self.title}: {self.status} in {self.seconds:.1f} s, {self.rows:,} rows"


@dataclass(frozen=True)
class Stage:
    """A stage together with everything that its bytes depend on."""

    name: str
    version: int
    """Raised whenever the stage's code changes what it writes."""
    tables: tuple[str, ...]
    """The tables whose rows are counted in reports."""
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The key of this stage's artifact."""
        return artifact_key(self.name, self.version, self.config, self.inputs)

    def run(self, store: ArtifactStore, write: Callable[[ArtifactWriter], None], *, force: bool) -> StageResult:
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
                ref = ArtifactRef(self.name, self.key, store.url)
        seconds = round(time.monotonic() - started, 3)
        return StageResult(ref, status, seconds, self._rows(store, ref), self.labels)

    def _rows(self, store: ArtifactStore, ref: ArtifactRef) -> int:
        files = store.manifest(ref).content.files
        return sum(files[f"{name}.parquet"].rows or 0 for name in self.tables)


def relevant(settings: BaseModel) -> dict[str, Any]:
    """The settings that an artifact depends on, as plain JSON: all but those its sections name KEYLESS."""
    keyless: frozenset[str] = getattr(settings, "KEYLESS", frozenset())
    return {
        name: relevant(value) if isinstance(value, BaseModel) else to_jsonable_python(value)
        for name, value in settings
        if name not in keyless
    }


def as_state(result: StageResult) -> StageResult | State[StageResult]:
    """What a stage's task returns: the result, or for a hit a state that the UI shows as Cached."""
    if result.status == "computed":
        return result
    return Completed(name="Cached", message=f"{result.ref} was in the store", data=result)
