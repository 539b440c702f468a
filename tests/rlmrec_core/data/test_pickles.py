"""What pickles may hold comes back; whatever else they ask for is refused by name, and nothing is run."""

import os
import pickletools
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlmrec_core.data import DataError
from rlmrec_core.data.pickled import CooMatrix
from rlmrec_core.data.pickles import read_pickle
from tests.rlmrec_core.data.published import pickled

RNG = np.random.default_rng(0)
MATRIX = sp.random(9, 7, 0.2, format="coo", random_state=1)
VALUES = {
    "matrix": MATRIX,
    "sparse array": sp.coo_array(MATRIX),
    "empty matrix": sp.coo_matrix((3, 4)),
    "by rows": MATRIX.tocsr(),
    "by columns": sp.csc_array(MATRIX),
    "none by rows": sp.csr_matrix((3, 4)),
    "doubles": RNG.normal(size=(7, 5)),
    "columns first": np.asfortranarray(RNG.normal(size=(7, 5)).astype("f4")),
    "every other": RNG.normal(size=(8, 5))[::2],
    "other byte order": np.arange(6, dtype=">i4").reshape(2, 3),
    "booleans": np.arange(5) > 2,
    "nothing": np.zeros((0, 4)),
    "profiles": {number: {"profile": "ä" * 300, "reasoning": None} for number in range(300)},
    "keys of numpy": {np.int64(3): "three", np.float32(0.5): "half"},
    "plain": [1, -5, 1 << 70, 2.5, True, False, None, b"", b"\xff", "", ("a",), ("a", "b"), (1, 2, 3, 4), {}, []],
}


def decoded(content: bytes, folder: Path) -> Any:
    (folder / "a.pkl").write_bytes(content)
    return read_pickle(folder / "a.pkl")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", VALUES)
def test_what_may_be_read_comes_back(tmp_path, name, protocol):
    value = VALUES[name]
    found = decoded(pickled(value, protocol), tmp_path)
    if sp.issparse(value):
        assert isinstance(found, CooMatrix) and found.shape == value.shape
        again = sp.coo_matrix((found.data, (found.row, found.col)), found.shape)
        np.testing.assert_array_equal(again.toarray(), value.toarray())
    elif isinstance(value, np.ndarray):
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(found, value)
    else:
        assert found == value


def test_a_matrix_of_an_older_scipy(tmp_path):
    # Before 1.13 rows and columns were attributes of their own, and the module had another name.
    content = pickled(MATRIX, 2).replace(b"scipy.sparse._coo", b"scipy.sparse.coo")
    content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert decoded(content, tmp_path).shape == (9, 7)


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def nested(value, depth, into=lambda inner: [inner]):
    for _ in range(depth):
        value = into(value)
    return value


PROTO, STOP = b"\x80\x04", b"."
RAW = {
    "names a module": (PROTO + b"cantigravity\nfly\n" + STOP, "asks for antigravity.fly"),
    "names it on the stack": (PROTO + b"\x8c\x02os\x8c\x06system\x93" + STOP, "asks for os.system"),
    "a name in parts": (
        PROTO + b"\x8c\x05numpy\x8c\x15ndarray.__class__.mro\x93" + STOP,
        "asks for numpy.ndarray.__class",
    ),
    "commands to a terminal": (PROTO + b"c\x1b[2Jos\nsystem\n" + STOP, r"asks for \\x1b\[2Jos.system"),
    "protocol 0": (b"cposix\nsystem\n(S'true'\ntR.", "asks for posix.system"),
    "a class without its making": (
        b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\nc__builtin__\nobject\nNtR.",
        "makes an",
    ),
    "a class of another": (b"ccopy_reg\n_reconstructor\n(cposix\nsystem\nc__builtin__\nobject\nNtR.", "asks for posix"),
    "a class that is handed on": (
        b"ccopy_reg\n_reconstructor\n(cscipy.sparse\ncoo_matrix\nc__builtin__\nobject\nVa\ntR.",
        "asks for scipy",
    ),
    "an object alone": (b"c__builtin__\nobject\n(tR.", "calls object"),
    "an object without a state": (
        b"ccopy_reg\n_reconstructor\n(cscipy.sparse._csr\ncsr_matrix\nc__builtin__\nobject\nNtR.",
        "holds an unfinished csr_matrix",
    ),
    "an instance": (b"(S'true'\niposix\nsystem\n.", "uses STRING, which"),
    "a persistent id": (PROTO + b"\x8c\x01xQ" + STOP, "uses BINPERSID"),
    "an extension": (PROTO + b"\x82\x01" + STOP, "uses EXT1"),
    "keywords for a class": (PROTO + b"cnumpy\nndarray\n)}\x92" + STOP, "uses NEWOBJ_EX"),
    "a class made": (PROTO + b"cnumpy\nndarray\n)\x81" + STOP, "makes an object that is not read"),
    "a class called": (PROTO + b"cnumpy\nndarray\n)R" + STOP, "calls ndarray"),
    "a class alone": (PROTO + b"cnumpy\nndarray\n" + STOP, "holds the name ndarray"),
    "an empty stack": (PROTO + STOP, "takes more from its stack"),
    "a list without a beginning": (PROTO + b"e" + STOP, "ends a list that it has not begun"),
    "a memo of nothing": (PROTO + b"h\x05" + STOP, "refers to what it has not said"),
    "a state for a list": (PROTO + b"]}b" + STOP, "gives a state to what has none"),
    "an item of a list": (PROTO + b"]K\x01K\x02s" + STOP, "sets an item of a list"),
    "half a pair": (PROTO + b"}(K\x01u" + STOP, "a key without a value"),
    "no pickle": (b"<html>", "no whole pickle"),
    "nothing": (b"", "no whole pickle"),
    "a length beyond the file": (PROTO + b"\x8e" + (1 << 62).to_bytes(8, "little") + b"x" + STOP, "no whole pickle"),
    "a length beyond all": (PROTO + b"\x8e" + b"\xff" * 8 + STOP, "no whole pickle"),
    "an endless line": (PROTO + b"c" + b"a" * 100_000, "no whole pickle"),
    "a long name": (PROTO + b"c" + b"a" * 100_000 + b"\na\n" + STOP, "asks for aaa"),
    "a number of many digits": (b"L" + b"9" * 100_000 + b"L\n.", "no whole pickle"),
}
MADE = {
    "runs a command": (Calls(os.system, "touch ran"), "asks for (posix|nt).system"),
    "runs one within": ({1: {"profile": [Calls(os.system, "touch ran")]}}, "asks for (posix|nt).system"),
    "evaluates": (Calls(eval, "1"), "asks for (__builtin__|builtins).eval"),
    "imports": (Calls(__import__, "antigravity"), "asks for (__builtin__|builtins).__import__"),
    "takes an attribute": (Calls(getattr, "a", "upper"), "asks for (__builtin__|builtins).getattr"),
    "an array of objects": (np.array([Calls(os.system, "touch ran")], object), "asks for posix|which is no number"),
    "an array of texts": (np.array(["a"]), "which is no number"),
    "an array of records": (np.zeros(2, [("a", "f4")]), "which is no number"),
    "a date": (np.datetime64("2020-01-01"), "which is no number"),
    "another matrix": (sp.lil_matrix((2, 2)), "asks for scipy.sparse._lil.lil_matrix"),
    "a set": ({1, 2}, "EMPTY_SET|asks for (__builtin__|builtins).set"),
    "keys of one hash": ({(1 << 61) - 1 << 61: "a"}, "a key that is too long a number"),
    "a key that takes long to hash": ({nested((), 50, lambda inner: (inner,)): 1}, "a key that is a tuple"),
    "a path": (Path("x"), "asks for pathlib"),
}  # fmt: skip


@pytest.fixture
def nothing_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "ran").exists() and "antigravity" not in sys.modules


@pytest.mark.parametrize("name", RAW)
def test_crafted_pickles_are_refused(tmp_path, nothing_runs, name):
    content, message = RAW[name]
    with pytest.raises(DataError, match=message) as refused:
        decoded(content, tmp_path)
    assert "a.pkl: " in str(refused.value) and "nothing in it was run" in str(refused.value)
    assert len(str(refused.value)) < 500 and str(refused.value).isprintable()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("name", MADE)
def test_pickled_calls_and_classes_are_refused(tmp_path, nothing_runs, name, protocol):
    value, message = MADE[name]
    with pytest.raises(DataError, match=message):
        decoded(pickled(value, protocol), tmp_path)


def test_every_instruction_is_read_or_refused(tmp_path):
    """None that calls, imports or asks somebody else is among those that are read."""
    risky = {
        "INST",
        "OBJ",
        "NEWOBJ_EX",
        "PERSID",
        "BINPERSID",
        "EXT1",
        "EXT2",
        "EXT4",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
    }
    for code in pickletools.opcodes:
        with suppress(DataError):
            decoded(PROTO + code.code.encode("latin-1") + b"\x01\n" * 20 + STOP, tmp_path)
        if code.name in risky:
            with pytest.raises(DataError, match=f"uses {code.name}|no whole pickle"):
                decoded(PROTO + code.code.encode("latin-1") + b"1\n1\n" + b"\x00" * 8 + STOP, tmp_path)


@pytest.mark.parametrize("protocol", [0, 4])
@pytest.mark.parametrize("name", ["matrix", "by rows", "doubles", "profiles"])
def test_a_cut_file_is_no_whole_pickle(tmp_path, name, protocol):
    content = pickled(VALUES[name], protocol)
    for end in {*range(0, len(content), max(1, len(content) // 20)), len(content) - 1}:
        with pytest.raises(DataError, match="no whole pickle"):
            decoded(content[:end], tmp_path)


def array_of(shape: tuple[int, ...], raw: bytes = b"\x00" * 8) -> bytes:
    """An array of doubles that says to have a shape."""
    whole = pickled(np.frombuffer(b"\x07" * 8), 4)
    return whole.replace(b"K\x01\x85", pickled(shape, 4)[2:-1].replace(b"\x94", b""), 1).replace(b"\x07" * 8, raw)


@pytest.mark.parametrize("shape", [(2,), (1 << 40,), (1 << 40, 1 << 40), (-1,), (0, 1 << 62), (1 << 6000,), (1,) * 40])
def test_a_shape_that_is_not_that_of_the_bytes(tmp_path, shape):
    assert decoded(array_of((1,)), tmp_path).tolist() == [0.0]
    with pytest.raises(DataError, match="an array of the shape"):
        decoded(array_of(shape), tmp_path)


@pytest.mark.parametrize(("row", "col"), [(9, 0), (-1, 0), (0, 7), (0, 0.5)])
def test_entries_outside_the_matrix(tmp_path, row, col):
    matrix = sp.coo_matrix(([1.0], ([0], [0])), shape=(9, 7))
    matrix.coords = np.array([row]), np.array([col])
    with pytest.raises(DataError, match="outside its shape"):
        decoded(pickled(matrix), tmp_path)
    matrix.coords = np.array([0, 0]), np.array([0])
    with pytest.raises(DataError, match="not as many as their places"):
        decoded(pickled(matrix), tmp_path)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([0, 1], "do not share out its entries"),  # of one row, of two
        ([0, 1, 3], "do not share out"),  # beyond the entries
        ([1, 1, 2], "do not share out"),
        ([0, 3, 2], "do not share out"),
        ([0.0, 1.0, 2.0], "do not share out"),
        ([[0, 1, 2]], "do not share out"),
        ([], "do not share out"),
    ],
)
def test_rows_that_do_not_share_out_the_entries(tmp_path, bounds, message):
    for matrix in (sp.csr_matrix(np.eye(2)), sp.csc_matrix(np.eye(2))):
        matrix.indptr = np.array(bounds)
        with pytest.raises(DataError, match=message):
            decoded(pickled(matrix), tmp_path)


def test_a_matrix_by_rows_that_says_to_be_large(tmp_path):
    matrix = sp.csr_matrix(np.eye(2))
    matrix._shape = (10**12, 10**12)
    with pytest.raises(DataError, match="do not share out its entries"):
        decoded(pickled(matrix), tmp_path)
    matrix._shape = (2, 1)
    with pytest.raises(DataError, match="outside its shape"):
        decoded(pickled(matrix), tmp_path)


def test_depth_and_repetition_do_no_harm(tmp_path):
    depth = 30_000
    found = decoded(PROTO + b"]" * depth + b"a" * (depth - 1) + STOP, tmp_path)
    assert found[0] and len(found) == 1
    found = decoded(PROTO + b")" + b"\x85" * depth + STOP, tmp_path)
    assert len(found) == 1
    # One text of a megabyte, encoded ten thousand times.
    text = b"X" + (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20) + b"q\x00"
    again = b"h\x01h\x00\x8c\x06latin1\x86R"
    with pytest.raises(DataError, match="so often that it would fill the memory"):
        decoded(PROTO + text + b"c_codecs\nencode\nq\x01" + again * 10_000 + STOP, tmp_path)


WHOLE = [
    pickled(value, protocol)
    for value in VALUES.values()
    for protocol in (0, 2, 4, 5)
    if value is not VALUES["profiles"]
]
PIECES = [code.code.encode("latin-1") for code in pickletools.opcodes]
PIECES += [
    b"cos\nsystem\n",
    b"\x8c\x02os",
    b"\x8c\x06system",
    b"K\x01",
    b"\xff" * 8,
    b"h\x00",
    b"\x00",
    b"\n",
    b"numpy\nndarray\n",
    b"ccopy_reg\n_reconstructor\n",
    b"c__builtin__\nobject\n",
    b"cscipy.sparse._csr\ncsr_matrix\n",
]
NOISE = st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=12).map(b"".join)


def spliced(content: bytes, at: int, gone: int, new: bytes) -> bytes:
    return content[: at % len(content)] + new + content[at % len(content) + gone :]


@settings(max_examples=200, deadline=None)
@given(
    NOISE.map(lambda noise: PROTO + noise + STOP)
    | st.builds(spliced, st.sampled_from(WHOLE), st.integers(0, 4000), st.integers(0, 3), NOISE)
)
@example(PROTO + b"\x8a\xff" + b"\x7f" * 255 + STOP)
def test_any_bytes_are_a_value_or_a_data_error(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    with suppress(DataError):
        decoded(content, folder)
    assert "antigravity" not in sys.modules
