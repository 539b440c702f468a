"""Filter, index and divide the interactions."""

from prefect import State, task

from rlmrec_core import data
from rlmrec_core.config import PrepareConfig
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.stage import UNCACHED, Stage, StageResult, as_state, relevant

VERSION = 1


@task(name="prepare", **UNCACHED)
def prepare(
    config: PrepareConfig, store: StoreConfig, ingest: ArtifactRef, force: bool = False
) -> StageResult | State[StageResult]:
    """The split, both indices and the statistics."""
    artifacts = ArtifactStore.open(store)
    stage = Stage("prepare", VERSION, ("split",), relevant(config), {"ingest": ingest.key})

    def write(out: ArtifactWriter) -> None:
        tables = data.prepare(artifacts.dataset(ingest, "interactions"), artifacts.dataset(ingest, "items"), config)
        for name, (schema, batches) in tables.items():
            out.batches(name, schema, batches)

    result = stage.run(artifacts, write, force=force)
    report.show_table("statistics", artifacts.table(result.ref, "statistics").to_pylist(), "The prepared data set")
    report.show_table("filters", artifacts.table(result.ref, "filter_report").to_pylist(), "What each filter kept")
    return as_state(result)
