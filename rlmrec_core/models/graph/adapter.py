"""The MLP between the spaces of semantic and of collaborative vectors."""

import torch
from torch import Tensor, nn


class Adapter(nn.Sequential):
    """The MLP size_in -> (size_in + size_out) / 2 -> size_out with LeakyReLU between (RLMRec, section 3.3).

    dtype: operands of its products; weights, their gradients and the result stay float32.
    """

    def __init__(self, size_in: int, size_out: int, generator: torch.Generator, dtype: torch.dtype) -> None:
        hidden = (size_in + size_out) // 2
        super().__init__(nn.Linear(size_in, hidden), nn.LeakyReLU(), nn.Linear(hidden, size_out))
        self.dtype = dtype
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, size_in) to (n, size_out)."""
        with torch.autocast(vectors.device.type, self.dtype, enabled=self.dtype != torch.float32):
            adapted: Tensor = super().forward(vectors)  # type: ignore[no-untyped-call]
        return adapted.float()
