"""Turn profiles into semantic vectors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import embedding
from rlmrec_core.config import EmbedConfig
from rlmrec_core.profiling import TrainCorpus
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import parts, report
from tasks.corpus import train_corpus
from tasks.profiles import account_of, show_costs
from tasks.stage import UNCACHED, Stage, StageResult, as_state, relevant

VERSION = 2


def embed_stage(config: EmbedConfig, **refs: ArtifactRef) -> Stage:
    """The stage under resolved settings, with its inputs by their roles."""
    inputs = {name: ref.key for name, ref in refs.items()}
    return Stage("embed", VERSION, ("items", "users"), relevant(config), inputs)


@task(name="embed", **UNCACHED)
def embed(
    config: EmbedConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef,
    user_profiles: ArtifactRef,
    force: bool = False,
    share: parts.Share | None = None,
    pieces: Sequence[ArtifactRef] = (),
) -> StageResult | State[StageResult] | None:
    """One vector for every item and every user.

    share: a worker's part; None makes the whole, out of the `pieces` that workers left as far as these go.
    """
    config = config.resolved()
    refs = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles, "user_profiles": user_profiles}
    work = _Work(config, ArtifactStore.open(store), embed_stage(config, **refs), refs)
    return work.part(share, force) if share else as_state(work.whole(pieces, force))


@dataclass(frozen=True)
class _Work:
    """What there is to embed."""

    config: EmbedConfig
    artifacts: ArtifactStore
    stage: Stage
    refs: Mapping[str, ArtifactRef]

    def whole(self, pieces: Sequence[ArtifactRef], force: bool) -> StageResult:
        """The stage's artifact."""

        def write(out: ArtifactWriter) -> None:
            ready = parts.joined(self.artifacts, pieces, "vectors")
            result = embedding.embed(*self._inputs(), self.config, **self._options(self.stage.name), ready=ready)
            out.table("items", result.items)
            out.table("users", result.users)
            out.unfinished = result.unfinished
            show_costs(self.stage.name, result.report)

        return self.stage.run(self.artifacts, write, force=force)

    def part(self, share: parts.Share, force: bool) -> StageResult | None:
        """A worker's part: as an artifact, or None where it is vectors in the ledger."""
        pays, title = self.config.encoder == "openai", f"{self.stage.name} {share.title}"
        parts.check_worker(self.stage, share, self.artifacts, pays=pays)

        def embed_part() -> tuple[pa.Table | None, dict[str, Any]]:
            return embedding.embed_part(*self._inputs(), self.config, share.part, **self._options(title))

        if not pays:
            return parts.run_part(
                self.stage, share, self.artifacts, "vectors", lambda out: out.table("vectors", embed_part()[0]), force
            )
        show_costs(title, embed_part()[1])
        return None

    def _inputs(self) -> tuple[TrainCorpus, pa.Table, pa.Table]:
        sides = (self.artifacts.table(self.refs[side], "profiles") for side in ("item_profiles", "user_profiles"))
        return train_corpus(self.artifacts, self.refs["ingest"], self.refs["prepare"]), *sides

    def _options(self, title: str) -> dict[str, Any]:
        return {
            "ledger": self.artifacts.ledger_path,
            "progress": report.Progress(f"{title}-progress", f"{title}: texts"),
            "account": account_of(self.stage.name, self.stage.key),
        }


def vectors_at_once(config: EmbedConfig, workers: int) -> int:
    """How many of the workers may embed side by side; 0 where the work is not to be divided."""
    return {"minilm": workers, "openai": min(workers, config.concurrency)}.get(config.encoder, 0)


@contextmanager
def undisturbed(config: EmbedConfig, store: StoreConfig) -> Iterator[None]:
    """Held while workers embed parts: another run would cut the same texts into other requests, and pay again."""
    if config.encoder != "openai":
        yield
        return
    from rlmrec_core.embedding.remote import alone  # takes a second to load; only this needs it

    with alone(ArtifactStore.open(store).ledger_path, config):
        yield
