"""The cells of the GPU's benchmark: every backbone with every variant, as they are and with other settings."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch

from rlmrec_core.config.training import RunSettings
from tests.benchmarks.gpu_bench import Bench, Unit
from tests.benchmarks.gpu_floor import epoch_floor

BACKBONES, VARIANTS = ("lightgcn", "gccf", "sgl", "simgcl", "dccf", "autocf"), ("base", "con", "gen")
PAPER = dict(
    zip(
        product(BACKBONES, VARIANTS),
        (1.01, 1.94, 1.76, 0.88, 1.95, 1.72, 2.18, 2.58, 2.36, 2.62, 3.02, 2.69, 2.26, 2.49, 2.29, 2.73, 2.96, 2.96),
        strict=True,
    )
)
"""Seconds per epoch on Amazon-book, on an RTX 3090 (RLMRec, table 4). The goal is a tenth of them."""
GRAPHS: dict[str, Any] = {"cuda_graphs": True}
AGAIN: list[tuple[str, str, dict[str, Any]]] = [
    *((backbone, variant, GRAPHS) for backbone, variant in PAPER if backbone != "autocf"),
    ("lightgcn", "con", {"tf32": True}),
    ("lightgcn", "gen", {"tf32": True}),
    ("simgcl", "con", {"tf32": True, "cuda_graphs": True}),
    ("lightgcn", "con", {"alignment_settings": {"con": {"bf16": True}}}),
]
"""Cells measured once more with settings that are off by default."""

COLUMNS = ("s/epoch", "paper", "faster", "goal", "met", "floor", "x floor", "evaluation", "MiB")
CELL_SECONDS = 4.0


def cells(bench: Bench, only: list[str]) -> Iterator[Unit]:
    """The table of the 18 cells."""
    title = "cells: seconds of the fastest epoch"
    yield Unit(title, "rates", 1, lambda: _heading(bench))
    for backbone, variant in PAPER:
        if wanted(only, backbone, variant):
            yield _unit(title, bench, backbone, variant, {})


def other_settings(bench: Bench, only: list[str]) -> Iterator[Unit]:
    """Some of them again, with settings that are off by default."""
    for backbone, variant, changes in AGAIN:
        if wanted(only, backbone, variant):
            yield _unit("cells with other settings", bench, backbone, variant, changes)


def wanted(only: list[str], backbone: str, variant: str) -> bool:
    return not only or backbone in only or f"{backbone}:{variant}" in only


def _unit(title: str, bench: Bench, backbone: str, variant: str, changes: dict[str, Any]) -> Unit:
    named = " ".join("bf16" if name == "alignment_settings" else name for name in changes)
    name = f"{backbone:8} {variant:5} {named:24}"
    return Unit(title, name, CELL_SECONDS, lambda: _row(bench, name, bench.settings(backbone, variant, **changes)))


def _heading(bench: Bench) -> Iterator[str]:
    flops, bandwidth = bench.rates
    yield f"measured here: {flops / 1e12:.1f} TFLOP/s of float32 products, {bandwidth / 1e12:.2f} TB/s copied"
    yield f"{'backbone':8} {'':5} {'with':24} {' '.join(f'{name:>10}' for name in COLUMNS)}"


def _row(bench: Bench, name: str, settings: RunSettings) -> Iterator[str]:
    """Seconds of an epoch and of an evaluation, and the peak in MiB, beside the paper's and the floor."""
    trainer = bench.trainer(settings)
    epoch = bench.seconds(lambda: trainer.train_epoch(0), bench.epochs)
    evaluation = bench.seconds(lambda: trainer.validate(0), bench.epochs)
    flops, bandwidth = bench.rates
    operations, moved = epoch_floor(bench.split, settings, bench.semantic.users.shape[1])
    floor, paper = max(operations / flops, moved / bandwidth), PAPER[settings.backbone, settings.variant]
    shown = (
        f"{epoch:.4f}", f"{paper:.2f}", f"{paper / epoch:.1f}", f"{paper / 10:.2f}",
        "yes" if epoch < paper / 10 else "no", f"{floor:.5f}", f"{epoch / floor:.1f}", f"{evaluation:.4f}",
        bench.peak_mib(),
    )  # fmt: skip
    without = " (no graph could be captured)" if settings.cuda_graphs and not trainer.steps.captures else ""
    yield f"{name} {' '.join(f'{one:>10}' for one in shown)}{without}"


def agreement(bench: Bench) -> Iterator[Unit]:
    """How far losses and gradients are from a CPU's for one batch, and whether a training's bytes repeat."""
    title = "the same as on a CPU, and the same again"
    for backbone, variant in (("gccf", "con"), ("dccf", "base")):  # no random number in a step
        name = f"{backbone} {variant}"
        yield Unit(title, name, 8, lambda name=name: _as_on_a_cpu(bench, *name.split()))
    twice: list[tuple[str, str, dict[str, Any]]] = [
        ("lightgcn", "con", {}),
        ("sgl", "base", {}),
        ("dccf", "gen", {}),
        ("lightgcn", "gen", GRAPHS),
    ]
    for backbone, variant, changes in twice:
        name = f"{backbone} {variant} {' '.join(changes)}"
        settings = bench.settings(backbone, variant, **changes)
        yield Unit(title, name, 6, lambda name=name, settings=settings: _twice(bench, name, settings))


def _as_on_a_cpu(bench: Bench, backbone: str, variant: str) -> Iterator[str]:
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


def _twice(bench: Bench, name: str, settings: RunSettings) -> Iterator[str]:
    tables = []
    for _ in range(2):
        trainer = bench.trainer(settings)
        for epoch in range(2):
            trainer.train_epoch(epoch)
        tables.append(trainer.model.backbone.table.detach().clone())
    yield f"{name}: two trainings of two epochs, {'the same bytes' if torch.equal(*tables) else 'OTHER bytes'}"
