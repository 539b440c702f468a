"""An export as tables in Postgres, vectors as the type of pgvector."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import psycopg
from psycopg import Connection, sql
from psycopg.types.numeric import Float4

from rlmrec_core.export.tables import ExportError, ExportTables
from rlmrec_core.vectors import Float32Array

_COLUMNS = {
    "users": ("user_id text PRIMARY KEY", "vector vector NOT NULL"),
    "items": ("item_id text PRIMARY KEY", "title text", "vector vector NOT NULL"),
    "recommendations": (
        "user_id text NOT NULL",
        "rank int NOT NULL",
        "item_id text NOT NULL",
        "title text",
        "score real NOT NULL",
        "PRIMARY KEY (user_id, rank)",
    ),
}
_KEYS = {"users": ("user_id",), "items": ("item_id",), "recommendations": ("user_id", "rank")}


def write_postgres(tables: ExportTables, address: str, schema: str) -> dict[str, int]:
    """Bring the tables users, items and recommendations of `schema` to this export's rows; how many each has.

    All happens in one transaction: readers see the old rows or the new ones, and a crash leaves the old. Rows that are
    the same stay untouched, others are inserted, updated or deleted. The table `export` says what the rows are of.
    Raises ExportError if the server cannot be reached or lacks pgvector, if the schema holds another data set, and if
    a text cannot be stored.
    """
    try:
        with psycopg.connect(address, connect_timeout=20, application_name="rlmrec export") as connection:
            _create(connection, tables, schema)
            found = {
                "users": _replace(connection, schema, "users", _with_vectors(tables.vectors.users, tables.user_ids)),
                "items": _replace(
                    connection, schema, "items", _with_vectors(tables.vectors.items, tables.item_ids, tables.titles)
                ),
                "recommendations": _replace(connection, schema, "recommendations", _rows(tables)),
            }
            _say_what_it_is_of(connection, schema, tables)
            return found
    except psycopg.Error as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{address.partition('?')[0]}: {reason}; nothing was changed") from error


def _create(connection: Connection[Any], tables: ExportTables, schema: str) -> None:
    where = sql.Identifier(schema)
    # Two exports at once: the second waits for the first.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"rlmrec export {schema}"])
    if not connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
        connection.execute("CREATE EXTENSION vector")
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(where))
    _check_ours(connection, schema)
    for name, columns in _COLUMNS.items():
        table = sql.Identifier(schema, name)
        body = sql.SQL(", ").join(map(sql.SQL, columns))
        connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(table, body))
    export = sql.Identifier(schema, "export")
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} (data text, model text, written timestamptz, vector_size int)").format(
            export
        )
    )
    held = connection.execute(sql.SQL("SELECT data FROM {}").format(export)).fetchone()
    if held and held[0] != tables.data:
        raise ExportError(
            f"the schema {schema!r} holds the data set {held[0]!r}, not {tables.data!r}: choose another schema_name"
        )


def _check_ours(connection: Connection[Any], schema: str) -> None:
    """Refuse a schema with tables of our names that no export made: their rows would be deleted."""
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relname = ANY(%s::text[])",
        [schema, [*_COLUMNS, "export"]],
    )
    names = {row[0] for row in found}
    if names and "export" not in names:
        raise ExportError(
            f"the schema {schema!r} has tables that no export made ({', '.join(sorted(names))}): choose another "
            "schema_name"
        )


def _replace(connection: Connection[Any], schema: str, name: str, rows: Iterable[tuple[Any, ...]]) -> int:
    """Bring a table to exactly these rows."""
    table, fresh = sql.Identifier(schema, name), sql.Identifier(f"rlmrec_fresh_{name}")
    columns = [column.split()[0] for column in _COLUMNS[name] if not column.startswith("PRIMARY")]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    connection.execute(sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(fresh, table))
    cursor = connection.cursor()
    with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(fresh, names)) as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(sql.SQL("ANALYZE {}").format(fresh))  # else millions of rows are planned for like a thousand
    keys = sql.SQL(", ").join(map(sql.Identifier, _KEYS[name]))
    same = sql.SQL(" AND ").join(sql.SQL("old.{0} = new.{0}").format(sql.Identifier(key)) for key in _KEYS[name])
    values = [column for column in columns if column not in _KEYS[name]]
    changed = sql.SQL(" OR ").join(
        sql.SQL("old.{0} IS DISTINCT FROM EXCLUDED.{0}").format(sql.Identifier(one)) for one in values
    )
    setting = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(one)) for one in values)
    connection.execute(
        sql.SQL("DELETE FROM {} AS old WHERE NOT EXISTS (SELECT 1 FROM {} AS new WHERE {})").format(table, fresh, same)
    )
    connection.execute(
        sql.SQL(
            "INSERT INTO {table} AS old ({names}) SELECT {names} FROM {fresh} "
            "ON CONFLICT ({keys}) DO UPDATE SET {setting} WHERE {changed}"
        ).format(table=table, names=names, fresh=fresh, keys=keys, setting=setting, changed=changed)
    )
    return cursor.rowcount


def _say_what_it_is_of(connection: Connection[Any], schema: str, tables: ExportTables) -> None:
    export = sql.Identifier(schema, "export")
    connection.execute(sql.SQL("DELETE FROM {}").format(export))
    about = tables.about
    connection.execute(
        sql.SQL("INSERT INTO {} (data, model, written, vector_size) VALUES (%s, %s, %s, %s)").format(export),
        [about["data"], about["model"], about["written"], about["vector_size"]],
    )


def _with_vectors(vectors: Float32Array, *columns: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of the columns, each with its vector in the text form of pgvector."""
    for vector, *row in zip(vectors, *columns, strict=True):
        # The shortest digits that give the same float32 again.
        yield *row, "[" + ",".join(np.format_float_scientific(value) for value in vector) + "]"


def _rows(tables: ExportTables) -> Iterator[tuple[Any, ...]]:
    for batch in tables.lists.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield row["user_id"], row["rank"], row["item_id"], row["title"], Float4(row["score"])
