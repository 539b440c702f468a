"""Measure one backbone and variant in a process of its own; prints one line of JSON.

Usage: python -m tests.benchmarks.training_cell FOLDER BACKBONE VARIANT [--epochs N] [--threads N]
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from rlmrec_core.config import TrainConfig
from rlmrec_core.models.graph.trainer import Trainer
from rlmrec_core.split import Edges, Split
from rlmrec_core.vectors import SemanticEmbeddings

SEMANTIC_SIZE = 1536
ENOUGH_SECONDS = 30
PARTS = ("train", "validation", "test")


def load_split(folder: Path) -> Split:
    """The three Parquet files of a ready-made split with columns user and item, numbered from 0."""
    tables = [pq.read_table(folder / f"{part}.parquet", columns=["user", "item"]) for part in PARTS]
    parts = [tuple(table[name].to_numpy().astype(np.int32) for name in ("user", "item")) for table in tables]
    sizes = (1 + max(int(part[side].max()) for part in parts) for side in (0, 1))
    orders = (np.lexsort((item, user)) for user, item in parts)
    edges = (Edges(user[order], item[order]) for (user, item), order in zip(parts, orders, strict=True))
    return Split(*sizes, *edges)


def random_semantic(n_users: int, n_items: int) -> SemanticEmbeddings:
    """Vectors that say nothing: speed does not depend on what they say."""
    rng = np.random.default_rng(0)
    sides = (rng.standard_normal((size, SEMANTIC_SIZE), dtype=np.float32) for size in (n_users, n_items))
    return SemanticEmbeddings(*sides)


def measure(
    train: Callable[[int], Any], evaluate: Callable[[int], Any], epochs: int, enough: float = ENOUGH_SECONDS
) -> dict[str, float]:
    """The fastest of `epochs` epochs and evaluations, by the wall clock and in CPU seconds, and the peak memory.

    No epoch begins after `enough` seconds: of a slow model one tells enough.
    """
    rows: list[Any] = []
    start = time.perf_counter()
    for epoch in range(epochs):
        if rows and time.perf_counter() - start > enough:
            break
        clocks = [(time.perf_counter(), time.process_time())]
        for piece in (train, evaluate):
            piece(epoch)
            clocks.append((time.perf_counter(), time.process_time()))
        rows.append(np.diff(np.array(clocks), axis=0).reshape(-1))
    names = ("train_seconds", "train_cpu_seconds", "evaluation_seconds", "evaluation_cpu_seconds")
    best = dict(zip(names, np.min(rows, axis=0).round(4).tolist(), strict=True))
    return best | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def parser() -> argparse.ArgumentParser:
    """The arguments that our cells and the authors' share."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("backbone")
    arguments.add_argument("variant")
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    return arguments


def main() -> None:
    """Train and validate for a few epochs with the preset of Amazon-book."""
    arguments = parser().parse_args()
    split = load_split(arguments.folder)
    variant, *options = arguments.variant.split("-")
    config = TrainConfig(
        device="cpu",
        threads=arguments.threads,
        alignment_settings={name: {"bf16": "bf16" in options} for name in ("con", "gen")},
    )
    settings = config.run(arguments.backbone, variant, 2023)
    torch.set_num_threads(arguments.threads)
    semantic = None if variant == "base" else random_semantic(split.n_users, split.n_items)
    trainer = Trainer(split, settings, semantic, None)
    print(json.dumps(measure(trainer.train_epoch, trainer.validate, arguments.epochs)))


if __name__ == "__main__":
    main()
