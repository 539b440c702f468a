"""The record of every paid request and answer, in SQLite: what is in it is never paid for again.

A call goes reserved -> sent -> answered (its raw body kept before anybody reads it), or released (it did not go out),
refused (the server declined to serve it) or lost (it went out and no answer came: possibly billed). A request, which
may take several calls, ends validated, rejected, declined or failed. Money is counted per account: what producing one
thing may cost, over all the runs that it takes.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rlmrec_core.canonical import canonical_json
from rlmrec_core.llm.answers import clean
from rlmrec_core.llm.budget import Cost
from rlmrec_core.llm.database import GroupCommit, connect, is_alive, owner
from rlmrec_core.llm.request import Request

# validated: something came of it. rejected: unusable, another request took its place. declined: the model will not.
# too long: beyond the model's context. failed: nothing usable came; the next run may send it again.
Outcome = Literal["validated", "rejected", "declined", "too long", "failed"]
Reserved = int | Literal["known", "busy", "wait", "over budget"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, model TEXT, state TEXT NOT NULL, owner TEXT, reason TEXT, parts TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, account TEXT NOT NULL, owner TEXT, state TEXT NOT NULL,
    held REAL NOT NULL, counted_in INTEGER NOT NULL, cost REAL, tokens_in INTEGER, tokens_out INTEGER,
    estimated INTEGER, reason TEXT, body BLOB
);
CREATE INDEX IF NOT EXISTS calls_by_key ON calls (key);
CREATE INDEX IF NOT EXISTS calls_under_way ON calls (owner) WHERE state IN ('reserved', 'sent', 'batched');
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, committed REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS servers (name TEXT PRIMARY KEY, capabilities TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, server TEXT NOT NULL, account TEXT NOT NULL, remote_id TEXT, owner TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'creating', file_id TEXT, since REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""
_ADDED = {  # columns that a ledger of version 0.1 lacks, by table
    "batches": ("state TEXT NOT NULL DEFAULT 'creating'", "file_id TEXT", "since REAL NOT NULL DEFAULT 0"),
}
_ANSWERED = ("answered", "validated", "rejected", "declined")


class Ledger:
    """Requests by their key and the calls that were made for them."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.owner = name
        self._read = connect(path)
        self.writes = GroupCommit(lambda: connect(path))

    def close(self) -> None:
        """Everything that was noted is durable afterwards."""
        try:
            self.writes.close()
        finally:
            self._read.close()

    # What is known

    def outcome(self, key: str) -> tuple[str, str | None] | None:
        """State and reason of a request; None if it was never made."""
        found: tuple[str, str | None] | None = self._read.execute(
            "SELECT state, reason FROM requests WHERE key = ?", (key,)
        ).fetchone()
        return found

    def answer(self, key: str) -> bytes | None:
        """The last raw answer to a request, unless nothing could be made of it."""
        if (known := self.outcome(key)) is None or known[0] not in _ANSWERED:
            return None
        found = self._read.execute(
            "SELECT body FROM calls WHERE key = ? AND state = 'answered' ORDER BY id DESC LIMIT 1", (key,)
        ).fetchone()
        return found[0] if found else None

    def spent_on(self, key: str) -> tuple[int, float | None]:
        """Calls made for a request over all runs, and dollars settled for them; None where the price is unknown."""
        calls, priced, dollars = self._read.execute(
            "SELECT count(*), count(cost), total(cost) FROM calls WHERE key = ? AND state != 'released'", (key,)
        ).fetchone()
        return calls, dollars if priced else None

    def account(self, name: str) -> dict[str, Any]:
        """Calls by state, tokens and dollars of one account; `possibly billed` is what lost calls may have cost."""
        rows = self._read.execute(
            "SELECT state, count(*), total(cost), total(held), total(tokens_in), total(tokens_out), total(estimated)"
            " FROM calls WHERE account = ? GROUP BY state",
            (name,),
        ).fetchall()
        by_state = {row[0]: row for row in rows}
        held = sum(row[3] for row in rows if row[0] in ("lost", "sent", "reserved", "batched"))
        settled = by_state.get("answered", (None, 0, 0.0, 0.0, 0, 0, 0))
        return {
            "calls": {state: row[1] for state, row in by_state.items()},
            "usd": round(settled[2], 6),
            "possibly_billed_usd": round(held, 6),
            "tokens_in": int(settled[4]),
            "tokens_out": int(settled[5]),
            "usage_estimated": int(settled[6]),
        }

    def calibration(self, model: str) -> tuple[float, float | None]:
        """Tokens billed per token counted, and mean tokens of an answer, over what this model answered so far."""
        counted, billed, mean_out = self._read.execute(
            "SELECT total(counted_in), total(calls.tokens_in), avg(tokens_out) FROM calls JOIN requests USING (key)"
            " WHERE model = ? AND calls.state = 'answered' AND estimated = 0 AND endpoint = 'chat'",
            (model,),
        ).fetchone()
        return (billed / counted if counted else 1.0), mean_out

    # Making a call

    async def reserve(
        self, request: Request, reserved_usd: float, account: str, budget: float | None, *, lie: float = 1.0
    ) -> Reserved:
        """Claim a request and set aside what it may cost; the id of the call, or why it may not be made.

        known: another process got the answer meanwhile. busy: another one has sent it. over budget: `reserved_usd` is
        more than what the account has left. wait: it fits, but not if it and what is under way each cost `lie` times
        what they reserved: one goes at a time. The claim of a process that has died is taken over, and its call
        counts as lost.
        """

        def operation(db: sqlite3.Connection) -> Reserved:
            found = db.execute("SELECT state, owner FROM requests WHERE key = ?", (request.key,)).fetchone()
            if found and is_answered(db, request.key, found[0]):
                return "known"
            if found and found[1] not in (None, self.owner):
                if found[1].startswith("batch ") or is_alive(_owners(self.path), found[1]):
                    return "busy"
                _give_up(db, found[1])
            committed = db.execute("SELECT committed FROM accounts WHERE name = ?", (account,)).fetchone()
            if budget is not None:
                after = (committed[0] if committed else 0.0) + reserved_usd
                if after > budget + 1e-9:
                    return "over budget"
                under_way = db.execute(
                    "SELECT total(held) FROM calls INDEXED BY calls_under_way"
                    " WHERE account = ? AND state IN ('reserved', 'sent', 'batched') AND state != 'batched'",
                    (account,),
                ).fetchone()[0]
                if under_way and after + (lie - 1) * (under_way + reserved_usd) > budget:
                    return "wait"
            return claim(db, request, self.owner, account, reserved_usd, "reserved")

        return await self.writes.submit(operation)

    async def sent(self, call_id: int) -> None:
        """Note, before it happens, that a call goes out."""
        await self.writes.submit(lambda db: _set(db, call_id, "sent"))

    async def answered(self, call_id: int, key: str, body: bytes) -> None:
        """Keep a raw answer: from here on a crash cannot lose it."""
        await self.writes.submit(lambda db: keep_answer(db, call_id, key, body))

    def unanswered(self, call_id: int, reason: str, *, lost: bool) -> None:
        """Note that no answer came: what was set aside stays so if the call may have been billed."""
        self.writes.post(lambda db: end_call(db, call_id, "lost" if lost else "refused", reason))

    def released(self, call_id: int) -> None:
        """Note that a call did not go out."""
        self.writes.post(lambda db: end_call(db, call_id, "released", None))

    async def settled(self, call_id: int, cost: Cost) -> None:
        """Put what an answer cost in the place of what was set aside for it."""
        await self.writes.submit(lambda db: settle(db, call_id, cost))

    def settle_later(self, call_id: int, cost: Cost) -> None:
        """As `settled`, without waiting."""
        self.writes.post(lambda db: settle(db, call_id, cost))

    def unsettled(self, key: str) -> list[int]:
        """Answered calls whose cost was not noted, because the process died before."""
        query = "SELECT id FROM calls WHERE key = ? AND state = 'answered' AND cost IS NULL AND tokens_in IS NULL"
        return [row[0] for row in self._read.execute(query, (key,))]

    def concluded(self, key: str, outcome: Outcome, reason: str | None = None) -> None:
        """Note what became of a request, and give up the claim to it."""
        self.writes.post(
            lambda db: db.execute(
                "UPDATE requests SET state = ?, reason = ?, owner = NULL WHERE key = ?",
                (outcome, _storable(reason), key),
            )
        )

    # What servers understand, and vectors

    def capabilities(self, server: str) -> str | None:
        """What was learnt of a server, as JSON."""
        found = self._read.execute("SELECT capabilities FROM servers WHERE name = ?", (server,)).fetchone()
        return found[0] if found else None

    def learnt(self, server: str, capabilities: str) -> None:
        """Remember what a server understands."""
        self.writes.post(lambda db: db.execute("INSERT OR REPLACE INTO servers VALUES (?, ?)", (server, capabilities)))

    def vector(self, key: str) -> bytes | None:
        """The embedding of a text, as float32."""
        found = self._read.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    async def keep_vectors(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """Keep the embeddings of one batch of texts, all or none."""
        await self.writes.submit(lambda db: db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows))

    async def note_failed(self, rows: Sequence[tuple[str, str]], endpoint: str, model: str) -> None:
        """Note what failed by itself inside requests for several things: its own key, and the reason."""
        noted = [(key, endpoint, model, _storable(reason)) for key, reason in rows]
        await self.writes.submit(
            lambda db: db.executemany(
                "INSERT INTO requests VALUES (?, ?, ?, 'failed', NULL, ?, NULL)"
                " ON CONFLICT (key) DO UPDATE SET state = 'failed', reason = excluded.reason",
                noted,
            )
        )

    async def reopen(self, keys: Sequence[str]) -> None:
        """Have requests sent again that were declined or too long."""
        await self.writes.submit(
            lambda db: db.executemany(
                "UPDATE requests SET state = 'failed' WHERE key = ? AND state IN ('declined', 'too long')",
                [(key,) for key in keys],
            )
        )

    def unread(self, endpoint: str, model: str) -> Iterator[tuple[str, str, bytes]]:
        """(key, parts, body) of answers that arrived in full and were never read, because the process died."""
        yield from self._read.execute(
            "SELECT key, parts, body FROM requests JOIN calls USING (key)"
            " WHERE endpoint = ? AND model = ? AND requests.state = 'answered' AND calls.state = 'answered'",
            (endpoint, model),
        ).fetchall()


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """The ledger in the file `path`, made if it is not there. What dead processes left behind is cleared up first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with owner(_owners(path)) as name:
        connection = connect(path)
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        _add_columns(connection)
        for (other,) in connection.execute(
            "SELECT DISTINCT owner FROM calls WHERE state IN ('reserved', 'sent')"
        ).fetchall():
            if not is_alive(_owners(path), other):
                _give_up(connection, other)
        connection.execute("COMMIT")
        connection.close()
        ledger = Ledger(path, name)
        try:
            yield ledger
        finally:
            ledger.close()


def _add_columns(db: sqlite3.Connection) -> None:
    for table, columns in _ADDED.items():
        known = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for column in columns:
            if column.split()[0] not in known:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def _owners(path: Path) -> Path:
    return path.with_name(f"{path.name}.owners")


def claim(
    db: sqlite3.Connection, request: Request, claimant: str, account: str, reserved_usd: float, state: str
) -> int:
    """Note a request, who sends it and what it may cost; the id of the call."""
    keys = canonical_json(request.input_keys) if request.input_keys else None
    db.execute(
        "INSERT INTO requests VALUES (?, ?, ?, 'open', ?, NULL, ?)"
        " ON CONFLICT (key) DO UPDATE SET state = 'open', owner = excluded.owner, reason = NULL",
        (request.key, request.endpoint, request.model, claimant, keys),
    )
    _commit_money(db, account, reserved_usd)
    made = db.execute(
        "INSERT INTO calls (key, account, owner, state, held, counted_in) VALUES (?, ?, ?, ?, ?, ?)",
        (request.key, account, claimant, state, reserved_usd, request.input_tokens),
    )
    return int(made.lastrowid or 0)


def is_answered(db: sqlite3.Connection, key: str, state: str) -> bool:
    """Whether a request in this state need not be sent: it has an answer, or will never get one."""
    found = "SELECT 1 FROM calls WHERE key = ? AND state = 'answered'"
    return state == "declined" or (state in _ANSWERED and db.execute(found, (key,)).fetchone() is not None)


def keep_answer(db: sqlite3.Connection, call_id: int, key: str, body: bytes) -> None:
    """The operation behind `Ledger.answered`."""
    db.execute("UPDATE calls SET state = 'answered', body = ? WHERE id = ?", (body, call_id))
    db.execute("UPDATE requests SET state = 'answered', owner = NULL WHERE key = ?", (key,))


def settle(db: sqlite3.Connection, call_id: int, cost: Cost) -> None:
    """The operation behind `Ledger.settled`; a second time changes nothing."""
    account, held, known = db.execute("SELECT account, held, tokens_in FROM calls WHERE id = ?", (call_id,)).fetchone()
    if known is None:
        db.execute(
            "UPDATE calls SET cost = ?, tokens_in = ?, tokens_out = ?, estimated = ? WHERE id = ?",
            (cost.usd, cost.tokens_in, cost.tokens_out, cost.estimated, call_id),
        )
        _commit_money(db, account, (cost.usd or 0.0) - held)


def end_call(db: sqlite3.Connection, call_id: int, state: str, reason: str | None) -> None:
    """End a call without an answer; unless it is lost, and may have been billed, its money is free again.

    An answer that was kept stays: whoever sent the call may have been stopped while it was being written.
    """
    account, held, now = db.execute("SELECT account, held, state FROM calls WHERE id = ?", (call_id,)).fetchone()
    if now == "answered":
        return
    db.execute("UPDATE calls SET state = ?, reason = ? WHERE id = ?", (state, _storable(reason), call_id))
    if state != "lost":
        _commit_money(db, account, -held)


def _storable(reason: str | None) -> str | None:
    return None if reason is None else clean(reason)[:2000]


def _set(db: sqlite3.Connection, call_id: int, state: str) -> None:
    db.execute("UPDATE calls SET state = ? WHERE id = ?", (state, call_id))


def _commit_money(db: sqlite3.Connection, account: str, amount: float) -> None:
    db.execute(
        "INSERT INTO accounts VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET committed = committed + excluded.committed",
        (account, amount),
    )


def _give_up(db: sqlite3.Connection, dead: str) -> None:
    """End the calls of a process that has died: those that had gone out may have been billed."""
    under_way = db.execute("SELECT id, state FROM calls WHERE owner = ? AND state IN ('reserved', 'sent')", (dead,))
    for call_id, state in under_way.fetchall():
        end_call(db, call_id, "lost" if state == "sent" else "released", "its process ended")
    db.execute("UPDATE requests SET owner = NULL WHERE owner = ?", (dead,))
