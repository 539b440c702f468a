"""What every encoder offers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rlmrec_core.shard import Shard

Vectors = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Encoded:
    """vectors: (n, d) float32, unit rows, zero where a text could not be embedded. tokens: read in all.

    truncated: texts longer than the model reads. failed: texts with a zero row, which another run may embed.
    """

    vectors: Vectors
    tokens: int
    truncated: int
    failed: int = 0


class Encoder(Protocol):
    """Turns texts into unit vectors of one size."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str:
        """Tells two models of one name apart, as far as that can be known."""
        ...

    def encode(self, texts: Sequence[str], progress: Progress) -> Encoded:
        """Vectors of non-empty texts, in their order; progress(done, total) is called now and then."""
        ...

    def report(self) -> dict[str, Any]:
        """What a server was asked and paid; empty for a model of one's own."""
        ...


class DivisibleEncoder(Encoder, Protocol):
    """An encoder whose work several processes can share."""

    def encode_shard(self, texts: Sequence[str], shard: Shard, progress: Progress) -> pa.Table | None:
        """What one process does of `encode(texts)`: whole batches of it, so that no vector depends on the division.

        Returns (id, vector) with the places of the texts as ids, or None where the vectors are kept in the ledger.
        """
        ...


def unit_rows(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(np.float32)
    return unit
