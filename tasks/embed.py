"""Turn profiles into semantic vectors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import embedding
from rlmrec_core.config import EmbedConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.config.text import MissingSetting
from rlmrec_core.data import Side
from rlmrec_core.profiling import TrainCorpus
from rlmrec_core.shard import Shard, Workplace
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import shards
from tasks.cold_start import NEW_ITEMS, new_item_profiles, new_items_corpus
from tasks.profiles import show_costs, train_corpus, workplace
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 2


def embed_stage(config: EmbedConfig, **refs: ArtifactRef) -> Stage:
    """The stage under resolved settings, with its inputs by their roles."""
    inputs = {name: ref.key for name, ref in refs.items()}
    return Stage("embed", VERSION, ("items", "users"), key_fields(config), inputs)


@task(name="embed", **UNCACHED)
def embed(
    config: EmbedConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef,
    user_profiles: ArtifactRef,
    force: bool = False,
    shard: Shard | None = None,
    n_shards: int = 0,
) -> StageResult | State[StageResult] | None:
    """One vector for every item and every user.

    shard: a worker's; None makes the whole, joining the `n_shards` that workers left as far as these go.
    """
    config = config.resolved()
    refs = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles, "user_profiles": user_profiles}
    work = _Work(config, ArtifactStore.open(store), embed_stage(config, **refs), refs)
    return work.shard(shard, force) if shard else as_state(work.whole(n_shards, force))


@dataclass(frozen=True)
class _Work:
    """What there is to embed."""

    config: EmbedConfig
    artifacts: ArtifactStore
    stage: Stage
    refs: Mapping[str, ArtifactRef]

    def whole(self, n_shards: int, force: bool) -> StageResult:
        """The stage's artifact."""

        # What failed in a shard was asked about a moment ago.
        config = self.config.model_copy(update={"retry_failed": False}) if n_shards else self.config

        def write(out: ArtifactWriter) -> None:
            joined = shards.joined(self.stage, self.artifacts, n_shards, "vectors")
            place = replace(self._place(self.stage.name), joined=joined)
            result = self._imported() if self._imports else embedding.embed(*self._inputs(), config, place)
            out.table("items", result.items)
            out.table("users", result.users)
            if self.config.new_items:
                out.table(NEW_ITEMS, self._new_items(place))
            out.unfinished = result.unfinished
            show_costs(self.stage.name, result.report)

        result = self.stage.run(self.artifacts, write, force=force)
        shards.remove(self.stage, self.artifacts, n_shards)
        return result

    def shard(self, shard: Shard, force: bool) -> StageResult | None:
        """A worker's shard: as an artifact, or None where it is vectors in the ledger."""
        pays, title = self.config.encoder == "openai", f"{self.stage.name} {shard.title}"
        shards.check_worker(self.stage, shard, self.artifacts, pays=pays)
        place = replace(self._place(title), shard=shard)

        def embed_shard() -> tuple[pa.Table | None, dict[str, Any]]:
            return embedding.embed_shard(*self._inputs(), self.config, place)

        if not pays:
            return shards.run_shard(
                self.stage, shard, self.artifacts, "vectors", lambda out: out.table("vectors", embed_shard()[0]), force
            )
        show_costs(title, embed_shard()[1])
        return None

    @property
    def _imports(self) -> bool:
        return self.config.encoder == "imported"

    def _imported(self) -> embedding.EmbedResult:
        corpus = train_corpus(self.artifacts, self.refs["ingest"], self.refs["prepare"])
        return embedding.embed_imported(corpus, self._item_vectors(), self._vectors("user"), self.config)

    def _item_vectors(self) -> pa.Table:
        """Those that came with the data. Raises MissingSetting if there are none."""
        if (found := self._vectors("item")) is None:
            raise MissingSetting(
                "encoder imported needs vectors of the items: name their file (ingest.item_vectors_file), or have the "
                "profiles embedded (embed.encoder=minilm)"
            )
        return found

    def _vectors(self, side: Side) -> pa.Table | None:
        name, ingest = f"imported_{side}_vectors", self.refs["ingest"]
        there = f"{name}.parquet" in self.artifacts.manifest(ingest).content.files
        return self.artifacts.table(ingest, name) if there else None

    def _inputs(self) -> tuple[TrainCorpus, pa.Table, pa.Table]:
        sides = (self.artifacts.table(self.refs[side], "profiles") for side in ("item_profiles", "user_profiles"))
        return train_corpus(self.artifacts, self.refs["ingest"], self.refs["prepare"]), *sides

    def _new_items(self, place: Workplace) -> pa.Table:
        corpus = new_items_corpus(self.artifacts, self.refs["ingest"], self.refs["prepare"])
        if self._imports:
            return embedding.new_imported(corpus, self._item_vectors())
        profiles = new_item_profiles(self.artifacts, self.refs["ingest"], corpus)
        return embedding.embed_new_items(corpus, profiles, self.config, replace(place, joined=None))

    def _place(self, title: str) -> Workplace:
        return workplace(self.stage, self.artifacts, f"{title}: texts")


def vectors_at_once(config: EmbedConfig, workers: int) -> int:
    """How many of the workers may embed side by side; 0 where the work is not to be divided."""
    return {"minilm": workers, "openai": min(workers, config.concurrency)}.get(config.encoder, 0)


@contextmanager
def undisturbed(config: EmbedConfig, store: StoreConfig) -> Iterator[None]:
    """Held while workers embed shards: another run would cut the same texts into other requests, and pay again."""
    if config.encoder != "openai":
        yield
        return
    from rlmrec_core.embedding.remote import alone  # takes a second to load; only this needs it

    with alone(ArtifactStore.open(store).ledger_path, config):
        yield
