"""Beside the cells: sparse products, larger and larger graphs, MiniLM, the authors' code."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlmrec_core.device import for_memory, forced, policy
from rlmrec_core.models.graph.graph import Graph
from tests.benchmarks.gpu_bench import Bench, Unit, random_split, random_vectors

LIMIT = 16 << 30
"""Bytes that growth is to fit in, as on a smaller card."""


def products(bench: Bench) -> Iterator[Unit]:
    """Sparse products at d = 32 by either kernel, and whether their bytes repeat."""
    for csr in (False, True):
        name = "CSR tensors" if csr else "bags of edges"
        yield Unit("sparse products", name, 2, lambda name=name, csr=csr: _multiplied(bench, name, csr))


def _multiplied(bench: Bench, name: str, csr: bool) -> Iterator[str]:
    with forced(replace(policy(bench.device), csr=csr), str(bench.device)):
        graph = Graph.from_split(bench.split, bench.device)
        dense = torch.randn(graph.n_nodes, 32, device=bench.device)

        def multiply() -> Tensor:
            return graph.pattern.multiply(graph.values, dense)

        first = multiply()
        same = all(torch.equal(first, multiply()) for _ in range(20))
        many = bench.seconds(lambda: [multiply() for _ in range(20)], 3) / 20
    repeats = "the same bytes in 20 products" if same else "OTHER bytes now and then"
    yield f"{name:15} {many * 1e3:8.3f} ms, {repeats}"


def growth(bench: Bench, millions: list[float]) -> Iterator[Unit]:
    """Steps on graphs of several sizes: Base with a tenth of the pairs, Con in the batch with 8,192."""
    for size, variant in product(millions, ("base", "con")):
        name, needs = f"{size:7g} million  {variant:7}", 2 + size * 0.8
        title = "growth: LightGCN, semantic vectors of 384, in chunks and memory of a card of 16 GiB"
        yield Unit(title, name, needs, lambda name=name, size=size, variant=variant: _grown(bench, name, size, variant))


def _grown(bench: Bench, name: str, size: float, variant: str) -> Iterator[str]:
    n = int(size * 1e6)
    sizes = max(n // 40, 200), max(n // 80, 100)
    split = random_split(*sizes, n, bench.device)
    batch = max(n // 10, 1) if variant == "base" else min(8192, n)
    changes: dict[str, Any] = {"batch_size": batch, "alignment_settings": {"con": {"in_batch": True}}}
    semantic = random_vectors(*sizes, 384) if variant == "con" else bench.semantic
    here = replace(bench, split=split, semantic=semantic)
    with _limited(bench.device):
        trainer = here.trainer(here.settings("lightgcn", variant, **changes))
        batches = list(islice(trainer.sampler.epoch(trainer.steps.generator), 3))
        step = here.seconds(lambda: [trainer.steps(one) for one in batches], 1) / len(batches)
    n_products = 2 * trainer.model.backbone.n_layers
    yield (
        f"{name} {step:8.4f} s a step, {2 * n * n_products / step / 1e6:10,.0f} million edges/s, "
        f"peak {here.peak_mib():6,} MiB"
    )


@contextmanager
def _limited(device: torch.device) -> Iterator[None]:
    """Chunks and memory of a card of 16 GiB, in the body."""
    with ExitStack() as stack:
        if device.type == "cuda" and (whole := torch.cuda.get_device_properties(device).total_memory) > LIMIT:
            stack.enter_context(forced(for_memory(LIMIT), str(device)))
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(LIMIT / whole, device)
            stack.callback(torch.cuda.set_per_process_memory_fraction, 1.0, device)
        yield


def texts(bench: Bench, n_texts: int) -> Iterator[Unit]:
    """MiniLM: texts per second, and how near its vectors are to those of the CPU."""
    yield Unit("texts", "MiniLM", 15, lambda: _encoded(bench, n_texts))


def _encoded(bench: Bench, n_texts: int) -> Iterator[str]:
    try:
        from rlmrec_core.embedding.minilm import MiniLM
    except ImportError as error:
        yield f"MiniLM is left out: {error}"
        return
    rng, parts = np.random.default_rng(0), (("ab", "ko", "re", "un"), ("le", "ra", "ty"))
    words = ["".join(one) for one in product(*parts)]
    written = [" ".join(rng.choice(words, rng.integers(5, 60))) for _ in range(n_texts)]
    encoder = MiniLM(device=str(bench.device))
    taken = bench.seconds(lambda: encoder.encode(written, lambda *_: None), 1)
    few = written[:32]
    with forced(
        replace(policy(torch.device("cpu")), encoder_dtype=torch.float32, asynchronous=False, batch_tokens=1024)
    ):
        plain = MiniLM(device="cpu").encode(few, lambda *_: None).vectors
    near = (encoder.encode(few, lambda *_: None).vectors * plain).sum(1).min()
    kind = policy(bench.device).encoder_dtype
    yield f"MiniLM in {kind}: {n_texts / taken:,.0f} texts/s; least cosine with fp32 {near:.6f}"


def peers(bench: Bench, folder: Path, checkout: Path) -> Iterator[Unit]:
    """The authors' code on the same device, an epoch and an evaluation of LightGCN's and SimGCL's cells."""
    for backbone, variant in product(("lightgcn", "simgcl"), ("base", "con", "gen")):
        name = f"{backbone} {variant}"
        yield Unit("the authors' code", name, 20, lambda name=name: _of_peer(bench, name, folder, checkout))


def _of_peer(bench: Bench, name: str, folder: Path, checkout: Path) -> Iterator[str]:
    if not (checkout / "encoder").is_dir():
        yield f"{name}: left out, {checkout / 'encoder'} is not there"
        return
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.peer_cell", str(folder), *name.split()]
    command += ["--peer", str(checkout), "--device", bench.device.type, "--epochs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max(bench.left(), 10))
    told = (done.stdout or done.stderr).strip().splitlines() or [f"nothing, status {done.returncode}"]
    yield f"{name}: {told[-1]}"
