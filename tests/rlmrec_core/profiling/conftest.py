"""A small world: two items with text, one with reviews only, one with nothing, one seen in test only."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from rlmrec_core.profiling import TrainCorpus
from rlmrec_core.tables import ITEM_INDEX, ITEMS, SPLIT, USER_INDEX

_ITEMS = [
    ("i0", "The Silent Harbour", "A detective returns to a fog-bound port. Old debts surface.", [("genre", "crime")]),
    ("i1", "Gardens of Mars", None, [("genre", "science fiction"), ("genre", "adventure")]),
    ("i2", "Night Ferry", None, [("genre", "crime")]),
    ("i3", None, None, None),
    ("i4", "CANARY-TITLE", "CANARY-DESCRIPTION", [("genre", "CANARY-GENRE")]),
]
_EDGES = [
    (0, 0, "train", 5.0, "The foggy harbour and the tired detective are wonderful. I read it twice."),
    (0, 1, "train", 4.0, "Terraforming Mars with wit. The greenhouse chapters shine."),
    (0, 2, "validation", 4.0, "CANARY-VALIDATION about the ferry."),
    (1, 1, "train", 3.0, "Great fun: terraforming Mars and its greenhouse politics."),
    (1, 0, "test", 5.0, "CANARY-TEST about the harbour."),
    (1, 4, "test", 5.0, "CANARY-UNSEEN of an item that train never shows."),
    (2, 2, "train", None, None),
    (2, 3, "train", None, None),
    (3, 3, "train", 4.0, None),
]


def world(
    edges: Sequence[tuple[Any, ...]] = _EDGES, items: Sequence[tuple[Any, ...]] = _ITEMS, n_users: int = 4
) -> dict[str, pa.Table]:
    """The tables of a corpus, named as `TrainCorpus.build` names them."""
    users, seen, parts, ratings, reviews = zip(*edges, strict=True)
    times = pa.nulls(len(edges), pa.timestamp("us"))
    split = pa.table(
        [
            pa.array(users, pa.int32()),
            pa.array(seen, pa.int32()),
            pa.array(parts),
            pa.array(ratings, pa.float32()),
            times,
            pa.array(reviews, pa.string()),
        ],
        schema=SPLIT,
    )
    texts = [
        {"item_id": i, "title": t, "description": d, "attributes": [{"name": n, "value": v} for n, v in a or []]}
        for i, t, d, a in items
    ]
    item_index = pa.table([list(range(len(items))), [row[0] for row in items]], schema=ITEM_INDEX)
    user_index = pa.table([list(range(n_users)), [f"u{i}" for i in range(n_users)]], schema=USER_INDEX)
    described = pa.Table.from_pylist(texts, schema=ITEMS)
    return {"split": split, "user_index": user_index, "item_index": item_index, "items": described}


@pytest.fixture
def corpus() -> TrainCorpus:
    return TrainCorpus.build(**world())


@pytest.fixture
def edges() -> list[tuple[Any, ...]]:
    return list(_EDGES)


@pytest.fixture
def world_of() -> Callable[..., dict[str, pa.Table]]:
    return world


@pytest.fixture
def build() -> Callable[..., TrainCorpus]:
    return lambda **parts: TrainCorpus.build(**world(**parts))
