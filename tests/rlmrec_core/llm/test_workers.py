"""Work in order, and what becomes of it when the process is asked to end."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from rlmrec_core.llm.workers import Terminated, batched_run, check_stopped, in_order


class Cancelled(BaseException):
    """What Prefect's own handler of SIGTERM raises is no Exception either."""


def cancel(*_: object) -> None:
    raise Cancelled


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """SIGTERM is handled as in a flow run."""
    usual = signal.signal(signal.SIGTERM, cancel)
    yield
    signal.signal(signal.SIGTERM, usual)


def test_what_is_under_way_ends_and_nothing_new_begins() -> None:
    begun, ended, taken = [], [], []

    async def work(number: int) -> int:
        begun.append(number)
        if number == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05 if number > 3 else 0)
        ended.append(number)
        return number

    with pytest.raises(Cancelled):
        for batch in batched_run(in_order(range(1000), work, 4), 2):
            taken += batch
    assert sorted(ended) == begun and 6 <= len(begun) <= 12
    assert taken == begun[: len(taken)]
    assert signal.getsignal(signal.SIGTERM) is cancel


def test_what_waits_for_its_turn_is_not_sent() -> None:
    sent = []

    async def work(number: int) -> None:
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)  # as a rate limiter would
        check_stopped()
        sent.append(number)

    async def all_of_them() -> None:
        async for _ in in_order(range(4), work, 4):
            pass

    with pytest.raises(Cancelled):
        asyncio.run(all_of_them())
    assert sent == []
    check_stopped()  # only what belongs to that work is stopped


def test_without_a_handler_or_in_another_thread_nothing_is_changed() -> None:
    async def work(number: int) -> object:
        return signal.getsignal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert list(batched_run(in_order(range(2), work, 2), 2)) == [[signal.SIG_DFL] * 2]
    assert issubclass(Terminated, Exception)
