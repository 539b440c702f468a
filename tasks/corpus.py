"""The train-only view of the data that text stages work on."""

import pyarrow.dataset as pads

from rlmrec_core.profiling import TrainCorpus
from storage import ArtifactRef, ArtifactStore


def train_corpus(artifacts: ArtifactStore, ingest: ArtifactRef, prepare: ArtifactRef) -> TrainCorpus:
    """The train interactions with their reviews, and the texts of the items that prepare kept."""
    item_index = artifacts.table(prepare, "item_index")
    kept = pads.field("item_id").isin(item_index["item_id"].combine_chunks())
    return TrainCorpus.build(
        artifacts.table(prepare, "split"),
        artifacts.table(prepare, "user_index"),
        item_index,
        artifacts.dataset(ingest, "items").to_table(filter=kept),
    )
