from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.parts import WHOLE, Part


@given(st.integers(0, 1000), st.integers(1, 60))
def test_the_parts_are_the_whole_and_about_equal(n, total):
    parts = [Part(number, total).of(n) for number in range(total)]
    assert [one for part in parts for one in part] == list(WHOLE.of(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
