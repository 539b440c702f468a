"""Vectors in the answer of an embedding server, read one by one: a bad one spoils no other."""

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmrec_core.llm.answers import read_json, shown
from rlmrec_core.llm.errors import BrokenAnswer

Vector = npt.NDArray[np.float32]
_SHORTEST, _LONGEST = 1e-12, 1e12  # of a vector that can be scaled to length 1 in single precision


@dataclass(frozen=True)
class Embeddings:
    """What an answer holds for each text of a request, by the text's place in it.

    Attributes:
        vectors: float32, all of one size.
        faults: Why there is none, for the other places.
    """

    vectors: Mapping[int, Vector]
    faults: Mapping[int, str]

    @property
    def size(self) -> int | None:
        """Numbers in one vector; None if there is none."""
        return next((len(vector) for vector in self.vectors.values()), None)


def read_embeddings(raw: bytes, n: int, *, size: int | None = None, none_will_do: bool = False) -> Embeddings:
    """The vectors for n texts.

    Args:
        raw: Body of an answer in OpenAI's form; vectors as lists of numbers or in base64.
        n: Texts in the request.
        size: Numbers in one vector, if that is known; it decides where as many vectors have one size as another.
        none_will_do: Whether an answer without any good vector is an answer.

    Raises:
        BrokenAnswer: If it is not known which vector belongs to which text, or, but for `none_will_do`, none is good.
    """
    body = read_json(raw)
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or not 0 < len(data) <= n:
        raise BrokenAnswer(f"no embeddings of {n} texts in the body, which begins {shown(raw)}")
    rows = [row if isinstance(row, dict) else {} for row in data]
    vectors, faults = {}, dict.fromkeys(range(n), "the server sent no vector for it")
    for place, row in zip(_places([_index(row.get("index")) for row in rows], n), rows, strict=True):
        found = _vector(row.get("embedding"))
        if isinstance(found, str):
            faults[place] = found
        else:
            vectors[place] = found
            del faults[place]
    sizes = Counter(map(len, vectors.values()))
    usual = max(sizes, key=lambda one: (sizes[one], one == size), default=0)
    for place in [place for place, vector in vectors.items() if len(vector) != usual]:
        faults[place] = f"a vector of {len(vectors.pop(place))} numbers among those of {usual}"
    if not vectors and not none_will_do:
        raise BrokenAnswer(next(iter(faults.values())))
    return Embeddings(vectors, faults)


def _places(told: Sequence[int | None], n: int) -> Sequence[int]:
    """Which text each row is about: by the indices, and by position where there is only one way to take it."""
    known = [index for index in told if index is not None]
    if len(set(known)) < len(known) or not all(0 <= index < n for index in known):
        raise BrokenAnswer(f"embeddings with indices {list(told[:5])}..., expected each of 0 to {n - 1} once at most")
    if len(known) == len(told):
        return known
    if len(told) == n and all(index in (None, place) for place, index in enumerate(told)):
        return range(n)
    left = set(range(n)).difference(known)
    if len(told) == n and len(left) == 1:
        return [left.copy().pop() if index is None else index for index in told]
    raise BrokenAnswer(f"embeddings with indices {list(told[:5])}..., so that nobody knows which text they are about")


def _index(value: Any) -> int | None:
    """An index, also as text; None for anything else."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 12:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _vector(value: Any) -> "Vector | str":
    """A vector, or what is wrong with it."""
    if value is None:
        return "the server sent null for its vector"
    try:
        found = _decoded(value) if isinstance(value, str) else np.asarray(value)
    except (ValueError, OverflowError):
        return "its vector is neither a list of numbers nor base64"
    if found.ndim == 2 and len(found) == 1:
        found = found[0]
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "fiu":
        return "its vector is neither a list of numbers nor base64"
    if not np.isfinite(found).all():
        return "its vector is not finite"
    with np.errstate(over="ignore"):
        length = math.sqrt(float(np.square(found.astype(np.float64)).sum()))
    if not _SHORTEST < length < _LONGEST:
        return "its vector is zero" if length == 0 else f"its vector has the length {length:.1e}"
    return found.astype(np.float32)


def _decoded(text: str) -> "npt.NDArray[np.float32]":
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
