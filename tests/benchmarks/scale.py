"""Train LightGCN on synthetic graphs of growing size; show how seconds and memory grow.

Usage: python -m tests.benchmarks.scale [--millions 1 2 4 8] [--out docs/benchmarks/scale]

Degrees follow a power law on both sides, 40 train edges per user and 80 per item on average. An epoch has STEPS steps
at every size, so the batch grows with the graph: a step propagates over the whole graph, and with a fixed batch an
epoch would grow with the square of the edges for any full-graph method.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlmrec_core.config import TrainConfig
from rlmrec_core.models.graph.trainer import Trainer
from rlmrec_core.split import Edges, Int32Array, Split
from tests.benchmarks.training import machine, run_cell
from tests.benchmarks.training_cell import measure

STEPS = 10
EDGES_PER_USER, EDGES_PER_ITEM = 40, 80
HELD_OUT = 0.02


def power_law_split(n_edges: int, seed: int = 0) -> Split:
    """`n_edges` train edges and a few held out, their ends drawn by rank ** -0.6."""
    rng = np.random.default_rng(seed)
    sizes = n_edges // EDGES_PER_USER, n_edges // EDGES_PER_ITEM
    wanted = int(n_edges * (1 + HELD_OUT))
    keys = np.empty(0, dtype=np.int64)
    while len(keys) < wanted:
        user, item = (draw(rng, size, wanted // 4) for size in sizes)
        keys = np.unique(np.concatenate([keys, user.astype(np.int64) * sizes[1] + item]))
    rng.shuffle(keys)
    train, held_out = (edges(np.sort(part), sizes[1]) for part in (keys[:n_edges], keys[n_edges:wanted]))
    return Split(*sizes, train, held_out, held_out)


def draw(rng: np.random.Generator, size: int, n: int) -> Int32Array:
    """Ids whose chance falls with their rank to the power of 0.6: the inverse of its distribution function."""
    return (size * rng.random(n) ** 2.5).astype(np.int32)


def edges(keys: np.ndarray[Any, np.dtype[np.int64]], n_items: int) -> Edges:
    return Edges((keys // n_items).astype(np.int32), (keys % n_items).astype(np.int32))


def cell(millions: float, epochs: int, threads: int) -> dict[str, Any]:
    """Build, train and evaluate at one size."""
    torch.set_num_threads(threads)
    n_edges = int(millions * 1e6)
    split = power_law_split(n_edges)
    config = TrainConfig(device="cpu", batch_size=-(-n_edges // STEPS), threads=threads)
    started = time.process_time()
    trainer = Trainer(split, config.run("lightgcn", "base", 2023), None, None)
    built = time.process_time() - started
    # Every size as often: a first epoch is slower than those after it.
    found = measure(trainer.train_epoch, trainer.validate, epochs, enough=math.inf)
    return {"users": split.n_users, "items": split.n_items, "build_cpu_seconds": round(built, 2), **found}


def markdown(results: dict[str, Any]) -> str:
    """One row per size."""
    where = results["machine"]
    names = ["users", "items", "build_cpu_seconds", "train_cpu_seconds", "evaluation_cpu_seconds", "peak_mib"]
    head = ["million edges", *(name.replace("_", " ") for name in names)]
    lines = [head, ["---"] * len(head)]
    for size, found in results["sizes"].items():
        lines.append([size, *(f"{found[name]:,}" for name in names)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = [
        f"{where['date']}, {where['cpu']}, {where['threads']} thread(s), torch {where['torch']}.",
        "LightGCN Base on synthetic graphs with power-law degrees, 40 train edges per user and 80 per item.",
        f"{STEPS} steps per epoch, so the batch grows with the graph; train seconds are those of an epoch.",
        "An evaluation ranks every item for every user, so its work grows with their product.",
        "Made by `make bench-scale`.",
    ]
    return "# Scale\n\n" + "\n".join(text) + f"\n\n{table}\n"


def main() -> None:
    """Every size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", nargs="*", type=float, default=[1, 2, 4, 8])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/scale"))
    parser.add_argument("--cell", type=float, help="measure this size alone and print it")
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(cell(options.cell, options.epochs, options.threads)))
        return
    shared = ["--epochs", str(options.epochs), "--threads", str(options.threads)]
    results: dict[str, Any] = {"machine": machine(options.threads), "sizes": {}}
    for size in options.millions:
        found = run_cell("scale", ["--cell", str(size), *shared], options.threads)
        print(size, found, flush=True)
        results["sizes"][f"{size:g}"] = found
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(markdown(results))


if __name__ == "__main__":
    main()
