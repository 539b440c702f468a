"""Tables of three columns in one file, and what becomes of them."""

from pathlib import Path
from typing import Any

import pytest

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import DataError, ingest
from tests.rlmrec_core.data.worlds import drain

COLUMNS = {"user_id": "user", "item_id": "item", "review": "text"}
NAMES = ["user", "item", "text"]


def config(folder: Path, content: bytes | None = None, name: str = "interactions.csv", **more: Any) -> IngestConfig:
    if content is not None:
        (folder / name).write_bytes(content)
    more = {"columns": COLUMNS, "interactions_file": name, "items_file": ()} | more
    return IngestConfig(reader="tabular", path=str(folder), **more)


def rows(chosen: IngestConfig) -> list[tuple[Any, ...]]:
    table = drain(ingest(chosen).tables)["interactions"]
    return list(zip(*(table[name].to_pylist() for name in ("user_id", "item_id", "review")), strict=True))


def refusal(chosen: IngestConfig) -> str:
    with pytest.raises(DataError) as caught:
        rows(chosen)
    return str(caught.value)


GOOD = [("u1", "i1", "a"), ("u2", "i2", "b")]
