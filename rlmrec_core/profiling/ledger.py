"""The record of every paid request and answer, in SQLite: what is in it is never paid for again."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

# validated: a profile came of it. rejected: unusable, and another request took its place. refused: the model declined.
# failed: nothing usable came; the next run may send it again.
State = Literal["validated", "rejected", "refused", "failed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    key TEXT PRIMARY KEY, model TEXT, state TEXT NOT NULL, attempts INTEGER NOT NULL, reason TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_key ON answers (key);
"""


class Ledger:
    """Requests by their key, and every raw answer that arrived, kept before anybody reads it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def usable_answer(self, key: str) -> bytes | None:
        """The last raw answer to a request, unless nothing could be made of it."""
        found = self._db.execute(
            "SELECT body FROM answers JOIN requests USING (key)"
            " WHERE key = ? AND state IN ('answered', 'validated', 'rejected', 'refused') ORDER BY id DESC LIMIT 1",
            (key,),
        ).fetchone()
        return found[0] if found else None

    def attempts(self, key: str) -> int:
        """How often a request was sent, over all runs."""
        found = self._db.execute("SELECT attempts FROM requests WHERE key = ?", (key,)).fetchone()
        return found[0] if found else 0

    def sent(self, key: str, model: str) -> None:
        """Note, before it happens, that a request goes out."""
        self._db.execute(
            "INSERT INTO requests VALUES (?, ?, 'sent', 1, NULL)"
            " ON CONFLICT (key) DO UPDATE SET state = 'sent', attempts = attempts + 1, reason = NULL",
            (key, model),
        )

    def answered(self, key: str, body: bytes) -> None:
        """Keep a raw answer: from here on a crash cannot lose it."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT INTO answers (key, body) VALUES (?, ?)", (key, body))
        self._db.execute("UPDATE requests SET state = 'answered' WHERE key = ?", (key,))
        self._db.execute("COMMIT")

    def settled(self, key: str, state: State, reason: str | None = None) -> None:
        """Note what became of a request."""
        self._db.execute("UPDATE requests SET state = ?, reason = ? WHERE key = ?", (state, reason, key))

    def vector(self, key: str) -> bytes | None:
        """The embedding of a text, as float32."""
        found = self._db.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def keep_vectors(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Keep the embeddings of one batch of texts, all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        self._db.execute("COMMIT")


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """The ledger in the file `path`, made if it is not there. Write-ahead logging, durable at every commit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        yield Ledger(connection)
