"""The GPU's benchmark, at a tiny size, on the CPU, and where Prefect is not."""

import subprocess
import sys

import numpy as np

from rlmrec_core.config import TrainConfig
from rlmrec_core.split import Edges, Split
from tests.benchmarks.gpu_floor import epoch_floor

WITHOUT_PREFECT = "import sys; sys.modules['prefect'] = None; from tests.benchmarks import gpu; gpu.main()"
TINY = ["--device", "cpu", "--quick", "--users", "60", "--only", "lightgcn:con", "simgcl:base", "--millions", "0.002"]


def test_every_section_is_measured_without_prefect(tmp_path):
    out = tmp_path / "gpu.txt"
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_PREFECT, *TINY, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = out.read_text()
    assert told == done.stdout and "Error" not in told and "left out" not in told and "no time left" not in told
    for expected in (
        "bags of edges",
        "lightgcn con",
        "simgcl   base",
        "MiniLM in torch.float16",
        "0.002  base",
        "0.002  con",
    ):
        assert expected in told
    assert told.count("epochs, the same bytes") == 3


def test_the_floor_by_hand():
    pairs = Edges(np.array([0, 0, 1, 2], np.int32), np.array([0, 1, 0, 2], np.int32))
    split = Split(3, 4, pairs, pairs, pairs)
    run = TrainConfig(batch_size=4, embedding_size=2).run("lightgcn", "base", 1)
    operations, moved = epoch_floor(split, run, 8)
    table, edges = 4 * 7 * 2, 8  # seven nodes; four pairs in both directions
    # Six products, one draw of dropout, Adam, and four pairs of BPR.
    assert operations == 0 and moved == 6 * (8 * edges + 2 * table) + 8 * edges + 7 * table + 9 * 4 * 4 * 2
