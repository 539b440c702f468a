"""The benchmark of ingestion at a small size: all its measures work, and what is compared did the same work."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import amazon_files
from tests.benchmarks.ingest import MEASURES

N = 40_000


@pytest.mark.parametrize(("plain", "notation"), [("json", json.dumps), ("literal", repr)])
def test_both_readers_read_every_line(tmp_path: Path, plain: str, notation: amazon_files.Notation) -> None:
    amazon_files.write(tmp_path, N, notation)
    assert MEASURES[plain](str(tmp_path))["rows"] == MEASURES["reader"](str(tmp_path))["rows"] == N


@pytest.mark.parametrize("measure", ["parquet", "parquet-polars", "parquet-duckdb"])
def test_whoever_writes_parquet_reads_every_line(tmp_path: Path, measure: str) -> None:
    if "-" in measure:
        pytest.importorskip(measure.partition("-")[2])
    amazon_files.write(tmp_path, N)
    assert MEASURES[measure](str(tmp_path / "reviews_Books.json.gz"))["rows"] == N


def test_the_stages_keep_a_core(tmp_path: Path) -> None:
    amazon_files.write(tmp_path, N)
    figures = MEASURES["stages"](str(tmp_path))
    assert figures["rows"] == N > figures["kept"] > 0


def test_both_cores_are_the_same_set() -> None:
    theirs, ours = MEASURES["core-pandas"](str(N)), MEASURES["core"](str(N))
    assert ours["set"] == theirs["set"] and ours["kept"] == theirs["kept"] > 0
