"""How fast raw reviews are read and prepared, and how much memory that takes. Prints a table in markdown.

python -m tests.benchmarks.ingest --work /tmp/rlmrec-bench        (or: make bench-ingest)

Every line of the table is measured in a process of its own. The files of 22 million reviews take 7 GB, the artifacts
10 GB more; all are removed at the end unless --keep.
"""

import argparse
import ast
import gzip
import importlib.util
import json
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from rlmrec_core import data
from rlmrec_core.config import IngestConfig, PrepareConfig
from rlmrec_core.data.kcore import k_core
from storage import ArtifactStore, StoreConfig
from storage.writer import ArtifactWriter
from tests.benchmarks import amazon_files

Figures = dict[str, float]
Codes = npt.NDArray[np.int32]
REVIEWS = "reviews_Books.json.gz"
FIELDS = ["reviewerID", "asin", "overall", "unixReviewTime", "reviewText"]
K = 10


def line_by_line(folder: Path, parse: Callable[[str], dict[str, Any]]) -> Figures:
    """The plain way: parse every line, keep what is needed, make a DataFrame."""
    with timed() as figures, gzip.open(folder / REVIEWS, "rt", encoding="utf-8") as file:
        frame = pd.DataFrame([[row[name] for name in FIELDS] for row in map(parse, file)], columns=FIELDS)
    return figures | {"rows": len(frame)}


def reader(folder: Path) -> Figures:
    """Our reader, into a table in memory."""
    with timed() as figures:
        tables = data.ingest(_settings(folder)).tables
        table = pa.Table.from_batches(tables["interactions"][1])
    return figures | {"rows": table.num_rows}


def to_parquet(file: Path) -> Figures:
    """Our reader, from a file of reviews to a Parquet file."""
    settings = IngestConfig(
        reader="amazon-2014", path=str(file.parent), interactions_file=file.name, items_file="no such file"
    )
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, timed() as figures:
        schema, batches = data.ingest(settings).tables["interactions"]
        rows = ArtifactWriter(Path(folder)).batches("interactions", schema, batches)
    return figures | {"rows": rows}


def polars_to_parquet(file: Path) -> Figures:
    """The same fields by polars, which checks nothing."""
    import polars as pl

    types = dict(zip(FIELDS, (pl.String, pl.String, pl.Float64, pl.Int64, pl.String), strict=True))
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, timed() as figures:
        rows = Path(folder) / "rows.parquet"
        pl.scan_ndjson(file, schema=types).select(FIELDS).sink_parquet(rows, compression="zstd", row_group_size=65_536)
        figures["rows"] = pq.read_metadata(rows).num_rows
    return figures


def duckdb_to_parquet(file: Path) -> Figures:
    """The same fields by DuckDB, which checks nothing."""
    import duckdb

    types = dict(zip(FIELDS, ("VARCHAR", "VARCHAR", "DOUBLE", "BIGINT", "VARCHAR"), strict=True))
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, timed() as figures:
        rows = Path(folder) / "rows.parquet"
        read = f"SELECT * FROM read_json('{file}', format='newline_delimited', columns={types})"
        duckdb.sql(f"COPY ({read}) TO '{rows}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)")
        figures["rows"] = pq.read_metadata(rows).num_rows
    return figures


def both_stages(folder: Path) -> Figures:
    """ingest and prepare as the pipeline runs them: digests of the files, reviews and items, artifacts on disk."""
    # Prefect's 70 MiB are not the reader's.
    from tasks.ingest import ingest
    from tasks.prepare import prepare
    from tasks.stages import result_of

    shutil.rmtree(folder / "artifacts", ignore_errors=True)
    store = StoreConfig(url=str(folder / "artifacts"))
    with timed() as first:
        raw = result_of(ingest.fn(_settings(folder), store))
    with timed() as second:
        prepared = result_of(prepare.fn(PrepareConfig(k_core=K), store, raw.ref))
    steps = ArtifactStore.open(store).table(prepared.ref, "filter_report").to_pylist()
    shutil.rmtree(folder / "artifacts")
    return {
        "rows": raw.rows,
        "kept": steps[-1]["interactions"],
        "ingest": first["seconds"],
        "prepare": second["seconds"],
        "seconds": first["seconds"] + second["seconds"],
        "cpu": first["cpu"] + second["cpu"],
    }


def core_of_frame(n: int) -> Figures:
    """k-core by iterated groupby."""
    user, item = _pairs(n)
    figures, kept = _fastest(lambda: _core_by_groupby(pd.DataFrame({"user": user, "item": item})))
    return figures | {"rows": len(user), "kept": len(kept), "set": _fingerprint(kept)}


def _core_by_groupby(frame: pd.DataFrame) -> amazon_files.Ints:
    n_before = -1
    while n_before != len(frame):
        n_before = len(frame)
        frame = frame[frame.groupby("user")["item"].transform("size") >= K]
        frame = frame[frame.groupby("item")["user"].transform("size") >= K]
    return frame.index.to_numpy()


def core(n: int) -> Figures:
    """k-core by peeling."""
    user, item = _pairs(n)
    figures, kept = _fastest(lambda: k_core(user, item, K, K))
    return figures | {"rows": len(user), "kept": len(kept), "set": _fingerprint(kept)}


def _fastest(work: Callable[[], amazon_files.Ints], times: int = 3) -> tuple[Figures, amazon_files.Ints]:
    """The figures of the fastest of a few rounds: what takes seconds is easily disturbed. And what it gives."""
    rounds = []
    for _ in range(times):
        with timed() as figures:
            given = work()
        rounds.append(figures)
    return min(rounds, key=lambda figures: figures["seconds"]), given


def run(work: Path, small: int, large: int, keep: bool) -> None:
    """All measurements, one after another."""
    print(_machine(), flush=True)
    print(f"\n| what | reviews | seconds | of CPU | peak memory, GiB | result |\n|{'---|' * 6}", flush=True)
    json_lines, literals, many = work / f"{small}-json", work / f"{small}-python", work / f"{large}-json"
    _write(json_lines, small, "json")
    _write(literals, small, "python")
    plain = _measured("json.loads line by line into pandas", "json", json_lines)
    _measured("our reader, JSON lines", "reader", json_lines, against=plain)
    literal = _measured("ast.literal_eval line by line into pandas", "literal", literals)
    _measured("our reader, Python literals", "reader", literals, against=literal)
    few = _measured("ingest + prepare", "stages", json_lines)
    if large:
        _write(many, large, "json")
        _measured("ingest + prepare", "stages", many, linear_from=few)
    frame = _measured("10-core, iterated groupby in pandas", "core-pandas", large or small)
    peeled = _measured("10-core, ours", "core", large or small, against=frame)
    print(f"\nThe two 10-cores are {'the same set' if frame['set'] == peeled['set'] else 'DIFFERENT'}.\n")
    _side_by_side(json_lines)
    if not keep:
        shutil.rmtree(work)


def _side_by_side(folder: Path, rounds: int = 3) -> None:
    """From reviews to Parquet: a column for ours, and for polars and DuckDB where they are installed; medians."""
    packed, plain = folder / REVIEWS, folder / REVIEWS.removesuffix(".gz")
    with gzip.open(packed) as source, plain.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    measures = {"ours": "parquet", "polars": "parquet-polars", "duckdb": "parquet-duckdb"}
    there = [who for who in measures if who == "ours" or importlib.util.find_spec(who)]
    print(f"| median of {rounds} rounds | {' | '.join(there)} |\n|{'---|' * (len(there) + 1)}", flush=True)
    for what, file in (("gzip", packed), ("JSON lines", plain)):
        found = [{who: _figures(measures[who], file) for who in there} for _ in range(rounds)]
        for figure, unit, times in (("cpu", "CPU seconds", 1), ("seconds", "seconds", 1), ("peak", "peak, MiB", 1024)):
            medians = (statistics.median(one[who][figure] * times for one in found) for who in there)
            shown = " | ".join(f"{median:.0f}" if times > 1 else f"{median:.1f}" for median in medians)
            print(f"| {what} to Parquet, {unit} | {shown} |", flush=True)
    plain.unlink()


MEASURES: dict[str, Callable[[str], Figures]] = {
    "json": lambda folder: line_by_line(Path(folder), json.loads),
    "literal": lambda folder: line_by_line(Path(folder), ast.literal_eval),
    "reader": lambda folder: reader(Path(folder)),
    "parquet": lambda file: to_parquet(Path(file)),
    "parquet-polars": lambda file: polars_to_parquet(Path(file)),
    "parquet-duckdb": lambda file: duckdb_to_parquet(Path(file)),
    "stages": lambda folder: both_stages(Path(folder)),
    "core-pandas": lambda n: core_of_frame(int(n)),
    "core": lambda n: core(int(n)),
}


def _measured(
    title: str, measure: str, about: Path | int, against: Figures | None = None, linear_from: Figures | None = None
) -> Figures:
    """Take the measure in a process of its own and print its line of the table."""
    figures = _figures(measure, about)
    notes = [f"{name} {figures[name]:,.0f} s" for name in ("ingest", "prepare") if name in figures]
    notes += [f"keeps {figures['kept']:,.0f}"] if "kept" in figures else []
    if against:
        faster, cheaper = (against[name] / figures[name] for name in ("seconds", "cpu"))
        notes.append(f"**{faster:.1f} times faster** ({cheaper:.1f} times less CPU)")
    if linear_from:
        slower, dearer = (
            figures[name] / figures["rows"] / (linear_from[name] / linear_from["rows"]) for name in ("seconds", "cpu")
        )
        notes.append(f"per review **{slower:.2f} times the time** ({dearer:.2f} times the CPU)")
    numbers = (f"{figures['rows']:,.0f}", *(f"{figures[name]:.1f}" for name in ("seconds", "cpu")))
    peak = f"{figures['peak']:.2f}"
    print(f"| {' | '.join([title, *numbers, peak, ', '.join(notes)])} |", flush=True)
    return figures


def _figures(measure: str, about: Path | int) -> Figures:
    command = [sys.executable, "-m", "tests.benchmarks.ingest", "--measure", measure, str(about)]
    figures: Figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return figures


@contextmanager
def timed() -> Iterator[Figures]:
    """Wall-clock seconds of the block, and those of the processor on all cores together."""
    figures: Figures = {}
    started, busy = time.perf_counter(), time.process_time()
    yield figures
    figures["seconds"], figures["cpu"] = time.perf_counter() - started, time.process_time() - busy


def _write(folder: Path, n: int, notation: str) -> None:
    if not (folder / "done").exists():
        amazon_files.write(folder, n, json.dumps if notation == "json" else repr)
        (folder / "done").touch()


def _settings(folder: Path) -> IngestConfig:
    return IngestConfig(reader="amazon-2014", path=str(folder))


def _pairs(n: int) -> tuple[Codes, Codes]:
    """About n edges in no order, no pair twice, with codes as prepare has them."""
    rng = np.random.default_rng(2023)
    user, item = amazon_files.edges(n, n, rng)
    width = item.max() + 1
    pair = rng.permutation(np.unique(user * width + item))
    return (pair // width).astype(np.int32), (pair % width).astype(np.int32)


def _fingerprint(rows: amazon_files.Ints) -> float:
    """A number that tells sets of rows apart."""
    return float((np.sort(rows) * 2_654_435_761 % 1_000_003).sum())


def _machine() -> str:
    with Path("/proc/cpuinfo").open() as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown CPU")
    memory = psutil.virtual_memory().total / 2**30
    libraries = f"pyarrow {pa.__version__}, pandas {pd.__version__}, numpy {np.__version__}"
    load = ", ".join(f"{value:.1f}" for value in psutil.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} x {model}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {libraries}; load of the machine at the start: {load}"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/rlmrec-bench"), help="folder of the generated files")
    parser.add_argument("--small", type=int, default=2_000_000)
    parser.add_argument("--large", type=int, default=22_000_000, help="0 leaves the large file out")
    parser.add_argument("--keep", action="store_true", help="leave the generated files where they are")
    parser.add_argument("--measure", nargs=2, metavar=("MEASURE", "ABOUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure, about = arguments.measure
        figures = MEASURES[measure](about)
        print(json.dumps(figures | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
    else:
        run(arguments.work, arguments.small, arguments.large, arguments.keep)


if __name__ == "__main__":
    main()
