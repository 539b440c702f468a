"""What a decoded pickle may hold beside plain values: NumPy arrays of numbers, SciPy matrices and how they are built.

Each function stands for one that pickles name (see `rlmrec_core.data.pickles`), takes what the pickle hands to it, and
raises Refused on whatever it does not expect.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmrec_core.data.errors import printable

SHOWN = 80
"""Characters of a name that an error shows."""

_DTYPE = re.compile(r"b1|[iu][1248]|f[248]")


@dataclass(frozen=True)
class CooMatrix:
    """The entries of a sparse matrix. row, col: (n,) integers within `shape`; data: (n,) numbers."""

    row: npt.NDArray[np.integer]
    col: npt.NDArray[np.integer]
    data: npt.NDArray[np.number]
    shape: tuple[int, int]


class Refused(Exception):
    """Says what a pickle has that is not read."""


@dataclass(frozen=True)
class Name:
    """Something that the pickle named and that is on the list; never the thing itself."""

    name: str


@dataclass
class Made:
    """An array, a dtype or a matrix that is built in two steps: made, then given its state."""

    kind: str
    value: Any = None


def _no_bytes(arguments: tuple[Any, ...]) -> bytes:
    """The empty bytes of protocol 2."""
    if arguments:
        raise Refused("the pickle makes bytes in an unusual way")
    return b""


def _reconstructed(arguments: tuple[Any, ...]) -> Made:
    match arguments:
        case (Name("ndarray"), (0,), bytes()):
            return Made("ndarray")
    raise Refused("the pickle makes an array in an unusual way")


def _dtype(arguments: tuple[Any, ...]) -> Made:
    match arguments:
        case (str() as code, _, _) if _DTYPE.fullmatch(code):
            return Made("dtype", np.dtype(code))
        case (str() as code, _, _):
            raise Refused(f"the pickle has an array of the type {printable(code[:SHOWN])}, which is no number")
    raise Refused("the pickle describes the type of an array in an unusual way")


def _byte_order(dtype: Any, state: Any) -> np.dtype[Any]:
    match state:
        case (3, "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, 0):
            found: np.dtype[Any] = dtype.newbyteorder(order)
            return found
    raise Refused("the pickle has an array whose type is not plain")


def _array(_: Any, state: Any) -> npt.NDArray[Any]:
    match state:
        case (1, tuple() as shape, Made("dtype", np.dtype() as dtype), bool() as fortran, bytes() as raw):
            return _shaped(raw, dtype, shape, "F" if fortran else "C")
    raise Refused("the pickle has an array in an unusual form")


def _from_buffer(arguments: tuple[Any, ...]) -> Made:
    match arguments:
        case (bytes() | bytearray() as raw, Made("dtype", np.dtype() as dtype), tuple() as shape, "C" | "F" as order):
            return Made("ndarray", _shaped(raw, dtype, shape, order))
    raise Refused("the pickle has an array in an unusual form")


def _scalar(arguments: tuple[Any, ...]) -> Made:
    match arguments:
        case (Made("dtype", np.dtype() as dtype), bytes() as raw):
            return Made("scalar", _shaped(raw, dtype, (1,), "C")[0])
    raise Refused("the pickle has a number in an unusual form")


def _shaped(raw: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Any) -> npt.NDArray[Any]:
    plain = len(shape) <= 4 and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    if not plain or math.prod(shape) * dtype.itemsize != len(raw):
        raise Refused(f"the pickle has an array of the shape {_shown(shape)} in {len(raw):,} bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order=order)


def _coo(_: Any, state: Any) -> CooMatrix:
    """Rows and columns as SciPy before 1.13 keeps them, and since."""
    match state:
        case {"row": Made("ndarray", np.ndarray() as row), "col": Made("ndarray", np.ndarray() as col)}:
            return _matrix(state, row, col)
        case {"coords": (Made("ndarray", np.ndarray() as row), Made("ndarray", np.ndarray() as col))}:
            return _matrix(state, row, col)
    raise Refused("the pickle has a matrix without the places of its entries")


def _by_rows(_: Any, state: Any) -> CooMatrix:
    row, col = _compressed(state, 0)
    return _matrix(state, row, col)


def _by_columns(_: Any, state: Any) -> CooMatrix:
    col, row = _compressed(state, 1)
    return _matrix(state, row, col)


def _compressed(state: Any, side: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The places of all entries on the side by which a matrix is kept, 0 its rows and 1 its columns, and on the other.

    The entries of row r are those from bounds[r] to bounds[r + 1].
    """
    match state:
        case {
            "_shape": (int(), int()) as shape,
            "indptr": Made("ndarray", np.ndarray() as bounds),
            "indices": Made("ndarray", np.ndarray() as others),
        }:
            plain_bounds = bounds.ndim == 1 and bounds.dtype.kind in "iu" and len(bounds) == shape[side] + 1
            bounds = bounds.astype(np.int64) if plain_bounds else np.array([-1])
            lengths = bounds[1:] - bounds[:-1]
            if bounds[0] != 0 or bounds[-1] != len(others) or (lengths < 0).any():
                raise Refused("the pickle has a matrix whose rows or columns do not share out its entries")
            return np.repeat(np.arange(len(lengths)), lengths), others
    raise Refused("the pickle has a matrix without the places of its entries")


def _matrix(state: Any, row: npt.NDArray[Any], col: npt.NDArray[Any]) -> CooMatrix:
    match state:
        case {"_shape": (int() as n_rows, int() as n_columns), "data": Made("ndarray", np.ndarray() as data)}:
            if not (row.ndim == col.ndim == data.ndim == 1 and len(row) == len(col) == len(data)):
                raise Refused("the pickle has a matrix whose entries are not as many as their places")
            for places, size in ((row, n_rows), (col, n_columns)):
                if places.dtype.kind not in "iu" or (len(places) and not 0 <= places.min() <= places.max() < size):
                    raise Refused(
                        f"the pickle has a matrix with entries outside its shape {_shown((n_rows, n_columns))}"
                    )
            return CooMatrix(row, col, data, (n_rows, n_columns))
    raise Refused("the pickle has a matrix in an unusual form")


def _without_state(arguments: tuple[Any, ...]) -> Made:
    """An object of a class before it is given its state, as protocols 0 and 1 write it."""
    match arguments:
        case (Name(name), Name("object"), None) if name in MATRICES:
            return Made(name)
    raise Refused("the pickle makes an object that is not read")


def plain(value: Any) -> Any:
    """The value itself, where it was made in steps; lists and dicts hold what was made in steps as it is."""
    if isinstance(value, Name) or (isinstance(value, Made) and (value.value is None or value.kind == "dtype")):
        raise Refused(f"the pickle holds {kind_of(value)}")
    return value.value if isinstance(value, Made) else value


def kind_of(value: Any) -> str:
    if isinstance(value, Name):
        return f"the name {value.name}"
    if isinstance(value, Made):
        return f"an unfinished {value.kind}" if value.value is None else f"a {value.kind}"
    return f"a {type(value).__name__}"


def _shown(shape: tuple[Any, ...]) -> str:
    """A shape for people: its numbers may be too long to be written."""
    sizes = (str(size) if type(size) is int and abs(size) < 1 << 64 else "?" for size in shape[:4])
    return f"({', '.join(sizes)}{', ...' if len(shape) > 4 else ''})"


MATRICES = ("coo_matrix", "csr_matrix", "csc_matrix")

CALLS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = {
    "no bytes": _no_bytes,
    "_reconstruct": _reconstructed,
    "_reconstructor": _without_state,
    "_frombuffer": _from_buffer,
    "scalar": _scalar,
    "dtype": _dtype,
}
"""What stands for each function that a pickle may call."""

STATES: Mapping[str, Callable[[Any, Any], Any]] = {
    "ndarray": _array,
    "dtype": _byte_order,
    "coo_matrix": _coo,
    "csr_matrix": _by_rows,
    "csc_matrix": _by_columns,
}
"""What makes each kind of Made from what was made so far and the state that the pickle gives to it."""
