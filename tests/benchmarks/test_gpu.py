"""The GPU's benchmark, at a tiny size, on the CPU, and where Prefect is not."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from rlmrec_core.config import TrainConfig
from rlmrec_core.split import Edges, Split
from tests.benchmarks import gpu, gpu_run
from tests.benchmarks.gpu_bench import Bench, Unit, random_split, random_vectors
from tests.benchmarks.gpu_floor import epoch_floor

WITHOUT_PREFECT = "import sys; sys.modules['prefect'] = None; from tests.benchmarks import gpu; gpu.main()"
TINY = ["--device", "cpu", "--quick", "--users", "60", "--only", "lightgcn:con", "simgcl:base", "--millions", "0.002"]


def test_every_section_is_measured_without_prefect(tmp_path):
    out = tmp_path / "gpu.txt"
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_PREFECT, *TINY, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = out.read_text()
    assert told == done.stdout and "failed" not in told and "left out" not in told and "skipped" not in told
    for expected in (
        "bags of edges",
        "lightgcn con",
        "simgcl   base",
        "MiniLM in torch.float16",
        "  0.002 million  base",
        "  0.002 million  con",
        "kernels a step",
    ):
        assert expected in told
    assert told.count("epochs, the same bytes") == 4


def fails():
    yield "a line before it"
    raise RuntimeError("CUDA error: an illegal memory access\nwas encountered")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run units of one's own; what was printed and what was written must agree."""

    def with_units(*units, options=()):
        monkeypatch.setattr(gpu_run.faulthandler, "cancel_dump_traceback_later", lambda: None)
        monkeypatch.setattr(gpu_run, "_units", lambda *_: iter(units))
        given = gpu.arguments().parse_args([*TINY, "--out", str(tmp_path / "out.txt"), *options])
        before = (tmp_path / "out.txt").read_text() if given.first else ""
        gpu_run.run(given, time.perf_counter() + given.seconds)
        told = capsys.readouterr().out
        assert (tmp_path / "out.txt").read_text() == before + told
        return told

    return with_units


def test_a_unit_that_fails_leaves_the_others(run):
    told = run(Unit("one", "bad", 0, fails), Unit("two", "good", 0, lambda: ["as wanted"]))
    assert told.splitlines() == [
        "",
        "== one",
        "a line before it",
        "bad  failed: RuntimeError: CUDA error: an illegal memory access was encountered",
        "",
        "== two",
        "as wanted",
    ]


def test_what_there_is_no_time_for_is_named(run):
    told = run(Unit("one", "long", 1000, lambda: ["never"]), Unit("one", "short", 0, lambda: ["as wanted"]))
    assert "long  skipped: " in told and " about 1000 needed" in told and "never" not in told and "as wanted" in told


def test_another_process_goes_on_where_the_card_is_lost(run, monkeypatch, capsys):
    began = []
    monkeypatch.setattr(gpu_run, "_usable", lambda _: bool(began) or began.append(True))
    monkeypatch.setattr(
        gpu_run.subprocess, "run", lambda command, check: began.append(command) or subprocess.CompletedProcess([], 3)
    )
    units = Unit("one", "bad", 0, fails), Unit("two", "good", 0, lambda: ["as wanted"])
    with pytest.raises(SystemExit, match="3"):
        run(*units)
    capsys.readouterr()
    given = gpu.arguments().parse_args(began[1][3:])
    assert given.first == 1 and given.only == ["lightgcn:con", "simgcl:base"] and given.millions == [0.002]
    assert 0 < given.seconds <= 210 and given.quick and given.users == 60
    assert run(*units, options=["--first", "1"]).splitlines() == ["", "== two", "as wanted"]


def test_data_and_packages_that_are_not_there_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu.faulthandler, "dump_traceback_later", lambda *_, **__: None)
    monkeypatch.setattr(gpu_run, "run", lambda options, ends: print("folder", options.folder))
    monkeypatch.setattr(sys, "argv", ["gpu", str(tmp_path)])
    gpu.main()
    told = capsys.readouterr().out
    assert f"not there: {tmp_path / 'train.parquet'}, " in told and told.endswith("folder None\n")
    monkeypatch.setitem(gpu.NEEDED, "no_such_module", "no-such-package")
    with pytest.raises(SystemExit, match="needed and not there: no-such-package"):
        gpu.main()


def test_time_that_runs_out_ends_the_repetitions():
    split, vectors = random_split(20, 20, 40, torch.device("cpu")), random_vectors(20, 20, 4)
    done = []
    assert Bench(torch.device("cpu"), split, vectors, 0, 3).seconds(lambda: done.append(1), 5) >= 0
    assert len(done) == 2


def test_the_floor_by_hand():
    pairs = Edges(np.array([0, 0, 1, 2], np.int32), np.array([0, 1, 0, 2], np.int32))
    split = Split(3, 4, pairs, pairs, pairs)
    run = TrainConfig(batch_size=4, embedding_size=2).run("lightgcn", "base", 1)
    operations, moved = epoch_floor(split, run, 8)
    table, edges = 4 * 7 * 2, 8  # seven nodes; four pairs in both directions
    # Six products, one draw of dropout, Adam, and four pairs of BPR.
    assert operations == 0 and moved == 6 * (8 * edges + 2 * table) + 8 * edges + 7 * table + 9 * 4 * 4 * 2
