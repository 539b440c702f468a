"""The data of RLMRec as its authors publish them: matrices, profiles and vectors of one data set in one folder.

`trn_mat.pkl`, `val_mat.pkl`, `tst_mat.pkl`: the parts as sparse SciPy matrices, users by items. If they are there,
`usr_prf.pkl`, `itm_prf.pkl`: dicts from a number to {"profile", "reasoning"}; `usr_emb_np.pkl`, `itm_emb_np.pkl`: the
profiles' vectors, a row for each number. Ids are the numbers of rows and columns. The pickles are decoded, never run:
see `rlmrec_core.data.pickles`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rlmrec_core.data import vector_files
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.pickled import CooMatrix
from rlmrec_core.data.pickles import read_pickle
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.texts import clean_texts
from rlmrec_core.data.vector_files import Side
from rlmrec_core.tables import IMPORTED_PROFILES, INTERACTIONS

_PARTS = {"train": "trn_mat.pkl", "validation": "val_mat.pkl", "test": "tst_mat.pkl"}
_SHORT: dict[Side, str] = {"item": "itm", "user": "usr"}
_ROWS = 65_536
_REPEATED = 1 << 28
"""Characters of profiles beyond those that a file has bytes: some have one text for all that they know nothing of."""
_ANEW = "get the release anew, or write the file as the release has it"


class ReleaseReader(Reader):
    """One data set of the authors' release."""

    def sources(self) -> list[Path]:
        self._check_folder()
        profiles = [self.folder / f"{short}_prf.pkl" for short in _SHORT.values()]
        return [*(self.file(name) for name in _PARTS.values()), *(file for file in profiles if file.is_file())]

    def interactions(self) -> Iterator[pa.RecordBatch]:
        self._check_folder()
        shape: tuple[int, int] | None = None
        for part, name in _PARTS.items():
            matrix = self._matrix(name)
            shape = shape or matrix.shape
            if matrix.shape != shape:
                found, expected = (" x ".join(map(str, one)) for one in (matrix.shape, shape))
                raise DataError.at(f"is {found}, the train part is {expected}", _ANEW, file=self.folder / name)
            stored = matrix.data != 0
            users, items = matrix.row[stored].astype(np.int64), matrix.col[stored].astype(np.int64)
            for start in range(0, len(users), _ROWS):
                rows = slice(start, start + _ROWS)
                yield _interactions(users[rows], items[rows], part)

    def items(self) -> Iterator[pa.RecordBatch]:
        return iter(())

    def profiles(self, side: Side) -> Iterator[pa.RecordBatch]:
        file = self.folder / f"{_SHORT[side]}_prf.pkl"
        if not file.is_file():
            return
        found = read_pickle(file)
        if not isinstance(found, dict):
            raise DataError.at(f"holds a {type(found).__name__}, not a dict of profiles", _ANEW, file=file)
        rows = list(_profiles(file, found))
        ids, *texts = ([row[place] for row in rows] for place in range(3))
        summaries, reasons = (clean_texts(pa.array(column, pa.string())) for column in texts)
        batch = pa.RecordBatch.from_arrays([pa.array(ids, pa.string()), summaries, reasons], IMPORTED_PROFILES.names)
        written = batch.filter(summaries.is_valid())
        if n_empty := batch.num_rows - written.num_rows:
            self.counts[f"empty {side} profiles"] += n_empty
        yield written.cast(IMPORTED_PROFILES)

    def vector_files(self, side: Side) -> list[Path]:
        if chosen := super().vector_files(side):
            return chosen
        file = self.folder / f"{_SHORT[side]}_emb_np.pkl"
        return [file] if file.is_file() else []

    def vectors(self, side: Side) -> Iterator[pa.RecordBatch]:
        file, *_ = self.vector_files(side)
        if file.suffix != ".pkl":
            yield from super().vectors(side)
            return
        found = read_pickle(file)
        if not isinstance(found, np.ndarray):
            raise DataError.at(f"holds a {type(found).__name__}, not an array", _ANEW, file=file)
        matrix = vector_files.checked_matrix(file, found)
        size = self._matrix(_PARTS["train"]).shape[side == "item"]
        if len(matrix) != size:
            raise DataError.at(f"holds {len(matrix):,} vectors for {size:,} {side}s", _ANEW, file=file)
        yield from vector_files.batches(file, matrix, [str(row) for row in range(size)])

    def _matrix(self, name: str) -> CooMatrix:
        found = read_pickle(self.file(name))
        if not isinstance(found, CooMatrix):
            raise DataError.at(f"holds a {type(found).__name__}, not a COO matrix", _ANEW, file=self.folder / name)
        return found

    def _check_folder(self) -> None:
        """Raises DataError where the folder is that of the whole release."""
        name = _PARTS["train"]
        if (self.folder / name).is_file():
            return
        inside = sorted(found.parent.relative_to(self.folder).as_posix() for found in self.folder.glob(f"*/{name}"))
        if inside:
            several = f"holds the data sets {', '.join(inside)}"
            raise DataError.at(
                several, f"set ingest.path to one of these folders, such as {inside[0]}", file=self.folder
            )


def _interactions(users: Any, items: Any, part: str) -> pa.RecordBatch:
    arrays = [
        pa.array(users).cast(pa.string()),
        pa.array(items).cast(pa.string()),
        *(pa.nulls(len(users), INTERACTIONS.field(name).type) for name in ("rating", "timestamp", "review")),
        pa.repeat(pa.scalar(part, pa.string()), len(users)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=INTERACTIONS)


def _profiles(file: Path, found: dict[Any, Any]) -> Iterator[tuple[str, str | None, str | None]]:
    """Id, profile and reasoning of each entry. Raises DataError on texts that are far longer together than the file.

    A pickle says a text once and may name it any number of times.
    """
    left = _REPEATED + file.stat().st_size
    for key, value in found.items():
        shown, *texts = row = _profile(file, key, value)
        left -= sum(len(text or "") for text in texts)
        if left < 0:
            raise DataError.at(
                f"repeats its texts so often that they would fill the memory, by {shown}", _ANEW, file=file
            )
        yield row


def _profile(file: Path, key: Any, value: Any) -> tuple[str, str | None, str | None]:
    """Id, profile and reasoning of an entry. Raises DataError if it is none."""
    whole = isinstance(key, int | np.integer) and 0 <= key < 1 << 31
    if not whole and not (isinstance(key, str) and key.isdecimal() and len(key) < 10):
        raise DataError.at("a key is no number", _ANEW, file=file)
    shown = str(int(key))
    texts = (value.get("profile"), value.get("reasoning")) if isinstance(value, dict) else (value, None)
    if not all(text is None or isinstance(text, str) for text in texts):
        raise DataError.at(f"the entry of {shown} is no profile", _ANEW, file=file)
    profile, reasoning = (None if text is None else _text(text) for text in texts)
    return shown, profile, reasoning


def _text(text: str) -> str:
    """The text with the replacement character for half a surrogate pair."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
