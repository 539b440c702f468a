"""Small worlds that the tests of the recommender core share."""

import numpy as np
import pyarrow as pa
import pytest

from rlmrec_core import tables
from rlmrec_core.split import Split
from rlmrec_core.vectors import SemanticEmbeddings

_COLUMNS = pa.schema([tables.SPLIT.field(name) for name in ("user", "item", "part")])


def split_of(pairs: list[tuple[int, int, str]], n_users: int, n_items: int) -> Split:
    columns = zip(*pairs, strict=True)
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, _COLUMNS, strict=True)], schema=_COLUMNS
    )
    return Split.from_table(table, n_users, n_items)


@pytest.fixture(scope="session")
def hand_split() -> Split:
    """Three users, four items; users have 2, 1 and 1 train items, items 2, 1, 1 and 0."""
    train = [(0, 0, "train"), (0, 1, "train"), (1, 0, "train"), (2, 2, "train")]
    return split_of([*train, (1, 1, "validation"), (0, 3, "test"), (2, 0, "test")], 3, 4)


@pytest.fixture(scope="session")
def checkerboard() -> Split:
    """Even users like even items, odd users odd ones; of each user's 30, six are for validation and six for test.

    Twelve items of the right colour are left to rank, among 42: a model that learned the board finds all six test items
    within its first twelve.
    """
    pairs = []
    for user in range(40):
        items = [item for item in range(60) if item % 2 == user % 2]
        for place, item in enumerate(items):
            turn = (place + user // 2) % len(items)
            pairs.append((user, item, "validation" if turn < 6 else "test" if turn < 12 else "train"))
    return split_of(pairs, 40, 60)


@pytest.fixture(scope="session")
def colours() -> SemanticEmbeddings:
    """SemanticEmbeddings vectors of the checkerboard: colour plus noise."""
    rng = np.random.default_rng(0)
    sides = []
    for size in (40, 60):
        colour = np.where(np.arange(size) % 2 == 0, 1.0, -1.0)[:, None]
        sides.append((colour * np.ones((1, 8)) + 0.3 * rng.normal(size=(size, 8))).astype(np.float32))
    return SemanticEmbeddings(*sides)
