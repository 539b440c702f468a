"""Give lists and vectors to other systems."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task

from rlmrec_core.config.export import ExportConfig
from rlmrec_core.export import ExportError, ExportTables, write_files
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import report
from tasks.results import Results
from tasks.stage import UNCACHED


@task(name="export", **UNCACHED)
def export(config: ExportConfig, store: StoreConfig, name: str | None = None) -> dict[str, str]:
    """Export the results of the data set's last run; says for each place what it holds now."""
    if not (config.folder or config.postgres):
        raise ExportError("an export needs a place: name a folder, or the address of a database (postgres)")
    artifacts = ArtifactStore.open(store)
    results = Results.open(artifacts, name)
    tables = ExportTables(
        results.name,
        " ".join(map(str, results.model)),
        results.written,
        artifacts.table(results.lists, "recommendations"),
        results.user_ids,
        results.item_ids,
        results.titles,
        results.vectors,
        _held_out(artifacts, results) if "trec" in config.formats else None,
    )
    made: dict[str, str] = {}
    if config.folder:
        folder = write_files(tables, Path(config.folder).expanduser(), config.formats)
        made[str(folder)] = ", ".join(sorted(file.name for file in folder.iterdir()))
    if config.postgres:
        from rlmrec_core.export.postgres import write_postgres

        rows = write_postgres(tables, config.postgres, config.schema_name)
        counts = ", ".join(f"{count:,} {table}" for table, count in rows.items())
        made[f"{config.postgres.partition('?')[0]}, schema {config.schema_name}"] = counts
    rows_shown = [{"place": place, "holds": held} for place, held in made.items()]
    report.show_table("export", rows_shown, f"Lists and vectors of {results.name}, {tables.model}")
    return made


def _held_out(artifacts: ArtifactStore, results: Results) -> pa.Table | None:
    """user_id and item_id of the test part; None where lists leave it out, and so cannot be held against it."""
    if results.config.left_out != "train":
        return None
    prepare = ArtifactRef("prepare", artifacts.manifest(results.lists).content.inputs["prepare"], artifacts.url)
    test = artifacts.table(prepare, "split", ["user", "item", "part"]).filter(pc.field("part") == "test")
    ids = {"user_id": pa.array(results.user_ids), "item_id": pa.array(results.item_ids)}
    return pa.table({name: of.take(test[name.removesuffix("_id")]) for name, of in ids.items()})
