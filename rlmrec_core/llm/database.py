"""SQLite for many tasks and processes: group commits, and names of processes by which a dead one is known."""

import asyncio
import fcntl
import logging
import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

T = TypeVar("T")
Outcome = tuple["asyncio.Future[Any] | None", Any, "BaseException | None"]
Operation = Callable[[sqlite3.Connection], Any]

_log = logging.getLogger(__name__)
_MOST_PER_COMMIT = 512
_PATIENCE = 60  # seconds until a file that others keep locked is an error


class GroupCommit:
    """One thread that writes: what many tasks want written at the same moment becomes durable in one commit.

    Operations run in order, and each is durable when its future is done.

    A transaction is shared by several operations; where one of them fails, each is done once more in its own.
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
                operations, last = self._gather()
                self._commit(connection, operations)
                if last:
                    return
        finally:
            connection.close()

    def _gather(self) -> tuple[list[tuple[Operation, asyncio.Future[Any] | None]], bool]:
        """What has been asked for until now, at least one thing; and whether that is all there will be."""
        operations: list[tuple[Operation, asyncio.Future[Any] | None]] = []
        while len(operations) < _MOST_PER_COMMIT:
            try:
                one = self._queue.get(block=not operations)
            except queue.Empty:
                break
            if one is None:
                return operations, True
            operations.append(one)
        return operations, False

    def _commit(
        self, connection: sqlite3.Connection, operations: list[tuple[Operation, asyncio.Future[Any] | None]]
    ) -> None:
        outcomes: list[Outcome] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for operation, future in operations:
                outcomes.append((future, operation(connection), None))
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(operations) > 1:
                # One bad member must not take the others with it: each once more, on its own.
                for one in operations:
                    self._commit(connection, [one])
                return
            outcomes = [(operations[0][1], None, error)]
            if operations[0][1] is None:
                _log.warning("a note could not be kept in the ledger: %r", error)
                if isinstance(error, sqlite3.OperationalError):  # such as a full disk
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
    """A connection that commits by itself. Write-ahead logging, durable at every commit.

    Raises sqlite3.OperationalError if other processes keep a new file locked for a minute.
    """
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    _log_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


# SQLite gives up at once, whatever the timeout, where two processes that start together both turn the log on.
@retry(retry=retry_if_exception(_is_busy), wait=wait_random(0.01, 0.1), stop=stop_after_delay(_PATIENCE), reraise=True)
def _log_ahead(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")


@contextmanager
def owner(folder: Path) -> Iterator[str]:
    """A name for this process for the length of the block, and a locked file that the kernel frees however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    path = folder / name
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)


def is_alive(folder: Path, name: str) -> bool:
    """Whether the process that holds a name still runs."""
    try:
        with (folder / name).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    (folder / name).unlink(missing_ok=True)
    return False
