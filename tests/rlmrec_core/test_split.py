import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def pairs(edges):
    return set(zip(edges.user.tolist(), edges.item.tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_noise_is_seeded_and_never_what_is_known(seed, share):
    rng = np.random.default_rng(seed)
    cells = rng.permutation(48)[:20]
    parts = ["train", *rng.choice(["train", "validation", "test"], 19)]
    split = Split.from_table(table(cells // 8, cells % 8, parts), 6, 8)
    noisy = split.with_noise(share, seed)
    false = pairs(noisy.train) - pairs(split.train)
    assert len(noisy.train.user) - len(split.train.user) == len(false) == round(share * len(split.train.user))
    assert not false & (pairs(split.validation) | pairs(split.test))
    assert pairs(split.train) <= pairs(noisy.train)
    keys = noisy.train.user.astype(int) * 8 + noisy.train.item
    assert (np.diff(keys) > 0).all() and noisy.train.user.dtype == np.int32
    again = split.with_noise(share, seed)
    assert pairs(again.train) == pairs(noisy.train) and noisy.test is split.test
    # Less noise of the same seed is a part of more.
    assert pairs(split.with_noise(share / 2, seed).train) <= pairs(noisy.train)


def test_noise_of_another_seed_differs_and_must_find_room():
    users, items = np.divmod(np.arange(30), 10)
    split = Split.from_table(table(users, items, ["train"] * 30), 6, 10)
    assert pairs(split.with_noise(0.5, 1).train) != pairs(split.with_noise(0.5, 2).train)
    full = Split.from_table(table(*np.divmod(np.arange(10), 2), ["train"] * 10), 5, 2)
    with pytest.raises(
        ValueError, match=r"1 false pairs are wanted, and only 0 pairs are not known: lower train.noise"
    ):
        full.with_noise(0.1, 0)


def test_what_else_is_known_is_never_held_out():
    split = Split.from_table(table([0, 0, 1, 1], [0, 2, 1, 0], ["train", "validation", "train", "test"]), 2, 3)
    known = split.knowing(np.array([0, 0, 0, 1, 1]), np.array([1, 1, 2, 0, 1]))
    assert list(zip(*(side.tolist() for side in known.train), strict=True)) == [(0, 0), (0, 1), (1, 1)]
    assert known.test is split.test and known.validation is split.validation
