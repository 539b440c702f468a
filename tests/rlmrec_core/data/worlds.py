"""Small inputs for the tests of this folder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from hypothesis import strategies as st

from rlmrec_core.data.edges import NO_TIME, READY_UNSET, Edges
from rlmrec_core.tables import INTERACTIONS, ITEMS, Tables

NO_ITEMS = ds.dataset(pa.Table.from_pylist([], schema=ITEMS))


def drain(tables: Tables) -> dict[str, pa.Table]:
    """Every stream as a table."""
    return {name: pa.Table.from_batches(batches, schema) for name, (schema, batches) in tables.items()}


def interactions(rows: Sequence[tuple]) -> ds.Dataset:
    """Interactions from tuples of as many of the columns as are given."""
    named = [dict(zip(INTERACTIONS.names, row, strict=False)) for row in rows]
    return ds.dataset(pa.Table.from_pylist(named, schema=INTERACTIONS))


def make_edges(pairs: Sequence[tuple[int, int]], times: Sequence[int] | None = None) -> Edges:
    """Edges with dense codes, without ratings."""
    codes = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    user, item = (np.unique(codes[:, side], return_inverse=True)[1].astype(np.int32) for side in (0, 1))
    n = len(codes)
    time = np.full(n, NO_TIME) if times is None else np.array(times, dtype=np.int64)
    return Edges(np.arange(n), user, item, np.full(n, np.nan, np.float32), time, np.full(n, READY_UNSET, np.int8))


def pair_lists(n_users: int = 8, n_items: int = 8, max_size: int = 50) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Lists of different (user, item) pairs."""
    pair = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))
    return st.lists(pair, min_size=1, max_size=max_size, unique=True)


EDITS = st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from(["pair", "user", "item"]), st.integers(0, 8)))


def edited(pairs: list[tuple[str, str]], edits: list[tuple[str, str, int]], random: Any) -> list[tuple[str, str]]:
    """Pairs after interactions, users and items have come and gone, in another order and with duplicates."""
    now = set(pairs)
    for sign, kind, n in edits:
        user, item = f"new {n}" if kind == "user" else f"{n}", f"new {n}" if kind == "item" else f"{n % 5}"
        if sign == "+":
            several = {"pair": [(user, item)], "user": [(user, f"{i}") for i in range(n)]}
            now.update(several.get(kind, [(f"{u}", item) for u in range(n)]))
        else:
            now = {
                (u, i)
                for u, i in now
                if (u, i) != (user, item) and (kind == "pair" or f"{n}" != {"user": u}.get(kind, i))
            }
    rows = sorted(now) + random.sample(sorted(now), len(now) // 3)
    return random.sample(rows, len(rows))
