from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.shard import WHOLE, Shard


@given(st.integers(0, 1000), st.integers(1, 60))
def test_the_shards_are_the_whole_and_about_equal(n, total):
    shards = [Shard(number, total).of(n) for number in range(total)]
    assert [one for shard in shards for one in shard] == list(WHOLE.of(n))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
