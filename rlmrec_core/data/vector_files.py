"""Semantic vectors made elsewhere: files of NumPy, safetensors and Parquet.

A Parquet file has a column `user_id` or `item_id` (or `id`) and a column `vector` of lists. The others hold one matrix,
whose rows belong to the ids of `user_ids.json` or `item_ids.json` beside it, as an export has them, or else to the ids
0, 1, 2, ... Pickles are not read.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import explained
from rlmrec_core.tables import IMPORTED_VECTORS

Side = Literal["item", "user"]

_ROWS = 4096
_SHOWN = 80
"""Characters of an id that an error shows."""
_WAY_OUT = "write a matrix of floats, one row for each id"


def ids_file(file: Path, side: Side) -> list[Path]:
    """The file with the ids of a matrix's rows, if there is one."""
    beside = file.with_name(f"{side}_ids.json")
    return [beside] if file.suffix != ".parquet" and beside.is_file() else []


def read_vectors(file: Path, side: Side) -> Iterator[pa.RecordBatch]:
    """Batches of IMPORTED_VECTORS. Raises DataError on a file of another kind, and on vectors that cannot be used."""
    if file.suffix == ".parquet":
        yield from _of_parquet(file, side)
        return
    matrix = checked_matrix(file, _array(file))
    yield from batches(file, matrix, _ids(file, side, len(matrix)))


def checked_matrix(file: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array. Raises DataError if it is no matrix of floats."""
    if array.ndim == 2 and array.dtype.kind == "f" and array.shape[1]:
        return array
    shape = " x ".join(map(str, array.shape)) or "a single number"
    raise DataError.at(f"is {shape} of {array.dtype}, not a matrix of floats", _WAY_OUT, file=file)


def batches(file: Path, matrix: npt.NDArray[Any], ids: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a matrix, (n, d), with their ids. Raises DataError if one is not finite."""
    for start in range(0, len(matrix), _ROWS):
        with np.errstate(over="ignore"):  # what is too large is told below
            rows = np.ascontiguousarray(matrix[start : start + _ROWS], dtype=np.float32)
        if not np.isfinite(rows).all():
            row = start + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise DataError.at(
                "the vector is not finite in float32", "write zeros for what has no vector", file=file, row=row + 1
            )
        offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
        vectors = pa.ListArray.from_arrays(offsets, rows.reshape(-1))
        yield pa.RecordBatch.from_arrays(
            [pa.array(ids[start : start + _ROWS], pa.string()), vectors], schema=IMPORTED_VECTORS
        )


def _array(file: Path) -> npt.NDArray[Any]:
    with explained(file):
        try:
            if file.suffix == ".npy":
                found = np.load(file, mmap_mode="r", allow_pickle=False)
                if not isinstance(found, np.ndarray):
                    raise DataError.at("is an archive of arrays", "write one array, by numpy.save", file=file)
                return found
            if file.suffix == ".safetensors":
                # PyTorch's, as NumPy knows no bfloat16; and here, as PyTorch takes seconds to load.
                from safetensors.torch import load_file

                tensors = load_file(file)
                if len(tensors) != 1:
                    names = ", ".join(sorted(tensors)[:5]) or "none"
                    raise DataError.at(f"holds {len(tensors)} tensors ({names})", "write a file with one", file=file)
                (tensor,) = tensors.values()
                is_short = tensor.is_floating_point() and tensor.element_size() < 4
                return (tensor.float() if is_short else tensor).numpy()
        # KeyError: PyTorch has no such type.
        except (ValueError, EOFError, SafetensorError, TypeError, KeyError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError.at(f"cannot be read: {error}", "write it anew; pickles are not read", file=file) from None
    raise DataError.at(
        "is no file of vectors", "name a .npy, .parquet or .safetensors file; pickles are not read", file=file
    )


def _ids(file: Path, side: Side, n: int) -> list[str]:
    for beside in ids_file(file, side):
        with explained(beside):
            try:
                found = json.loads(beside.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise DataError.at(f"is no JSON: {error}", "write a list of ids", file=beside) from None
        if not isinstance(found, list) or len(found) != n:
            held = f"holds {len(found):,} ids" if isinstance(found, list) else "is no list"
            raise DataError.at(f"{held}, but {file.name} has {n:,} rows", "write an id for each row", file=beside)
        for row, one in enumerate(found):
            if not isinstance(one, str | int) or isinstance(one, bool):
                raise DataError.at(
                    f"{json.dumps(one)[:_SHOWN]} is no id", "write texts or whole numbers", file=beside, row=row + 1
                )
        return [str(one) for one in found]
    return [str(row) for row in range(n)]


def _of_parquet(file: Path, side: Side) -> Iterator[pa.RecordBatch]:
    with explained(file):
        try:
            source = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise DataError.at(f"is no Parquet file: {error}", "write it anew", file=file) from None
    names = source.schema_arrow.names
    column = next((name for name in (f"{side}_id", "id", side) if name in names), None)
    if column is None or "vector" not in names:
        wanted = "vector" if column else f"{side}_id"
        raise DataError.at(
            f"the column is missing; the file has: {', '.join(names)}", "rename it", file=file, column=wanted
        )
    if twice := next((name for name in (column, "vector") if names.count(name) > 1), None):
        raise DataError.at("the file has several columns of this name", "keep one", file=file, column=twice)
    kind = source.schema_arrow.field(column).type
    if pa.types.is_nested(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        raise DataError.at(f"holds {kind}, which are no ids", "write texts or whole numbers", file=file, column=column)
    width = 0
    for batch in _read(source, file, [column, "vector"]):
        vectors = batch.column("vector")
        kind = vectors.type
        if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)):
            raise DataError.at(f"holds {kind}", "write lists of floats", file=file, column="vector")
        flat = vectors.flatten()
        if vectors.null_count or batch.column(column).null_count or not pa.types.is_floating(flat.type):
            raise DataError.at(
                "holds nulls, or what are no floats", "write lists of floats", file=file, column="vector"
            )
        width = width or len(flat) // max(len(vectors), 1)
        matrix = flat.to_numpy(zero_copy_only=False)
        if len(vectors) and not width:
            raise DataError.at("holds empty lists", "write lists of floats", file=file, column="vector")
        if any(len(one) != width for one in vectors):
            raise DataError.at(
                "holds vectors of several lengths", "write those of one model", file=file, column="vector"
            )
        ids = batch.column(column).cast(pa.string()).to_pylist()
        yield from batches(file, matrix.reshape(len(vectors), width), ids)


def _read(source: pq.ParquetFile, file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a file. Raises DataError where they are not what its end says."""
    rows = source.iter_batches(_ROWS, columns=columns)
    while True:
        with explained(file):
            batch = next(rows, None)
        if batch is None:
            return
        yield batch
