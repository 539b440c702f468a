"""Runs the units of the GPU's benchmark one after the other, whatever befalls any of them."""

import argparse
import faulthandler
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
import torch_geometric

from rlmrec_core.device import GPU, DeviceMissing, forced, opened, policy
from tests.benchmarks import gpu_cells, gpu_kernels, gpu_more
from tests.benchmarks.gpu_bench import Bench, Unit, random_split, random_vectors
from tests.benchmarks.training_cell import load_split


def run(options: argparse.Namespace, ends: float) -> None:
    """Print unit after unit, each line as soon as it is known. ends: when nothing new is begun, by `perf_counter`."""
    try:
        device = opened(options.device)
    except DeviceMissing as error:
        sys.exit(str(error))
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(forced(replace(GPU, logits=1 << 22, scores=1 << 22)))
        bench = _bench(options, device, ends)
        say = _Printer(options.out, anew=not options.first)
        title = None
        for number, unit in enumerate(_units(bench, options)):
            if number < options.first:
                title = unit.title
                continue
            if unit.title != title:
                title = unit.title
                say(f"\n== {title}")
            _measure(bench, unit, say)
            if not _usable(device):
                say("the card is of no more use to this process: another one goes on")
                faulthandler.cancel_dump_traceback_later()  # the other one has its own
                sys.exit(subprocess.run(_rest(options, number + 1, bench.left()), check=False).returncode)


class _Printer:
    """Prints a line and appends it to a file, if there is one."""

    def __init__(self, out: Path | None, *, anew: bool) -> None:
        self.out = out
        if out and anew:
            out.write_text("")

    def __call__(self, line: str) -> None:
        print(line, flush=True)
        if self.out:
            with self.out.open("a") as file:
                file.write(f"{line}\n")


def _measure(bench: Bench, unit: Unit, say: _Printer) -> None:
    if (left := bench.left()) < unit.needs:
        say(f"{unit.name}  skipped: {max(left, 0):.0f} s left, about {unit.needs:.0f} needed")
        return
    try:
        for line in unit.lines():
            say(line)
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        say(f"{unit.name}  failed: {type(error).__name__}: {told}")


def _usable(device: torch.device) -> bool:
    """Whether the card still answers: after a fault in a kernel it never does to this process."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            return False
    return True


def _rest(options: argparse.Namespace, first: int, seconds: float) -> list[str]:
    """The command that goes on with a unit."""
    given = [f"--{name}={value}" for name in ("device", "users", "peer", "out") if (value := getattr(options, name))]
    given += [f"--first={first}", f"--seconds={max(seconds, 0):.0f}", *(["--quick"] if options.quick else [])]
    given += ["--only", *options.only] if options.only else []
    given += ["--millions", *map(str, options.millions)] if options.millions else []
    folder = [str(options.folder)] if options.folder else []
    return [sys.executable, "-m", "tests.benchmarks.gpu", *folder, *given]


def _bench(options: argparse.Namespace, device: torch.device, ends: float) -> Bench:
    quick = options.quick
    if options.folder and not quick:
        split = load_split(options.folder)
    else:
        n_users = options.users or (600 if quick else 11_000)
        split = random_split(n_users, n_users * 9332 // 11_000, 11 * n_users, device, n_users)
    semantic = random_vectors(split.n_users, split.n_items, 64 if quick else 1536)
    return Bench(device, split, semantic, ends, 1 if quick else 3)


def _units(bench: Bench, options: argparse.Namespace) -> Iterator[Unit]:
    """What is wanted most comes first."""
    quick, only = options.quick, options.only
    millions = options.millions or ([0.02, 0.01] if quick else [32, 16, 8, 4, 2, 1])
    yield Unit("machine", "machine", 0, lambda: _head(bench, options.folder))
    yield from gpu_cells.cells(bench, only)
    yield from gpu_more.growth(bench, millions[:1])
    yield from gpu_cells.agreement(bench)
    yield from gpu_cells.other_settings(bench, only)
    yield from gpu_kernels.kernels(bench, only)
    yield from gpu_more.products(bench)
    yield from gpu_more.texts(bench, 8 if quick else 20_000)
    yield from gpu_more.growth(bench, millions[1:])
    if options.peer and options.folder:
        yield from gpu_more.peers(bench, options.folder, options.peer)


def _head(bench: Bench, folder: Path | None) -> Iterator[str]:
    """The card, the driver, the versions, the data."""
    device, split = bench.device, bench.split
    yield f"date            {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    yield f"python, torch   {platform.python_version()}, {torch.__version__}, geometric {torch_geometric.__version__}"
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        yield f"card            {card.name}, {card.total_memory / 2**30:.0f} GiB, {card.multi_processor_count} SMs"
        yield f"CUDA, cuDNN     {torch.version.cuda}, {torch.backends.cudnn.version()}"
        if shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,utilization.gpu", "--format=csv,noheader"]
            with suppress(subprocess.TimeoutExpired, OSError):
                told = subprocess.run(query, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
                yield f"driver, clock, load   {told}"
    yield f"CPU             {platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    yield f"float32 products are {torch.get_float32_matmul_precision()} (highest: no TF32) unless a row says tf32"
    yield f"policy          {policy(device)}"
    sizes = f"{split.n_users:,} users, {split.n_items:,} items, {len(split.train.user):,} train pairs"
    yield f"data            {folder or 'synthetic'}: {sizes}; semantic vectors of {bench.semantic.users.shape[1]:,}"
    yield f"time            {bench.left():.0f} s left"
