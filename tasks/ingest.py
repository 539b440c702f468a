"""Read raw data into the canonical tables."""

import hashlib
from pathlib import Path
from typing import get_args

from prefect import State, task

from rlmrec_core import data
from rlmrec_core.config import IngestConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.data.files import explained
from storage import ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 6


@task(name="ingest", **UNCACHED)
def ingest(config: IngestConfig, store: StoreConfig, force: bool = False) -> StageResult | State[StageResult]:
    """Interactions, items and imported profiles; keyed by the digests of the raw files."""
    artifacts = ArtifactStore.open(store)
    stage = Stage("ingest", VERSION, ("interactions",), key_fields(config), source_digests(config))

    def write(out: ArtifactWriter) -> None:
        ingested = data.ingest(config)
        for name, (schema, batches) in ingested.tables.items():
            report.log().info("ingest: %s has %d rows", name, out.batches(name, schema, batches))
        for warning in ingested.warnings():
            report.log().warning("ingest: %s", warning)
        out.table("report", ingested.report())
        out.table("malformed", ingested.malformed())

    result = stage.run(artifacts, write, force=force)
    report.show_table("ingest", artifacts.table(result.ref, "report").to_pylist(), "What was read: rows, files, faults")
    if skipped := artifacts.table(result.ref, "malformed").to_pylist():
        report.show_table("malformed lines", skipped, "Some of the lines that were skipped")
    return as_state(result)


def source_digests(config: IngestConfig) -> dict[str, str]:
    """sha256 of every raw file, under its path inside the data set's folder."""
    root = Path(config.path or ".")
    digests: dict[str, str] = {}
    reader = data.open_reader(config)
    vectors = (file for side in get_args(data.Side) for file in reader.vector_files(side))
    for source in dict.fromkeys([*reader.sources(), *vectors]):
        name = _name(source, root)
        digests[name if name not in digests else f"{name} ({len(digests)})"] = _sha256(source)
    return digests


def _name(source: Path, root: Path) -> str:
    return source.relative_to(root).as_posix() if source.is_relative_to(root) else source.name


def _sha256(path: Path) -> str:
    with explained(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
