"""What every encoder offers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from rlmrec_core.shard import Shard
from rlmrec_core.vectors import Float32Array

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Encoded:
    """vectors: (n, d) float32, unit rows, zero where a text could not be embedded. tokens: read in all.

    truncated: texts longer than the model reads. failed: texts with a zero row, which another run may embed. why: what
    ended most of those.
    """

    vectors: Float32Array
    tokens: int
    truncated: int
    failed: int = 0
    why: str = ""


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
