"""Batches in the ledger: which requests each holds, and whose they are until it has ended."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlmrec_core.llm.budget import Cost
from rlmrec_core.llm.database import is_alive
from rlmrec_core.llm.ledger import Ledger, claim, end_call, keep_answer, settle
from rlmrec_core.llm.request import Request

RowState = Literal["failed", "too long"]


@dataclass(frozen=True)
class OpenBatch:
    """A batch that has not been read to its end. remote_id is None until the server's name for it is known."""

    name: str
    remote_id: str | None


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
                if known and (known[0] in ("answered", "validated", "rejected", "declined") or known[1]):
                    continue
                if budget is not None and committed + reserved_usd > budget + 1e-9:
                    return _opened(db, name, server, account, owner, claimed), True
                committed += reserved_usd
                claim(db, request, f"batch {name}", account, reserved_usd, "batched")
                claimed.add(request.key)
            return _opened(db, name, server, account, owner, claimed), False

        return await self._ledger.writes.submit(operation)

    async def submitted(self, name: str, remote_id: str) -> None:
        """Note the server's name of a batch: from here on any process may read it."""
        await self._ledger.writes.submit(
            lambda db: db.execute("UPDATE batches SET remote_id = ? WHERE name = ?", (remote_id, name))
        )

    async def open(self, server: str) -> list[OpenBatch]:
        """Batches of a server that nobody is about to submit and nobody has read to the end."""
        folder = self._ledger.path.with_name(f"{self._ledger.path.name}.owners")

        def operation(db: sqlite3.Connection) -> list[OpenBatch]:
            rows = db.execute("SELECT name, remote_id, owner FROM batches WHERE server = ?", (server,)).fetchall()
            mine = self._ledger.owner
            free = [row for row in rows if row[1] or row[2] == mine or not is_alive(folder, row[2])]
            return [OpenBatch(name, remote_id) for name, remote_id, _ in free]

        return await self._ledger.writes.submit(operation)

    async def answered(self, name: str, key: str, body: bytes, cost: Cost) -> bool:
        """Keep the answer to one row, and what it cost; False if the batch holds no such row, or not any more."""

        def operation(db: sqlite3.Connection) -> bool:
            call_id = _call_of(db, name, key)
            if call_id is not None:
                keep_answer(db, call_id, key, body)
                settle(db, call_id, cost)
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

    async def close(self, name: str, reason: str) -> list[str]:
        """Forget a batch; the keys of the rows that it left without any answer."""

        def operation(db: sqlite3.Connection) -> list[str]:
            left = db.execute(
                "SELECT id, key FROM calls WHERE owner = ? AND state = 'batched'", (f"batch {name}",)
            ).fetchall()
            for call_id, _ in left:
                end_call(db, call_id, "released", reason)
            db.execute("UPDATE requests SET owner = NULL WHERE owner = ?", (f"batch {name}",))
            db.execute("DELETE FROM batches WHERE name = ?", (name,))
            return [key for _, key in left]

        return await self._ledger.writes.submit(operation)


def _opened(db: sqlite3.Connection, name: str, server: str, account: str, owner: str, claimed: set[str]) -> set[str]:
    if claimed:
        db.execute("INSERT INTO batches VALUES (?, ?, ?, NULL, ?)", (name, server, account, owner))
    return claimed


def _call_of(db: sqlite3.Connection, name: str, key: str) -> int | None:
    found = db.execute(
        "SELECT id FROM calls WHERE key = ? AND owner = ? AND state = 'batched'", (key, f"batch {name}")
    ).fetchone()
    return found[0] if found else None
