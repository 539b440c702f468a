"""CLLM4Rec's steps against the same steps written down plainly: tokens per second, memory, and growth.

Usage: python -m tests.benchmarks.cllm4rec [--threads N] [--out docs/benchmarks/cllm4rec-speed]

Both take the very same documents on the same random GPT-2. The plain ones are padded batches through transformers' own
forward pass, logits of every position over the whole head, and targets as a dense array of that size (the twin that
the tests compare results with). Every cell is a process of its own; memory is what its peak grows by once the model is
there.
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlmrec_core.models.cllm4rec.documents import Documents, Texts
from rlmrec_core.models.cllm4rec.embedded import embedded_trunk
from rlmrec_core.models.cllm4rec.model import CLLM4Rec
from rlmrec_core.models.cllm4rec.packing import Document
from rlmrec_core.models.cllm4rec.settings import CLLM4RecRun
from rlmrec_core.split import Edges, Split
from tests.benchmarks.training import machine, run_cell
from tests.rlmrec_core.models.cllm4rec.twin import plain_step

ITEMS, MEAN_HISTORY, MEAN_WORDS = 3000, 25, 80
KINDS = ("interactions", "recommendation", "texts")
SIZES = (512, 1024, 2048)
BATCH = 64


def world(n_users: int, seed: int = 0) -> tuple[Split, Texts]:
    """Users with histories and profiles of log-normal length."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(MEAN_HISTORY), 0.6, n_users), 2, 300).astype(int)
    items = [np.sort(rng.choice(ITEMS, length, replace=False)) for length in lengths]
    train = Edges(np.repeat(np.arange(n_users, dtype=np.int32), lengths), np.concatenate(items).astype(np.int32))
    nothing = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32))
    words = np.array(["".join(rng.choice(list("aeioubdgklmnprst"), 6)) for _ in range(4000)])
    n_words = np.clip(rng.lognormal(np.log(MEAN_WORDS), 0.4, n_users), 5, 400).astype(int)
    told = [" ".join(rng.choice(words, length)) for length in n_words]
    return Split(n_users, ITEMS, train, nothing, nothing), Texts(told, [None] * ITEMS)


def batches(documents: Documents, kind: str, n_users: int) -> list[list[Document]]:
    """Every user's document of a kind, in batches."""
    rng = np.random.default_rng(1)
    read = documents.content if kind == "texts" else [_document(documents, kind, user, rng) for user in range(n_users)]
    order = rng.permutation(len(read))
    return [[read[place] for place in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]


def _document(documents: Documents, kind: str, user: int, rng: np.random.Generator) -> Document:
    history = rng.permutation(documents.history(user))
    if kind == "interactions":
        return documents.interactions(user, history)
    held_out = max(1, len(history) // 5)
    return documents.recommendation(user, history[held_out:], history[:held_out])


def cell(kind: str, plain: bool, n_users: int, steps: int | None) -> dict[str, Any]:
    """Take the steps of one kind one way."""
    split, texts = world(n_users)
    own = {"trunk": "random", "width": 128, "n_layers": 2, "initial": "normal", "max_text_tokens": 256}
    shared = {"seed": 2023, "fixed_epochs": 1, "validate_every": 1, "patience": 10, "device": "cpu", "threads": 1}
    settings = CLLM4RecRun.model_validate({**own, **shared, "user_weight": 1.0})
    trunk = embedded_trunk(settings, texts).requires_grad_(False)
    documents = Documents(split, texts, trunk.tokenizer, max_positions=1024, max_text_tokens=256)
    model = CLLM4Rec(settings, trunk, documents)
    side = "content" if kind == "texts" else "collaborative"
    optimizer = torch.optim.Adam([getattr(model, side)], 1e-3, fused=True)
    todo = batches(documents, kind, n_users)[:steps]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    for batch in todo:
        optimizer.zero_grad()
        if plain:
            plain_step(model, side, batch, regularised=True, dtype=torch.float32)
        else:
            model.backward(side, batch, regularised=True)
        optimizer.step()
    seconds = time.process_time() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    tokens = sum(len(one) for batch in todo for one in batch)
    return {"tokens": tokens, "seconds": round(seconds, 3), "rate": round(tokens / seconds), "mib": grown // 1024}


def markdown(results: dict[str, Any]) -> str:
    """Two tables: against the plain steps, and growth."""
    where = results["machine"]
    lines = [
        "# CLLM4Rec: speed of a step",
        "",
        f"{where['date']}, {where['cpu']}, {where['threads']} thread(s), torch {where['torch']}. CPU seconds. Made by",
        "`make bench-cllm4rec`.",
        "",
        f"A random GPT-2 of 2 x 128 with 8,192 words, {ITEMS:,} items; batches of {BATCH} documents. Plain: padded",
        "batches, logits of every position over the whole head, dense targets. Tokens are those of the documents,",
        "padding not counted.",
        "",
        "| step | plain, tokens/s | ours, tokens/s | times | plain, MiB | ours, MiB | share |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, found in results["against"].items():
        plain, ours = found["plain"], found["ours"]
        lines.append(
            f"| {kind} | {plain['rate']:,} | {ours['rate']:,} | {ours['rate'] / plain['rate']:.1f} "
            f"| {plain['mib']:,} | {ours['mib']:,} | {ours['mib'] / plain['mib']:.2f} |"
        )
    lines += [
        "",
        "## Growth",
        "",
        "An epoch of each kind.",
        "",
        "| documents | tokens | seconds | MiB |",
        "|---|---|---|---|",
    ]
    for size, found in results["growth"].items():
        lines.append(f"| {3 * int(size):,} | {found['tokens']:,} | {found['seconds']:.1f} | {found['mib']:,} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Every cell in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/cllm4rec-speed"))
    parser.add_argument("--cell", nargs=3, metavar=("KIND", "HOW", "USERS"), help="measure this alone and print it")
    options = parser.parse_args()
    if options.cell:
        kind, how, n_users = options.cell
        print(json.dumps(cell(kind, how == "plain", int(n_users), options.steps or None)))
        return
    results: dict[str, Any] = {"machine": machine(options.threads), "against": {}, "growth": {}}
    for kind in KINDS:
        results["against"][kind] = {
            how: _run(kind, how, SIZES[0], options.steps, options.threads) for how in ("plain", "ours")
        }
    for size in SIZES:
        cells = [_run(kind, "ours", size, 0, options.threads) for kind in KINDS]
        results["growth"][size] = {name: sum(one[name] for one in cells) for name in ("tokens", "seconds")} | {
            "mib": max(one["mib"] for one in cells)
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(markdown(results))


def _run(kind: str, how: str, n_users: int, steps: int, threads: int) -> dict[str, Any]:
    found = run_cell("cllm4rec", ["--cell", kind, how, str(n_users), "--steps", str(steps)], threads)
    print(kind, how, n_users, found, flush=True)
    return found


if __name__ == "__main__":
    main()
