"""Vectors of users and items: those a model ranks by, and the semantic ones it may learn from."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


class Vectors(NamedTuple):
    """A model for ranking: score = dot product. users: (n_users, D), items: (n_items, D), float32."""

    users: Float32Array
    items: Float32Array


@dataclass(frozen=True)
class SemanticEmbeddings:
    """Semantic vectors of users (n_users, d_s) and items (n_items, d_s).

    A row of zeros stands for a missing vector: such a node takes no part in alignment, neither as anchor nor as key,
    and trains like Base. Raises ValueError on NaN, on sides of different width, or if a side has no vector at all.
    """

    users: Float32Array
    items: Float32Array

    def __post_init__(self) -> None:
        for name, vectors in (("user", self.users), ("item", self.items)):
            if not np.isfinite(vectors).all():
                raise ValueError(f"semantic vectors of some {name}s are not finite; rebuild the embed stage (force)")
            if not vectors.any():
                raise ValueError(
                    f"no {name} has a semantic vector; check the profile and embed stages, or train base only"
                )
        if self.users.shape[1] != self.items.shape[1]:
            raise ValueError(f"user vectors have {self.users.shape[1]} components, item vectors {self.items.shape[1]}")

    def shuffled(self, seed: int) -> "SemanticEmbeddings":
        """The control: the rows of each side permuted, so that vectors keep their distribution but lose their owner."""
        rng = np.random.default_rng(seed)
        return SemanticEmbeddings(rng.permutation(self.users), rng.permutation(self.items))


_SHORTEST = 1e-15
"""Length of a vector from which on the squares of its components are as exact as float32 is."""


def unit_rows(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """Rows scaled to length 1, however short or long they are; a zero row stays zero."""
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32Array = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(np.float32)
    # The squares of very small and very large numbers are none in float32.
    extreme = np.flatnonzero(~((norms > _SHORTEST) & np.isfinite(norms)))
    if len(extreme):
        rows = vectors[extreme].astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit[extreme] = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return unit
