"""A fixed number of workers over one stream of work, their results in the order of the work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")

_AHEAD = 1024  # results that may wait for a slower one before them


async def in_order(
    works: Iterable[Work], do: Callable[[Work], Awaitable[Result]], concurrency: int
) -> AsyncIterator[Result]:
    """The result of every piece, `concurrency` at once; works are read only as fast as they are worked off.

    After an error no new piece is begun, those under way are finished, and the first error is raised as it is.
    """
    queue = enumerate(works)
    done: dict[int, Result] = {}
    room = asyncio.Semaphore(concurrency + _AHEAD)
    news = asyncio.Event()
    errors: list[BaseException] = []

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
            errors.append(error)
            for _ in range(concurrency):
                room.release()  # whoever waits for room shall see the error
        finally:
            news.set()

    workers = [asyncio.create_task(worker()) for _ in range(concurrency)]
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
        if errors:
            raise errors[0]
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


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
