"""What an answer holds for each text, however odd it is."""

import base64
import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.embedding.reading import read_embeddings
from rlmrec_core.llm.errors import BrokenAnswer

GOOD = [[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]]


def body(*rows):
    return json.dumps({"data": rows}).encode()


def rows(**changes):
    return [{"index": place, "embedding": vector} | changes for place, vector in enumerate(GOOD)]


def read(*given, n=3, **options):
    found = read_embeddings(body(*given), n, **options)
    return {place: vector.tolist() for place, vector in found.vectors.items()}, found.faults


@pytest.mark.parametrize(
    "indices",
    [[0, 1, 2], ["0", "1", "2"], [0.0, 1.0, 2.0], [None, 1, 2], [None, None, None], [0, None, 2], ["a", "b", "c"]],
)
def test_indices_and_their_lack_are_taken_where_there_is_one_way(indices):
    given = [{"index": index, "embedding": vector} for index, vector in zip(indices, GOOD, strict=True)]
    assert read(*given) == (dict(enumerate(GOOD)), {})


def test_the_one_index_that_is_left_out_of_a_reversed_order_is_known():
    given = rows()[::-1]
    del given[2]["index"]
    assert read(*given) == (dict(enumerate(GOOD)), {})


@pytest.mark.parametrize("indices", [[0, 0, 1], [1, 2, 3], [-1, 0, 1], [2, None, None], [True, False, None]])
def test_an_order_that_nobody_can_know_is_broken(indices):
    given = [{"index": index, "embedding": vector} for index, vector in zip(indices, GOOD, strict=True)]
    if indices == [True, False, None]:
        assert read(*given)[0] == dict(enumerate(GOOD))  # no indices at all
        return
    with pytest.raises(BrokenAnswer, match="indices"):
        read(*given)


def test_a_row_that_is_missing_fails_alone_if_the_others_are_named():
    vectors, faults = read(*rows()[1:])
    assert vectors == {1: GOOD[1], 2: GOOD[2]} and faults == {0: "the server sent no vector for it"}
    with pytest.raises(BrokenAnswer, match="nobody knows"):
        read({"embedding": GOOD[0]}, {"embedding": GOOD[1]})


BAD = {
    "null": None,
    "not finite": [float("nan"), 1.0],
    "infinite": [1e400, 1.0],
    "too long": [1e308, 1e308],
    "zero": [0.0, 0.0],
    "text": "no base64!",
    "half a number": base64.b64encode(b"abc").decode(),
    "of texts": ["1", "2"],
    "of nothing": [],
    "ragged": [[1.0], [2.0, 3.0]],
    "a vector for each token": GOOD,
    "an object": {"a": 1},
    "a number": 7,
    "true": [True, False],
    "another size": [1.0, 2.0, 3.0],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_vector_spoils_no_other(bad):
    given = rows()
    given[1]["embedding"] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vectors, faults = read(*given)
        assert vectors == {0: GOOD[0], 2: GOOD[2]} and faults.keys() == {1}
        if bad != BAD["another size"]:
            with pytest.raises(BrokenAnswer, match="vector"):
                read({"index": 0, "embedding": bad}, n=1)
            assert not read({"index": 0, "embedding": bad}, n=1, none_will_do=True)[0]


def test_base64_and_lists_of_one_list_are_decoded():
    encoded = base64.b64encode(np.array(GOOD[0], "<f4").tobytes()).decode()
    assert read({"index": 0, "embedding": encoded}, {"index": 1, "embedding": [GOOD[1]]}, n=2)[0] == {
        0: GOOD[0],
        1: GOOD[1],
    }


def test_the_known_size_decides_between_two():
    given = [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]
    assert read(*given, n=2, size=2)[0] == {1: [1.0, 2.0]}
    assert read(*given, n=2, size=1)[0] == {0: [1.0]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["index", "embedding", "data"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.lists(st.fixed_dictionaries({"index": JSON, "embedding": JSON}), max_size=3), st.integers(1, 3))
def test_any_answer_is_read_or_broken(given_rows, n):
    try:
        found = read_embeddings(json.dumps({"data": given_rows}).encode(), n)
    except BrokenAnswer:
        return
    assert found.vectors.keys() | found.faults.keys() == set(range(n))
    assert all(np.isfinite(vector).all() and np.linalg.norm(vector) > 0 for vector in found.vectors.values())
