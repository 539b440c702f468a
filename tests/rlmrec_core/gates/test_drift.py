"""How data changed, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.gates import population_stability, vector_shift
from rlmrec_core.gates.drift import aligned, of_popularity


def test_the_index_by_hand():
    # (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5)
    expected = 0.1 * math.log(1.2) - 0.1 * math.log(0.8)
    assert population_stability([50, 50], [60, 40]) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=9))
def test_the_index_is_symmetric_and_zero_only_of_the_same(pairs):
    before, after = zip(*pairs, strict=True)
    index = population_stability(before, after)
    assert index == pytest.approx(population_stability(after, before)) and index >= 0
    assert population_stability(before, [3 * count for count in before]) == pytest.approx(0, abs=1e-2)


def test_bins_that_only_one_side_has():
    assert aligned({1.0: 5, 2.0: 3}, {2.0: 4, 4.0: 1}) == ([5, 3, 0], [0, 4, 1])


def test_popularity_knows_the_items():
    before = {f"i{n}": 10 for n in range(20)}
    assert of_popularity(before, before).value == 0
    moved = {f"i{n}": 20 if n < 10 else 1 for n in range(20)}
    new = {f"j{n}": 10 for n in range(20)}
    assert 0.25 < of_popularity(before, moved).value < of_popularity(before, new).value


def test_the_mean_vector_turns():
    right, up = np.array([[1, 0], [1, 0], [0, 0]], np.float32), np.array([[0, 1]], np.float32)
    assert vector_shift("item", right, right)[0].value == pytest.approx(0)
    assert vector_shift("item", right, up)[0].value == pytest.approx(1)
    assert vector_shift("item", right, np.ones((2, 3), np.float32)) == []
    assert vector_shift("item", right * 0, up)[0].value == 0
