"""A fixed number of workers over one stream of work, their results in the order of the work."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rlmrec_core.llm.errors import RunStopped

Work = TypeVar("Work")
Result = TypeVar("Result")

_AHEAD = 1024  # results that may wait for a slower one before them
_GRACE_SECONDS = 20.0  # for what is under way when the process is asked to end; Prefect kills it after 30

_stopped: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)


class Terminated(RunStopped):
    """The process was asked to end."""


def check_stopped() -> None:
    """Raise Terminated where the process was asked to end: nothing more may be sent."""
    stopped = _stopped.get()
    if stopped and stopped.is_set():
        raise Terminated("the run was stopped: what was under way is kept, run again to go on")


async def in_order(
    works: Iterable[Work], do: Callable[[Work], Awaitable[Result]], concurrency: int
) -> AsyncIterator[Result]:
    """The result of every piece, `concurrency` at once; works are read only as fast as they are worked off.

    After an error no new piece is begun, those under way are finished, and the first error is raised as it is. SIGTERM,
    by which a run is cancelled, has the same effect, with a limit to the time; then it goes its usual way.
    """
    queue = enumerate(works)
    done: dict[int, Result] = {}
    room = asyncio.Semaphore(concurrency + _AHEAD)
    news = asyncio.Event()
    errors: list[BaseException] = []
    stopped = threading.Event()
    _stopped.set(stopped)

    def fail(error: BaseException) -> None:
        errors.append(error)
        for _ in range(concurrency):
            room.release()  # whoever waits for room shall see the error
        news.set()

    async def worker() -> None:
        try:
            while not errors:
                await room.acquire()
                if errors or (following := next(queue, None)) is None:
                    return
                place, work = following
                done[place] = await do(work)
                news.set()
        except Exception as error:
            fail(error)
        finally:
            news.set()

    workers = [asyncio.create_task(worker()) for _ in range(concurrency)]

    def stop() -> None:
        stopped.set()
        fail(Terminated("the run was stopped: what was under way is kept, run again to go on"))
        for task in workers:
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, task.cancel)

    with _on_sigterm(stop):
        try:
            place = 0
            while place in done or not all(task.done() for task in workers):
                if place in done:
                    yield done.pop(place)
                    place += 1
                    room.release()
                    continue
                news.clear()
                await news.wait()
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    if stopped.is_set():
        signal.raise_signal(signal.SIGTERM)
    if errors:
        raise errors[0]


@contextmanager
def _on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """Have the running event loop do this on SIGTERM, where somebody handles the signal: else it just ends the process.

    Only the main thread hears signals.
    """
    usual = signal.getsignal(signal.SIGTERM)
    if not callable(usual) or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, usual)


def batched_run(results: AsyncIterator[Result], size: int) -> Iterator[list[Result]]:
    """Drive an event loop of one's own, a list of `size` results at a time."""

    async def take() -> list[Result]:
        taken: list[Result] = []
        async for result in results:
            taken.append(result)
            if len(taken) == size:
                break
        return taken

    with asyncio.Runner() as runner:
        while batch := runner.run(take()):
            yield batch
