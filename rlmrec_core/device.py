"""The device that computes, and all that varies by it: sizes of chunks and tiles, kernels, precision."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)

T = TypeVar("T")


class DeviceMissing(ValueError):
    """The device that settings name is not here."""


class DeviceFull(RuntimeError):
    """A device has too little memory, even for the smallest chunks."""


@dataclass(frozen=True)
class Policy:
    """What suits a kind of device. Sums are ordered by it, so that results depend on it within rounding.

    Attributes:
        logits: Held at once by InfoNCE and the like.
        pairs: Whose vectors BPR holds at once.
        scores: Held at once by ranking.
        gathered: Components of vectors that products along edges hold at once; 0 takes the sparse kernel for them.
        tile_nodes: Rows and columns of a tile of a sparse matrix; 0 makes it one tile.
        bag_edges: Edges that one thread adds up in a sparse product; 0 takes whole rows.
        csr: Whether sparse products are those of CSR tensors (cuSPARSE), whose order of sums is its own affair.
        asynchronous: Whether the host runs ahead of the device. Then no shape may depend on values and no value is read
            within an epoch, since either would wait for all that was asked for before.
        batch_tokens: Tokens that an encoder reads at once.
        encoder_dtype: What an encoder computes in.
    """

    logits: int
    pairs: int
    scores: int
    gathered: int
    tile_nodes: int
    bag_edges: int
    csr: bool
    asynchronous: bool
    batch_tokens: int
    encoder_dtype: torch.dtype


CPU = Policy(
    logits=1 << 20,  # 4 MiB, near a core's cache, with rows enough for fast products
    pairs=1 << 14,  # 6 MiB for d = 32, likewise
    scores=1 << 20,
    gathered=0,  # sampled_addmm is twenty times as fast as gathering both ends
    tile_nodes=1 << 16,  # of an operand with 32 components a tile reads 8 MiB and writes 8 MiB, which stay in cache
    bag_edges=0,
    csr=False,
    asynchronous=False,
    batch_tokens=1024,
    encoder_dtype=torch.float32,
)
"""A few cores: what is read again should still be in cache, and what need not be computed is left out."""

GPU = Policy(
    logits=1 << 28,  # 1 GiB: a launch costs as much as a million logits, so that hundreds of chunks cost too much
    pairs=1 << 22,
    scores=1 << 28,
    gathered=1 << 26,  # 256 MiB of each end
    tile_nodes=0,
    bag_edges=64,  # a popular item's thousands of edges, one after the other, would have all others wait
    csr=False,
    asynchronous=True,
    batch_tokens=1 << 16,
    encoder_dtype=torch.float16,
)
"""Thousands of threads: few and large kernels, all of one size, and no wait for an answer."""

_SHARE = 256
"""Bytes of a card's memory for each logit held: on 16 GiB the logits of a chunk take 256 MiB."""

_HALVED = ("logits", "pairs", "scores", "gathered", "batch_tokens")

_policies: dict[torch.device, Policy] = {}


def policy(device: torch.device) -> Policy:
    """What suits this device, or what an earlier lack of memory has left of it."""
    found = _policies.get(device)
    if found is None:
        found = _policies[device] = _for_device(device)
    return found


def _for_device(device: torch.device) -> Policy:
    if device.type != "cuda":
        return CPU
    # By the card's whole memory, not by what is free of it: the same card shall give the same bytes.
    return for_memory(torch.cuda.get_device_properties(device).total_memory)


def for_memory(total: int) -> Policy:
    """What suits a GPU with so many bytes of memory."""
    held = min(GPU.logits, total // _SHARE)
    return replace(GPU, logits=held, scores=held, gathered=min(GPU.gathered, held))


@contextmanager
def forced(chosen: Policy, device: str = "cpu") -> Iterator[None]:
    """Have a device compute as another would, in the body."""
    here = torch.device(device)
    before = policy(here)
    _policies[here] = chosen
    try:
        yield
    finally:
        _policies[here] = before


def halve(device: torch.device) -> bool:
    """Halve what is held at once on a device from here on. False where no chunk is larger than those of a CPU."""
    now = policy(device)
    halved = {name: getattr(now, name) // 2 for name in _HALVED if getattr(now, name) > max(getattr(CPU, name), 1)}
    _policies[device] = replace(now, **halved)
    return bool(halved)


def within_memory(device: torch.device, compute: Callable[[], T], again: Callable[[], object] = lambda: None) -> T:
    """What `compute` gives; where memory runs out, in chunks half as large, until it does not.

    again: called before each new attempt, to take back what a broken one left. Raises DeviceFull.
    """
    while True:
        try:
            return compute()
        except torch.OutOfMemoryError as error:
            full = str(error).partition("\n")[0]
        # Out of the handler, whose traceback holds the tensors of the broken attempt.
        if not halve(device):
            raise DeviceFull(_way_out(f"{device}, even in small chunks", full))
        logger.warning("%s is out of memory: going on in chunks half as large", device)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        again()


@contextmanager
def telling_when_full(name: str, smaller: str = "train.batch_size or train.embedding_size") -> Iterator[None]:
    """Raise DeviceFull where the body runs out of a device's memory. smaller: the settings that would help."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceFull(_way_out(name, str(error).partition("\n")[0], smaller)) from error


def _way_out(where: str, told: str, smaller: str = "train.batch_size or train.embedding_size") -> str:
    return (
        f"out of memory on {where}: lower {smaller}, end what else runs there (nvidia-smi shows it), or set the device "
        f"to another card, such as cuda:1, or to cpu ({told})"
    )


def opened(name: str) -> torch.device:
    """The device of this name, cpu or cuda or cuda:N, with the index that tensors on it have. Raises DeviceMissing."""
    device = torch.device(name)
    if device.type != "cuda":
        return device
    n_cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (index := device.index or 0) >= n_cards:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise DeviceMissing(
            f"device {name}: torch {torch.__version__}, {built}, finds {n_cards or 'no'} GPU{'s' * (n_cards > 1)} here "
            "(nvidia-smi shows what the driver sees, CUDA_VISIBLE_DEVICES hides cards); set the device to auto or cpu, "
            "or install a torch that fits the driver"
        )
    return torch.device("cuda", index if device.index is not None else torch.cuda.current_device())


@contextmanager
def float32_products(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Have a GPU round the operands of its float32 products to TF32, or not, in the body."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
