"""Time every backbone and variant, and beside them the authors' code where a checkout of it is given.

Usage: python -m tests.benchmarks.training FOLDER [--peer CHECKOUT] [--only sgl:con ...] [--out PATH]

Every cell runs in a process of its own with the same threads. Results are written after each of them, as JSON and as
Markdown, so that an interrupted run keeps what it measured; `--only` adds to what is there.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch

from rlmrec_core.config.registry import GraphBackbone

VARIANTS = ("base", "con", "con-bf16", "gen", "gen-bf16")
Cell = dict[str, Any]


def run_cell(module: str, arguments: Iterable[str], threads: int) -> Cell:
    """What a cell's process printed, or the last line of its complaint."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-W", "ignore", "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    found: Cell = json.loads(done.stdout)
    return found


def machine(threads: int) -> dict[str, Any]:
    """Where and when this was measured."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        text = info.read_text()
        cpu = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), cpu)
        cpu += " with AMX" if "amx_bf16" in text else ""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
    }


def clock(threads: int) -> str:
    """The column compared: on one thread CPU seconds, which other work on the machine disturbs least."""
    return "cpu_seconds" if threads == 1 else "seconds"


def number(cell: Cell | None, name: str) -> str:
    if cell is None or "error" in cell:
        return "-"
    return f"{cell[name]:,.2f}" if isinstance(cell[name], float) else f"{cell[name]:,}"


def ratio(mine: Cell, theirs: Cell | None, name: str) -> str:
    if theirs is None or "error" in mine or "error" in theirs:
        return "-"
    return f"{theirs[name] / mine[name]:.1f}"


def markdown(results: dict[str, Any]) -> str:
    """The table, one row per backbone and variant."""
    suffix = clock(results["machine"]["threads"])
    names = [f"train_{suffix}", f"evaluation_{suffix}", "peak_mib"]
    head = ["backbone", "variant", "train s/epoch", "evaluation s", "peak MiB"]
    head += ["authors' train", "authors' evaluation", "authors' peak", "train ratio", "evaluation ratio"]
    lines = [head, ["---"] * len(head)]
    for key in filter(results["ours"].__contains__, wanted([])):
        backbone, variant = key.split(":")
        mine = results["ours"][key]
        theirs = results["peer"].get(f"{backbone}:{variant.split('-')[0]}")
        row = [backbone, variant, *(number(mine, name) for name in names), *(number(theirs, name) for name in names)]
        lines.append([*row, *(ratio(mine, theirs, name) for name in names[:2])])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# Training speed\n\n{introduction(results)}\n\n{table}\n"


def introduction(results: dict[str, Any]) -> str:
    where = results["machine"]
    kind = "CPU seconds" if where["threads"] == 1 else "seconds by the wall clock"
    text = [
        f"{where['date']}, {where['cpu']}, {where['cores']} cores, {where['threads']} thread(s).",
        f"Data: {results['data']} with random semantic vectors of 1,536 components, presets of Amazon-book.",
        f"The fastest of the epochs begun within half a minute, ten at most, in {kind}; an evaluation ranks every",
        "item for every user of the validation part.",
        f"torch {where['torch']}. Variants ending in bf16 compute the alignment's large products in bfloat16.",
        "Authors: a checkout of HKUDS/RLMRec on the same threads, each cell right after ours.",
        "Made by `make bench PEER=checkout`.",
    ]
    return "\n".join(text)


def write(results: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    out.with_suffix(".md").write_text(markdown(results))


def wanted(only: list[str]) -> list[str]:
    """The cells that were asked for, in the order of the registry; all of them if none was."""
    every = [f"{backbone}:{variant}" for backbone, variant in product(get_args(GraphBackbone), VARIANTS)]
    return [cell for cell in every if not only or cell in only or cell.split(":")[0] in only]


def main() -> None:
    """Measure what is asked for, in the order of the registry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="train, validation and test.parquet")
    parser.add_argument("--peer", type=Path, help="checkout of the authors' code")
    parser.add_argument("--only", nargs="*", default=[], help="backbones, or backbone:variant")
    parser.add_argument("--epochs", type=int, default=10, help="at most; a slow cell has fewer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/training"))
    options = parser.parse_args()
    results: dict[str, Any] = {"ours": {}, "peer": {}}
    if options.only and options.out.with_suffix(".json").exists():
        results = json.loads(options.out.with_suffix(".json").read_text())
    results |= {"machine": machine(options.threads), "data": options.folder.name}
    shared = [str(options.folder), "--epochs", str(options.epochs), "--threads", str(options.threads)]
    for cell in wanted(options.only):
        results["ours"][cell] = run_cell("training_cell", [*shared, *cell.split(":")], options.threads)
        # The authors' right after ours: a machine that changes pace meets both.
        if options.peer and not cell.endswith("bf16"):
            arguments = [*shared, *cell.split(":"), "--peer", str(options.peer)]
            results["peer"][cell] = run_cell("peer_cell", arguments, options.threads)
        print(cell, results["ours"][cell], results["peer"].get(cell, ""), flush=True)
        write(results, options.out)


if __name__ == "__main__":
    main()
