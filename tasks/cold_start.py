"""What is new: items with a text that nobody took yet, and items and users that prepare held out."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from rlmrec_core.config import RecommendConfig
from rlmrec_core.model_id import ModelId
from rlmrec_core.profiling import TrainCorpus
from rlmrec_core.profiling.extractive import extract_items
from rlmrec_core.ranking.cold_start import ColdItems, best_new, into_space, measure_items, measure_users
from rlmrec_core.ranking.top_k import as_table
from rlmrec_core.split import Split
from rlmrec_core.tables import COLD_METRICS, ITEM_INDEX, RECOMMENDATIONS, vectors_of
from rlmrec_core.vectors import SemanticEmbeddings, Vectors
from storage import ArtifactRef, ArtifactStore
from tasks.models import load_semantic, load_vectors, model_settings, role_of, titles_of
from tasks.profiles import imported_profiles

NEW_ITEMS = "new_items"
"""Table of an embed artifact: item_id, vector; and of recommend: the lists of new items."""

_WORDS, _SEED = 200, 2023


def new_items_corpus(artifacts: ArtifactStore, ingest: ArtifactRef, prepare: ArtifactRef) -> TrainCorpus:
    """The texts of the items that prepare gave no number, without any interaction: nothing of them can leak."""
    known = artifacts.table(prepare, "item_index")["item_id"].combine_chunks()
    items = artifacts.dataset(ingest, "items").to_table(filter=~pads.field("item_id").isin(known))
    ids = items["item_id"].combine_chunks()
    index = pa.table([pa.array(range(len(ids)), pa.int32()), ids], schema=ITEM_INDEX)
    nothing = artifacts.dataset(prepare, "split").schema.empty_table()
    return TrainCorpus.build(nothing, artifacts.table(prepare, "user_index"), index, items)


def new_item_profiles(artifacts: ArtifactStore, ingest: ArtifactRef, corpus: TrainCorpus) -> list[str | None]:
    """What is said of each new item: the profile that came with the data, else what its own texts tell."""
    given = imported_profiles(artifacts, ingest, "item")
    imported = given["summarization"].take(pc.index_in(corpus.item_ids, given["id"].combine_chunks())).to_pylist()
    extracted = extract_items(corpus, max_words=_WORDS, seed=_SEED)
    return [text or row.summarization for text, row in zip(imported, extracted, strict=True)]


def new_item_vectors(artifacts: ArtifactStore, embed: ArtifactRef | None) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Ids and semantic vectors of the new items that were embedded; none where that was not asked for."""
    files = artifacts.manifest(embed).content.files if embed else {}
    if embed is None or f"{NEW_ITEMS}.parquet" not in files:
        return [], np.zeros((0, 1), np.float32)
    table = artifacts.table(embed, NEW_ITEMS)
    return table["item_id"].to_pylist(), vectors_of(table)


def lists_of_new(
    artifacts: ArtifactStore,
    prepare: ArtifactRef,
    embed: ArtifactRef | None,
    split: Split,
    vectors: Vectors,
    config: RecommendConfig,
) -> pa.Table:
    """Every user's list of new items (RECOMMENDATIONS); no rows where none were embedded."""
    ids, semantic = new_item_vectors(artifacts, embed)
    if embed is None or not ids:
        return RECOMMENDATIONS.empty_table()
    known = load_semantic(artifacts, embed).items
    placed = into_space(known, vectors.items, split.train_popularity(), semantic)
    user_ids = artifacts.table(prepare, "user_index")["user_id"]
    item_ids = pa.chunked_array([pa.array(ids, pa.string())])
    titles = titles_of(artifacts, prepare, item_ids)
    return as_table(best_new(vectors.users, placed, config.k), user_ids, item_ids, titles)


def measure_cold(
    artifacts: ArtifactStore,
    prepare: ArtifactRef,
    embed: ArtifactRef | None,
    split: Split,
    models: Sequence[ArtifactRef],
    names: Mapping[ModelId, str],
    semantic: SemanticEmbeddings | None,
    ks: tuple[int, ...],
) -> pa.Table:
    """Rows of COLD_METRICS about what prepare held out; none where it held out nothing, or nothing has a vector.

    names: of the models, the same for those that differ in the seed alone.
    """
    held_out = artifacts.table(prepare, "cold_start")
    if not len(held_out) or not models:
        return COLD_METRICS.empty_table()
    of_model = {model_settings(artifacts, one).model_id: load_vectors(artifacts, one) for one in models}
    named = {role_of(model): vectors for model, vectors in of_model.items()}
    users, items = (_numbers(artifacts, prepare, side, held_out) for side in ("user", "item"))
    cold = held_out["cold"].to_numpy(zero_copy_only=False)
    tables = []
    ids, texts = new_item_vectors(artifacts, embed)
    place = pc.index_in(held_out["item_id"], pa.array(ids, pa.string())).fill_null(-1).to_numpy()
    rows = (cold == "item") & (place >= 0)
    if semantic is not None and rows.any():
        known = np.unique(place[rows])
        of_items = ColdItems(texts[known], users[rows], np.searchsorted(known, place[rows]).astype(np.int32))
        tables.append(measure_items(split, of_items, named, semantic, ks))
    if (rows := cold == "user").any():
        tables.append(measure_users(split, _histories(held_out.filter(pa.array(rows)), items[rows]), named, ks))
    if not tables:
        return COLD_METRICS.empty_table()
    return _mean_over_seeds(pa.concat_tables(tables), {role_of(model): names[model] for model in of_model})


def _mean_over_seeds(measured: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Rows of COLD_METRICS with the models of `names` by their name, and those of one name averaged."""
    labels = pa.array([names.get(label, label) for label in measured["label"].to_pylist()])
    named = measured.set_column(COLD_METRICS.get_field_index("label"), "label", labels)
    means = named.group_by(["cold", "label", "k"], use_threads=False).aggregate([("recall", "mean"), ("users", "max")])
    return (
        means.rename_columns({"recall_mean": "recall", "users_max": "users"})
        .select(COLD_METRICS.names)
        .cast(COLD_METRICS)
    )


def _histories(held_out: pa.Table, items: npt.NDArray[np.int32]) -> list[npt.NDArray[np.int32]]:
    """The items of each held-out user, in time's order where times are known, else in that of the data."""
    person = pc.dictionary_encode(held_out["user_id"]).combine_chunks().indices.to_numpy()
    times = held_out["timestamp"].cast(pa.int64()).fill_null(0).to_numpy()
    order = np.lexsort((times, person))
    return np.split(items[order], np.flatnonzero(np.diff(person[order])) + 1)


def _numbers(artifacts: ArtifactStore, prepare: ArtifactRef, side: str, table: pa.Table) -> npt.NDArray[np.int32]:
    """The number of each row's user or item, -1 where prepare gave it none."""
    ids = artifacts.table(prepare, f"{side}_index")[f"{side}_id"].combine_chunks()
    found: npt.NDArray[np.int32] = pc.index_in(table[f"{side}_id"], ids).fill_null(-1).to_numpy().astype(np.int32)
    return found
