"""Which device computes, as settings name it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from rlmrec_core.config.section import InKey


def kind_of(device: str) -> str:
    """What enters keys: cpu or cuda. Sums of another kind round otherwise, those of another card of it do not."""
    return settled(device).partition(":")[0]


def settled(device: str) -> str:
    """The device meant by auto: the GPU, where torch finds one. Any other is returned as it is."""
    if device != "auto":
        return device
    import torch  # takes a second to load; only this needs it

    return "cuda" if torch.cuda.is_available() else "cpu"


_NAMED = r"cpu|cuda(:\d+)?"
# What a CPU makes has the key that it had before there was a choice.
_IN_KEY = InKey(kind_of, left_out="cpu")

NamedDevice = Annotated[str, StringConstraints(pattern=f"^({_NAMED})$"), _IN_KEY]
"""A device that is settled on: cpu, cuda or cuda:N."""

Device = Annotated[str, StringConstraints(pattern=f"^(auto|{_NAMED})$"), _IN_KEY]
"""A device, or auto."""

DEVICE = Field(
    "auto",
    description="What computes: auto takes a GPU where there is one; cpu, cuda, or a card of several, as cuda:1. Keys "
    "say cpu or cuda, since their results differ by rounding",
)
