"""A fixed number of workers over one stream of work."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Work = TypeVar("Work")


async def work_through(works: Iterable[Work], do: Callable[[Work], Awaitable[None]], concurrency: int) -> None:
    """Do every piece, `concurrency` at once; the stream is read only as fast as it is worked off.

    The first error stops all and is raised as it is.
    """
    queue = iter(works)

    async def worker() -> None:
        for work in queue:
            await do(work)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
