"""NumPy arrays, SciPy COO matrices and plain values out of pickles, without running what these say.

A pickle is a program. Python's own reader runs it, and may call any function that it names. Here a small part of the
language is interpreted, of which no instruction leads to an import or a call: where a pickle names something, the name
is looked up in a short list, and stands for a few lines of this file. Everything else is refused by name.
"""

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from rlmrec_core.data.errors import DataError, printable
from rlmrec_core.data.files import explained

_DTYPE = re.compile(r"b1|[iu][1248]|f[248]")
_LINE_BYTES = 4096
_SHOWN = 80


@dataclass(frozen=True)
class CooMatrix:
    """The entries of a sparse matrix. row, col: (n,) integers within `shape`; data: (n,) numbers."""

    row: npt.NDArray[np.integer]
    col: npt.NDArray[np.integer]
    data: npt.NDArray[np.number]
    shape: tuple[int, int]


def read_pickle(path: Path) -> Any:
    """What the pickle in a file holds: arrays, COO matrices, texts, numbers, None, and tuples, lists and dicts of them.

    Protocols 2 to 5. Arrays share the memory of what was read. Raises DataError on everything else; nothing is run.
    """
    with explained(path), path.open("rb") as file:
        size = path.stat().st_size
        try:
            return _Machine(size).run(_Bounded(file, size))
        except _Refused as refused:
            raise DataError.at(str(refused), _WAY_OUT, file=path) from None
        # What pickletools raises on bytes that are no pickle, or end too early.
        except (ValueError, OverflowError) as error:
            raise DataError.at(f"is no whole pickle: {str(error)[:_SHOWN]}", _WAY_OUT, file=path) from None


_WAY_OUT = "get the file anew from where it was published; nothing in it was run"


class _Refused(Exception):
    """Says what a pickle has that is not read."""


class _Bounded:
    """A file of which no more is asked than it has: room is made for what is asked, however little there is."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, n: int) -> bytes:
        found = self._file.read(max(0, min(n, self._left)))
        self._left -= len(found)
        return found

    def readline(self) -> bytes:
        found = self._file.readline(_LINE_BYTES)
        self._left -= len(found)
        return found


@dataclass(frozen=True)
class _Name:
    """Something that the pickle named and that is on the list; never the thing itself."""

    name: str


@dataclass
class _Made:
    """An array, a dtype or a matrix that is built in two steps: made, then given its state."""

    kind: str
    value: Any = None


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_NAMES = {
    **{f"{module}.{name}": name for module in _ARRAYS for name in ("_reconstruct", "scalar", "_frombuffer")},
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "scipy.sparse.coo.coo_matrix": "coo_matrix",
    "scipy.sparse._coo.coo_matrix": "coo_matrix",
    "scipy.sparse._coo.coo_array": "coo_matrix",
    "_codecs.encode": "encode",
    "__builtin__.bytes": "no bytes",
}
_MARK = object()
_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


class _Machine:
    """The stack and the memo of one pickle, and what each instruction does to them."""

    def __init__(self, size: int) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        # A text that is said once may be named often: what is made of texts must not outgrow the file.
        self._to_encode = 2 * size

    def run(self, file: _Bounded) -> Any:
        for code, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]
            if code.name == "STOP":
                return _plain(self._pop())
            if code.name in _VALUES:
                self._stack.append(argument)
            elif code.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[code.name])
            elif step := _STEPS.get(code.name):
                step(self, argument)
            else:
                raise _Refused(f"the pickle uses {code.name}, which is not read")
        raise _Refused("the pickle does not end")

    def mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def nothing(self, _: Any) -> None:
        """Of the file's form, not of its content."""

    def put(self, place: Any) -> None:
        self._memo[len(self._memo) if place is None else place] = self._top()

    def get(self, place: int) -> None:
        if place not in self._memo:
            raise _Refused("the pickle refers to what it has not said")
        self._stack.append(self._memo[place])

    def name(self, argument: str) -> None:
        self._named(argument.replace(" ", ".", 1))

    def stacked_name(self, _: Any) -> None:
        module, name = self._several(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise _Refused("the pickle names something by what is no text")
        self._named(f"{module}.{name}")

    def _named(self, name: str) -> None:
        if name not in _NAMES:
            raise _Refused(f"the pickle asks for {printable(name[:_SHOWN])}, which is not read: {_READ}")
        self._stack.append(_Name(_NAMES[name]))

    def tuple_of(self, n: int) -> None:
        self._stack.append(tuple(self._several(n)))

    def marked_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def empty(self, made: Callable[[], Any]) -> None:
        self._stack.append(made())

    def append(self, _: Any) -> None:
        (value,) = self._several(1)
        self._list().append(value)

    def appends(self, _: Any) -> None:
        values = self._marked()
        self._list().extend(values)

    def set_item(self, _: Any) -> None:
        key, value = self._several(2)
        self._set(key, value)

    def set_items(self, _: Any) -> None:
        values = self._marked()
        if len(values) % 2:
            raise _Refused("a dict of the pickle has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            self._set(key, value)

    def call(self, _: Any) -> None:
        function, arguments = self._several(2)
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise _Refused("the pickle calls what is no function")
        if function.name == "encode":
            self._stack.append(self._encoded(arguments))
            return
        calls = {
            "no bytes": _no_bytes,
            "_reconstruct": _reconstructed,
            "_frombuffer": _from_buffer,
            "scalar": _scalar,
            "dtype": _dtype,
        }
        if function.name not in calls:
            raise _Refused(f"the pickle calls {function.name}, which is not read")
        self._stack.append(calls[function.name](arguments))

    def new(self, _: Any) -> None:
        kind, arguments = self._several(2)
        if kind != _Name("coo_matrix") or arguments != ():
            raise _Refused("the pickle makes an object that is not read")
        self._stack.append(_Made("coo_matrix"))

    def build(self, _: Any) -> None:
        (state,) = self._several(1)
        made = self._top()
        if not isinstance(made, _Made):
            raise _Refused("the pickle gives a state to what has none")
        states = {"ndarray": _array, "dtype": _byte_order, "coo_matrix": _matrix}
        if made.kind not in states:
            raise _Refused(f"the pickle gives a state to {_kind(made)}")
        made.value = states[made.kind](made.value, state)

    def _encoded(self, arguments: tuple[Any, ...]) -> bytes:
        """Bytes as protocol 2 writes them: as a text that is encoded anew."""
        match arguments:
            case (str() as text, "latin1" | "latin-1"):
                self._to_encode -= len(text)
                if self._to_encode < 0:
                    raise _Refused("the pickle repeats a text so often that it would fill the memory")
                return text.encode("latin-1")
        raise _Refused("the pickle encodes what is no text")

    def _set(self, key: Any, value: Any) -> None:
        if isinstance(key, _Made):
            key = key.value
        if not isinstance(key, str | int | float | bytes | np.number | None):
            raise _Refused(f"a dict of the pickle has a key that is {_kind(key)}")
        found = self._top()
        if not isinstance(found, dict):
            raise _Refused(f"the pickle sets an item of {_kind(found)}")
        found[key] = value

    def _list(self) -> list[Any]:
        found = self._top()
        if not isinstance(found, list):
            raise _Refused(f"the pickle appends to {_kind(found)}")
        return found

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _Refused("the pickle takes more from its stack than it has put there")
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _several(self, n: int) -> list[Any]:
        return [self._pop() for _ in range(n)][::-1]

    def _marked(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                values = self._stack[place + 1 :]
                del self._stack[place:]
                return values
        raise _Refused("the pickle ends a list that it has not begun")


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _Machine.nothing),
    "MARK": _Machine.mark,
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stacked_name,
    "EMPTY_TUPLE": lambda machine, _: machine.tuple_of(0),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": _Machine.marked_tuple,
    "EMPTY_LIST": lambda machine, _: machine.empty(list),
    "EMPTY_DICT": lambda machine, _: machine.empty(dict),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "BUILD": _Machine.build,
}
"""All that is done for an instruction that is no value."""

_READ = "only NumPy arrays of numbers, SciPy COO matrices, texts, numbers, lists and dicts are"


def _no_bytes(arguments: tuple[Any, ...]) -> bytes:
    """The empty bytes of protocol 2."""
    if arguments:
        raise _Refused("the pickle makes bytes in an unusual way")
    return b""


def _reconstructed(arguments: tuple[Any, ...]) -> _Made:
    match arguments:
        case (_Name("ndarray"), (0,), bytes()):
            return _Made("ndarray")
    raise _Refused("the pickle makes an array in an unusual way")


def _dtype(arguments: tuple[Any, ...]) -> _Made:
    match arguments:
        case (str() as code, _, _) if _DTYPE.fullmatch(code):
            return _Made("dtype", np.dtype(code))
        case (str() as code, _, _):
            raise _Refused(f"the pickle has an array of the type {printable(code[:_SHOWN])}, which is no number")
    raise _Refused("the pickle describes the type of an array in an unusual way")


def _byte_order(dtype: Any, state: Any) -> np.dtype[Any]:
    match state:
        case (3, "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, 0):
            found: np.dtype[Any] = dtype.newbyteorder(order)
            return found
    raise _Refused("the pickle has an array whose type is not plain")


def _array(_: Any, state: Any) -> npt.NDArray[Any]:
    match state:
        case (1, tuple() as shape, _Made("dtype", np.dtype() as dtype), bool() as fortran, bytes() as raw):
            return _shaped(raw, dtype, shape, "F" if fortran else "C")
    raise _Refused("the pickle has an array in an unusual form")


def _from_buffer(arguments: tuple[Any, ...]) -> _Made:
    match arguments:
        case (bytes() | bytearray() as raw, _Made("dtype", np.dtype() as dtype), tuple() as shape, "C" | "F" as order):
            return _Made("ndarray", _shaped(raw, dtype, shape, order))
    raise _Refused("the pickle has an array in an unusual form")


def _scalar(arguments: tuple[Any, ...]) -> _Made:
    match arguments:
        case (_Made("dtype", np.dtype() as dtype), bytes() as raw):
            return _Made("scalar", _shaped(raw, dtype, (1,), "C")[0])
    raise _Refused("the pickle has a number in an unusual form")


def _shaped(raw: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Any) -> npt.NDArray[Any]:
    plain = len(shape) <= 4 and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    if not plain or math.prod(shape) * dtype.itemsize != len(raw):
        raise _Refused(f"the pickle has an array of the shape {_shown(shape)} in {len(raw):,} bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order=order)


def _matrix(_: Any, state: Any) -> CooMatrix:
    match state:
        case {"_shape": (int() as n_rows, int() as n_columns), "data": _Made("ndarray", np.ndarray() as data)}:
            row, col = _coordinates(state)
            if not (row.ndim == col.ndim == data.ndim == 1 and len(row) == len(col) == len(data)):
                raise _Refused("the pickle has a matrix whose entries are not as many as their places")
            for places, size in ((row, n_rows), (col, n_columns)):
                if places.dtype.kind not in "iu" or (len(places) and not 0 <= places.min() <= places.max() < size):
                    raise _Refused(
                        f"the pickle has a matrix with entries outside its shape {_shown((n_rows, n_columns))}"
                    )
            return CooMatrix(row, col, data, (n_rows, n_columns))
    raise _Refused("the pickle has a matrix in an unusual form")


def _coordinates(state: dict[Any, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Rows and columns, as SciPy before 1.13 keeps them, and since."""
    match (state.get("row"), state.get("col")), state.get("coords"):
        case (_Made("ndarray", np.ndarray() as row), _Made("ndarray", np.ndarray() as col)), _:
            return row, col
        case _, (_Made("ndarray", np.ndarray() as row), _Made("ndarray", np.ndarray() as col)):
            return row, col
    raise _Refused("the pickle has a matrix without the places of its entries")


def _plain(value: Any) -> Any:
    """The value itself, where it was made in steps; lists and dicts hold what was made in steps as it is."""
    if isinstance(value, _Name) or (isinstance(value, _Made) and (value.value is None or value.kind == "dtype")):
        raise _Refused(f"the pickle holds {_kind(value)}")
    return value.value if isinstance(value, _Made) else value


def _kind(value: Any) -> str:
    if isinstance(value, _Name):
        return f"the name {value.name}"
    if isinstance(value, _Made):
        return f"an unfinished {value.kind}" if value.value is None else f"a {value.kind}"
    return f"a {type(value).__name__}"


def _shown(shape: tuple[Any, ...]) -> str:
    """A shape for people: its numbers may be too long to be written."""
    sizes = (str(size) if type(size) is int and abs(size) < 1 << 64 else "?" for size in shape[:4])
    return f"({', '.join(sizes)}{', ...' if len(shape) > 4 else ''})"
