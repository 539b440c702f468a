from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlmrec_core import tables
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


def value_of(kind: pa.DataType):
    """Some value of a type."""
    if pa.types.is_list(kind):
        return [value_of(kind.value_type)] * 2
    if pa.types.is_struct(kind):
        return {kind.field(place).name: value_of(kind.field(place).type) for place in range(kind.num_fields)}
    plain = {pa.string(): "ä", pa.timestamp("us"): datetime(2020, 1, 2), pa.bool_(): True}
    return plain.get(kind, 7)


SCHEMAS = {name: one for name, one in vars(tables).items() if isinstance(one, pa.Schema)}


@pytest.mark.parametrize("schema", [*SCHEMAS.values(), embeddings_schema(3)], ids=[*SCHEMAS, "embeddings"])
def test_every_table_opens_in_pandas(schema, tmp_path):
    row = {field.name: value_of(field.type) for field in schema if field.name != "vector"}
    row |= {"vector": [7.0, 7.0, 7.0]} if "vector" in schema.names else {}
    pq.write_table(pa.Table.from_pylist([row], schema=schema), tmp_path / "table.parquet")
    frame = pd.read_parquet(tmp_path / "table.parquet")
    assert list(frame.columns) == schema.names
    for name, value in row.items():
        found = frame[name][0]
        assert (list(found) if isinstance(value, list) else found) == value
