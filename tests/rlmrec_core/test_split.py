import numpy as np
import pyarrow as pa
import pytest

from rlmrec_core.split import Split
from rlmrec_core.tables import SPLIT, TableError


def table(users, items, parts):
    schema = pa.schema([SPLIT.field(name) for name in ("user", "item", "part")])
    return pa.table([pa.array(users, pa.int32()), pa.array(items, pa.int32()), pa.array(parts)], schema=schema)


def test_parts_are_ordered_by_user_then_item():
    split = Split.from_table(table([1, 0, 0, 1], [0, 2, 1, 1], ["train", "train", "train", "test"]), 2, 3)
    assert split.train.user.tolist() == [0, 0, 1]
    assert split.train.item.tolist() == [1, 2, 0]
    assert split.test.item.tolist() == [1]
    assert len(split.validation.user) == 0
    assert split.train_popularity().tolist() == [1, 1, 1]


def test_row_order_of_the_table_does_not_matter():
    rng = np.random.default_rng(3)
    original = table([0, 0, 1, 1, 2], [0, 1, 0, 2, 1], ["train", "test", "train", "validation", "train"])
    shuffled = original.take(pa.array(rng.permutation(5)))
    one, other = Split.from_table(original, 3, 3), Split.from_table(shuffled, 3, 3)
    for mine, theirs in zip((*one.train, *one.test), (*other.train, *other.test), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("users", "items", "parts", "message"),
    [
        ([0, 3], [0, 1], ["train", "train"], "'user' spans 0 to 3"),
        ([0, 1], [-1, 1], ["train", "train"], "'item' spans -1 to 1"),
        ([0, 0], [1, 1], ["train", "test"], "listed twice"),
        ([0, 1], [0, 1], ["train", "dev"], "unknown part 'dev'"),
        ([0, 1], [0, 1], ["test", "test"], "no train interactions"),
    ],
)
def test_unusable_tables_are_refused(users, items, parts, message):
    with pytest.raises(TableError, match=message):
        Split.from_table(table(users, items, parts), 2, 2)
