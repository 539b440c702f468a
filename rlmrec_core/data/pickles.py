"""NumPy arrays, SciPy matrices and plain values out of pickles, without running what these say.

A pickle is a program. Python's own reader runs it, and may call any function that it names. Here a small part of the
language is interpreted, of which no instruction leads to an import or a call: where a pickle names something, the name
is looked up in a short list, and stands for a few lines of `rlmrec_core.data.pickled`. Everything else is refused by
name.
"""

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from rlmrec_core.data.errors import DataError, printable
from rlmrec_core.data.files import explained
from rlmrec_core.data.pickled import CALLS, MATRICES, SHOWN, STATES, Made, Name, Refused, kind_of, plain

_KEY_BITS = 64
"""Of numbers by which a dict is looked up in: many longer ones can have one hash, which makes a dict slow."""


def read_pickle(path: Path) -> Any:
    """What a pickle holds: arrays, sparse matrices, texts, numbers, None, and tuples, lists and dicts of them.

    Protocols 0 to 5; matrices that are kept by rows or by columns come as COO matrices. Arrays share the memory of what
    was read. Raises DataError on everything else; nothing is run.
    """
    with explained(path), path.open("rb") as file:
        size = path.stat().st_size
        try:
            return _Machine(size).run(_Bounded(file, size))
        except Refused as refused:
            raise DataError.at(str(refused), _WAY_OUT, file=path) from None
        # What pickletools raises on bytes that are no pickle, or end too early.
        except (ValueError, OverflowError) as error:
            raise DataError.at(f"is no whole pickle: {str(error)[:SHOWN]}", _WAY_OUT, file=path) from None


_WAY_OUT = "get the file anew from where it was published; nothing in it was run"


class _Bounded:
    """A file of which no more is asked than it has: room is made for what is asked, however little there is."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, n: int) -> bytes:
        found = self._file.read(max(0, min(n, self._left)))
        self._left -= len(found)
        return found

    def readline(self) -> bytes:
        found = self._file.readline(max(0, self._left))
        self._left -= len(found)
        return found


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_NAMES = {
    **{f"{module}.{name}": name for module in _ARRAYS for name in ("_reconstruct", "scalar", "_frombuffer")},
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    **{
        f"scipy.sparse.{module}{kind}.{kind}_{name}": f"{kind}_matrix"
        for kind in ("coo", "csr", "csc")
        for module, name in (("", "matrix"), ("_", "matrix"), ("_", "array"))
    },
    "_codecs.encode": "encode",
    "__builtin__.bytes": "no bytes",
    "copy_reg._reconstructor": "_reconstructor",
    "__builtin__.object": "object",
}
_MARK = object()
_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "INT", "LONG", "FLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
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
                return plain(self._pop())
            if code.name in _VALUES:
                self._stack.append(argument)
            elif code.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[code.name])
            elif step := _STEPS.get(code.name):
                step(self, argument)
            else:
                raise Refused(f"the pickle uses {code.name}, which is not read")
        raise Refused("the pickle does not end")

    def mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def nothing(self, _: Any) -> None:
        """Of the file's form, not of its content."""

    def put(self, place: Any) -> None:
        self._memo[len(self._memo) if place is None else place] = self._top()

    def get(self, place: int) -> None:
        if place not in self._memo:
            raise Refused("the pickle refers to what it has not said")
        self._stack.append(self._memo[place])

    def name(self, argument: str) -> None:
        self._named(argument.replace(" ", ".", 1))

    def stacked_name(self, _: Any) -> None:
        module, name = self._several(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise Refused("the pickle names something by what is no text")
        self._named(f"{module}.{name}")

    def _named(self, name: str) -> None:
        if name not in _NAMES:
            raise Refused(f"the pickle asks for {printable(name[:SHOWN])}, which is not read: {_READ}")
        self._stack.append(Name(_NAMES[name]))

    def tuple_of(self, n: int) -> None:
        self._stack.append(tuple(self._several(n)))

    def marked_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def empty(self, made: Callable[[], Any]) -> None:
        self._stack.append(made())

    def marked_list(self, _: Any) -> None:
        self._stack.append(self._marked())

    def marked_dict(self, _: Any) -> None:
        values = self._marked()
        self._stack.append({})
        self._set_all(values)

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
        self._set_all(self._marked())

    def _set_all(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise Refused("a dict of the pickle has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            self._set(key, value)

    def call(self, _: Any) -> None:
        function, arguments = self._several(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused("the pickle calls what is no function")
        if function.name == "encode":
            self._stack.append(self._encoded(arguments))
            return
        if function.name not in CALLS:
            raise Refused(f"the pickle calls {function.name}, which is not read")
        self._stack.append(CALLS[function.name](arguments))

    def new(self, _: Any) -> None:
        made, arguments = self._several(2)
        if not isinstance(made, Name) or made.name not in MATRICES or arguments != ():
            raise Refused("the pickle makes an object that is not read")
        self._stack.append(Made(made.name))

    def build(self, _: Any) -> None:
        (state,) = self._several(1)
        made = self._top()
        if not isinstance(made, Made):
            raise Refused("the pickle gives a state to what has none")
        if made.kind not in STATES:
            raise Refused(f"the pickle gives a state to {kind_of(made)}")
        made.value = STATES[made.kind](made.value, state)

    def _encoded(self, arguments: tuple[Any, ...]) -> bytes:
        """Bytes as protocols 0 to 2 write them: as a text that is encoded anew."""
        match arguments:
            case (str() as text, "latin1" | "latin-1"):
                self._to_encode -= len(text)
                if self._to_encode < 0:
                    raise Refused("the pickle repeats a text so often that it would fill the memory")
                return text.encode("latin-1")
        raise Refused("the pickle encodes what is no text")

    def _set(self, key: Any, value: Any) -> None:
        if isinstance(key, Made):
            key = key.value
        if not isinstance(key, str | int | float | bytes | np.number | None):
            raise Refused(f"a dict of the pickle has a key that is {kind_of(key)}")
        if isinstance(key, int) and key.bit_length() > _KEY_BITS:
            raise Refused("a dict of the pickle has a key that is too long a number")
        found = self._top()
        if not isinstance(found, dict):
            raise Refused(f"the pickle sets an item of {kind_of(found)}")
        found[key] = value

    def _list(self) -> list[Any]:
        found = self._top()
        if not isinstance(found, list):
            raise Refused(f"the pickle appends to {kind_of(found)}")
        return found

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise Refused("the pickle takes more from its stack than it has put there")
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
        raise Refused("the pickle ends a list that it has not begun")


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _Machine.nothing),
    "MARK": _Machine.mark,
    **dict.fromkeys(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stacked_name,
    "EMPTY_TUPLE": lambda machine, _: machine.tuple_of(0),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": _Machine.marked_tuple,
    "LIST": _Machine.marked_list,
    "DICT": _Machine.marked_dict,
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

_READ = "only NumPy arrays of numbers, SciPy COO, CSR and CSC matrices, texts, numbers, lists and dicts are"
