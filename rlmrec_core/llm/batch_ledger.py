"""Batches in the ledger: which requests each holds, how it stands, and whose they are until it has ended.

A batch is claimed (nothing that costs has gone out), creating (the server was asked to begin it, and its answer is not
known), submitted (the server has named it), gone (the server does not know it, or its results, any more: one run has
said so) and then closed: read, or given up. Whatever its state, it can be abandoned.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlmrec_core.llm.budget import Cost
from rlmrec_core.llm.database import is_alive
from rlmrec_core.llm.ledger import Ledger, claim, end_call, is_answered, keep_answer, settle
from rlmrec_core.llm.request import Request

RowState = Literal["failed", "too long", "declined"]
BatchState = Literal["claimed", "creating", "submitted", "gone"]


@dataclass(frozen=True)
class OpenBatch:
    """A batch that has not been read to its end.

    Attributes:
        name: Our name for it.
        remote_id: The server's, as soon as that is known.
        state: How it stands.
        file_id: The file that it was made from, as soon as that is handed in.
        since: When it came into its state, in seconds since 1970; 0 if that is not known.
        requests: How many requests it holds.
    """

    name: str
    remote_id: str | None
    state: BatchState = "claimed"
    file_id: str | None = None
    since: float = 0.0
    requests: int = 0


class BatchLedger:
    """The ledger as the batch client uses it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def claim(
        self, name: str, server: str, account: str, requests: Sequence[tuple[Request, float]], budget: float | None
    ) -> tuple[set[str], bool]:
        """Claim for a new batch the requests that nobody has answered or sent, as far as the money goes.

        requests: each with what it may cost. Returns the keys claimed, and whether the budget left any out.
        """
        owner = self._ledger.owner

        def operation(db: sqlite3.Connection) -> tuple[set[str], bool]:
            found = db.execute("SELECT committed FROM accounts WHERE name = ?", (account,)).fetchone()
            committed, claimed = found[0] if found else 0.0, set[str]()
            for request, reserved_usd in requests:
                known = db.execute("SELECT state, owner FROM requests WHERE key = ?", (request.key,)).fetchone()
                if known and (known[1] or is_answered(db, request.key, known[0])):
                    continue
                if budget is not None and committed + reserved_usd > budget + 1e-9:
                    return _opened(db, name, server, account, owner, claimed), True
                committed += reserved_usd
                claim(db, request, f"batch {name}", account, reserved_usd, "batched")
                claimed.add(request.key)
            return _opened(db, name, server, account, owner, claimed), False

        return await self._ledger.writes.submit(operation)

    async def now(
        self, name: str, state: BatchState, *, file_id: str | None = None, remote_id: str | None = None
    ) -> OpenBatch:
        """Note how a batch stands, and what is known of it. From `submitted` on any process may read it."""

        def operation(db: sqlite3.Connection) -> OpenBatch:
            db.execute(
                "UPDATE batches SET state = ?, since = ?, file_id = coalesce(?, file_id),"
                " remote_id = coalesce(?, remote_id) WHERE name = ?",
                (state, time.time(), file_id, remote_id, name),
            )
            return _read(db, "name = ?", name)[0][0]

        return await self._ledger.writes.submit(operation)

    async def open(self, server: str) -> list[OpenBatch]:
        """Batches of a server that nobody is about to submit and nobody has read to the end."""
        folder = self._ledger.path.with_name(f"{self._ledger.path.name}.owners")

        def operation(db: sqlite3.Connection) -> list[OpenBatch]:
            mine = self._ledger.owner
            found = _read(db, "server = ?", server)
            return [batch for batch, owner in found if batch.remote_id or owner == mine or not is_alive(folder, owner)]

        return await self._ledger.writes.submit(operation)

    async def is_open(self, name: str) -> bool:
        """Whether nobody has closed a batch."""
        return await self._ledger.writes.submit(lambda db: bool(_read(db, "name = ?", name)))

    async def answered(self, name: str, key: str, body: bytes, cost: Callable[[float, int], Cost]) -> bool:
        """Keep the answer to one row, and what it cost; False if the batch holds no such row, or not any more.

        cost: From the dollars that were set aside for the row, and the tokens of its input.
        """

        def operation(db: sqlite3.Connection) -> bool:
            call_id = _call_of(db, name, key)
            if call_id is not None:
                told = db.execute("SELECT held, counted_in FROM calls WHERE id = ?", (call_id,)).fetchone()
                keep_answer(db, call_id, key, body)
                settle(db, call_id, cost(*told))
            return call_id is not None

        return await self._ledger.writes.submit(operation)

    async def unanswered(self, name: str, key: str, reason: str, state: RowState) -> bool:
        """Note that a row was not served; False as in `answered`."""

        def operation(db: sqlite3.Connection) -> bool:
            call_id = _call_of(db, name, key)
            if call_id is not None:
                end_call(db, call_id, "refused", reason)
                db.execute(
                    "UPDATE requests SET state = ?, reason = ?, owner = NULL WHERE key = ?", (state, reason, key)
                )
            return call_id is not None

        return await self._ledger.writes.submit(operation)

    async def close(self, name: str, reason: str, *, lost: bool = False) -> list[str]:
        """Forget a batch; the keys of the rows that it left without any answer.

        lost: Whether these may have been billed; else what was set aside for them is free again.
        """

        def operation(db: sqlite3.Connection) -> list[str]:
            left = db.execute(
                "SELECT id, key FROM calls WHERE owner = ? AND state = 'batched'", (f"batch {name}",)
            ).fetchall()
            for call_id, _ in left:
                end_call(db, call_id, "lost" if lost else "released", reason)
            db.execute("UPDATE requests SET owner = NULL WHERE owner = ?", (f"batch {name}",))
            db.execute("DELETE FROM batches WHERE name = ?", (name,))
            return [key for _, key in left]

        return await self._ledger.writes.submit(operation)


def _read(db: sqlite3.Connection, where: str, value: str) -> list[tuple[OpenBatch, str]]:
    """Batches and their owners."""
    rows = db.execute(
        "SELECT owner, name, remote_id, state, file_id, since, (SELECT count(*) FROM calls WHERE"
        f" calls.owner = 'batch ' || name AND calls.state = 'batched') FROM batches WHERE {where}",
        (value,),
    ).fetchall()
    return [(OpenBatch(*batch), owner) for owner, *batch in rows]


def _opened(db: sqlite3.Connection, name: str, server: str, account: str, owner: str, claimed: set[str]) -> set[str]:
    if claimed:
        db.execute(
            "INSERT INTO batches (name, server, account, owner, state, since) VALUES (?, ?, ?, ?, 'claimed', ?)",
            (name, server, account, owner, time.time()),
        )
    return claimed


def _call_of(db: sqlite3.Connection, name: str, key: str) -> int | None:
    found = db.execute(
        "SELECT id FROM calls WHERE key = ? AND owner = ? AND state = 'batched'", (key, f"batch {name}")
    ).fetchone()
    return found[0] if found else None
