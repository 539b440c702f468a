"""Filter, index and divide the interactions."""

import pyarrow as pa
import pyarrow.compute as pc
from prefect import State, task

from rlmrec_core import data
from rlmrec_core.config import PrepareConfig
from rlmrec_core.config.registry import DataSize
from rlmrec_core.config.section import key_fields
from rlmrec_core.tables import SPLIT
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.dataset_statistics import dataset_statistics
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 3
DIVIDED = "prepare/divided"
"""Role of what `all_interactions` was made of."""


@task(name="prepare", **UNCACHED)
def prepare(
    config: PrepareConfig, store: StoreConfig, ingest: ArtifactRef, force: bool = False
) -> StageResult | State[StageResult]:
    """The split, what was held out, both indices, and the statistics of the data set."""
    artifacts = ArtifactStore.open(store)
    stage = Stage("prepare", VERSION, ("split",), key_fields(config), {"ingest": ingest.key})

    def write(out: ArtifactWriter) -> None:
        tables = data.prepare(
            artifacts.dataset(ingest, "interactions"), artifacts.dataset(ingest, "items"), config, to_learn=True
        )
        for name, (schema, batches) in tables.items():
            out.batches(name, schema, batches)

    result = stage.run(artifacts, write, force=force)
    if report.in_run():  # otherwise nobody sees the page, which takes a while to draw
        statistics, histograms = (artifacts.table(result.ref, name) for name in ("statistics", "histograms"))
        report.show_markdown(
            "dataset-statistics",
            dataset_statistics(statistics, histograms),
            "What the models learn from, and are tested on",
        )
    report.show_table(
        "filters",
        artifacts.table(result.ref, "filter_report").to_pylist(),
        "What each filter kept, in their order",
    )
    return as_state(result)


def all_interactions(store: StoreConfig, prepare: ArtifactRef, force: bool = False) -> StageResult:
    """The same users, items and interactions with nothing held out: what lists may be made from, and nothing else.

    Whatever is made of this artifact carries its key, so that no stage takes it for what was made of train.
    """
    artifacts = ArtifactStore.open(store)
    inputs = {"ingest": artifacts.manifest(prepare).content.inputs["ingest"], DIVIDED: prepare.key}
    stage = Stage("prepare", VERSION, ("split",), {"parts": "all"}, inputs, {"of": "all interactions"})

    def write(out: ArtifactWriter) -> None:
        place = SPLIT.get_field_index("part")

        def as_train(batch: pa.RecordBatch) -> pa.RecordBatch:
            part = pa.array(["train"] * len(batch), pa.string()).cast(SPLIT.field("part").type)
            return batch.set_column(place, SPLIT.field("part"), part)

        batches = artifacts.dataset(prepare, "split").to_batches(columns=SPLIT.names)
        out.batches("split", SPLIT, map(as_train, batches))
        for name in ("user_index", "item_index"):
            out.table(name, artifacts.table(prepare, name))

    result = stage.run(artifacts, write, force=force)
    report.log().info("%s", result)
    return result


def has_text(store: StoreConfig, prepare: ArtifactRef, embedded: str = "profile") -> bool:
    """Whether there is anything that semantic vectors could be made from, or they came with the data.

    embedded: EmbedConfig.embed_source.
    """
    artifacts = ArtifactStore.open(store)
    ingest = ArtifactRef("ingest", artifacts.manifest(prepare).content.inputs["ingest"], artifacts.url)
    if "imported_item_vectors.parquet" in artifacts.manifest(ingest).content.files:
        return True
    found = {row["name"]: row["value"] for row in artifacts.table(prepare, "statistics").to_pylist()}
    texts = ("interactions with review", *(f"items with {name}" for name in ("title", "description", "attributes")))
    imported = (artifacts.dataset(ingest, f"imported_{side}_profiles").count_rows() for side in ("item", "user"))
    return bool(found["items with title"]) if embedded == "title" else any(map(found.get, texts)) or any(imported)


def data_size(artifacts: ArtifactStore, prepare: ArtifactRef) -> DataSize:
    """How much there is to learn from."""
    n_users, n_items = (artifacts.dataset(prepare, name).count_rows() for name in ("user_index", "item_index"))
    in_train = artifacts.dataset(prepare, "split").count_rows(filter=pc.field("part") == "train")
    return DataSize(n_users, n_items, in_train)
