"""One thread that writes: what many tasks want written at the same moment becomes durable in one commit."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]

_MOST_PER_COMMIT = 512


class GroupCommit:
    """Runs operations in order in a thread of its own; each is durable when its future is done.

    An operation must not write before it raises: its transaction is shared with others.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._queue: queue.SimpleQueue[tuple[Operation, asyncio.Future[Any] | None] | None] = queue.SimpleQueue()
        self._connect = connect
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Have an operation done; to be called in an event loop."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((operation, future))
        return future

    def post(self, operation: Operation) -> None:
        """Have an operation done that nobody waits for; `close` does. May be called anywhere."""
        self._queue.put((operation, None))

    def close(self) -> None:
        """Finish what was asked for. Raises what a posted operation raised."""
        self._queue.put(None)
        self._thread.join()
        if self._failure:
            raise self._failure

    def _work(self) -> None:
        connection = self._connect()
        try:
            while True:
                asked, last = self._gather()
                self._commit(connection, asked)
                if last:
                    return
        finally:
            connection.close()

    def _gather(self) -> tuple[list[tuple[Operation, asyncio.Future[Any] | None]], bool]:
        """What has been asked for until now, at least one thing; and whether that is all there will be."""
        asked: list[tuple[Operation, asyncio.Future[Any] | None]] = []
        while len(asked) < _MOST_PER_COMMIT:
            try:
                one = self._queue.get(block=not asked)
            except queue.Empty:
                break
            if one is None:
                return asked, True
            asked.append(one)
        return asked, False

    def _commit(
        self, connection: sqlite3.Connection, asked: list[tuple[Operation, asyncio.Future[Any] | None]]
    ) -> None:
        outcomes: list[tuple[asyncio.Future[Any] | None, Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for operation, future in asked:
                outcomes.append((future, operation(connection), None))
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            outcomes = [(future, None, error) for _, future in asked]
            self._failure = self._failure or error
        _resolve([outcome for outcome in outcomes if outcome[0] is not None])


def _resolve(outcomes: list[tuple[Any, Any, BaseException | None]]) -> None:
    if not outcomes:
        return

    def tell() -> None:
        for future, result, error in outcomes:
            if future.done():
                continue
            if error:
                future.set_exception(error)
            else:
                future.set_result(result)

    loop = outcomes[0][0].get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(tell)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits by itself. Write-ahead logging, durable at every commit."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
