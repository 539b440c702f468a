import numpy as np
import pyarrow as pa
import pytest

from rlmrec_core.tables import USER_INDEX, TableError, check, embeddings_schema, vectors_of, vectors_table


def test_vectors_survive_the_table():
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    table = vectors_table(vectors)
    assert table.schema == embeddings_schema(3)
    assert table["id"].to_pylist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(vectors_of(table), vectors)
    np.testing.assert_array_equal(vectors_of(table.slice(1, 2)), vectors[1:3])


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"user": pa.array([0], pa.int32())}, "'user_id' is missing"),
        ({"user": pa.array([0], pa.int64()), "user_id": ["a"]}, "is int64, expected int32"),
        ({"user": pa.array([None], pa.int32()), "user_id": ["a"]}, "holds 1 nulls"),
    ],
)
def test_a_table_that_does_not_fit_is_named_with_its_column(columns, complaint):
    with pytest.raises(TableError, match=complaint) as error:
        check(pa.table(columns), USER_INDEX, "prepare/user_index")
    assert "prepare/user_index" in str(error.value)
