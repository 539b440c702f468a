"""What a training step is made of on a device: how many kernels, how long they take, and which take longest."""

from collections.abc import Iterator
from itertools import islice, product

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.gpu_bench import Bench, Unit
from tests.benchmarks.gpu_cells import BACKBONES, VARIANTS, wanted

STEPS = 5


def kernels(bench: Bench, only: list[str]) -> Iterator[Unit]:
    """By the profiler, so that waits of the card for the host are told from work."""
    for backbone, variant in product(BACKBONES, VARIANTS):
        if wanted(only, backbone, variant):
            name = f"{backbone:8} {variant:5}"
            yield Unit("kernels of a step", name, 5, lambda name=name: _profiled(bench, name))


def _profiled(bench: Bench, name: str) -> Iterator[str]:
    trainer = bench.trainer(bench.settings(*name.split()))
    trainer.train_epoch(0)
    trainer.model.train()
    trainer.model.backbone.begin_epoch()
    batches = trainer.sampler.epoch(trainer.steps.generator, negatives=trainer.model.backbone.samples_negatives)
    first, *others = islice(batches, 1 + STEPS)
    others = others or [first]
    trainer.steps(first)  # AutoCF masks its graph at the first
    on_card = bench.device.type == "cuda"
    bench.wait()
    with profile(activities=[ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]) as found:
        taken = bench.seconds(lambda: [trainer.steps(one) for one in others], 0)
    timed = ((row.self_device_time_total if on_card else row.self_cpu_time_total, row) for row in found.key_averages())
    rows = [(time, row) for time, row in timed if time > 0]
    busy, n = sum(time for time, _ in rows) or 1, len(others)
    counted = sum(row.count for _, row in rows)
    yield (
        f"{name} {counted / n:6.0f} kernels a step, {busy / n / 1e3:.3f} ms of them, {taken / n * 1e3:.3f} ms in all "
        "under the profiler"
    )
    for time, row in sorted(rows, key=lambda one: -one[0])[:4]:
        yield f"  {time / busy:6.1%} {row.count / n:6.1f} times a step: {row.key[:90]}"
