"""The page on adding a backbone says the truth: its example trains with Base, Con and Gen."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from rlmrec_core.config import TrainConfig
from rlmrec_core.models.graph.alignments import build_alignment
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.recommender import Recommender
from rlmrec_core.models.graph.sampler import PairSampler

PAGE = Path(__file__).parents[5] / "docs" / "adding-a-backbone.md"


@pytest.fixture
def example(tmp_path):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "example.py"
    file.write_text(code.group(1), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("example_backbone", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.BACKBONE
    sys.modules.pop("example_backbone", None)


@pytest.mark.parametrize("variant", ["base", "con", "gen"])
def test_the_example_learns_with_every_alignment(example, checkerboard, colours, variant):
    settings = TrainConfig(embedding_size=8).run("lightgcn", variant, 1)
    generator = torch.Generator().manual_seed(0)
    backbone = example(Graph.from_split(checkerboard), 8, generator, example.Settings(n_layers=2))
    model = Recommender(backbone, build_alignment(settings, colours, backbone.output_size(8), generator))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    seen = []
    for _ in range(10):
        for batch in PairSampler(checkerboard, 240).epoch(generator):
            losses = model.losses(batch, generator)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            seen.append(losses["bpr"].item())
    assert seen[-1] < 0.8 * seen[0]
    assert set(losses) == {"bpr"} | ({"align"} if variant != "base" else set())
