"""How many requests to one endpoint may be in flight, and how soon the next may be sent."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from rlmrec_core.llm.errors import ServerRefused

_HEADROOM = 0.985  # share of a server's limit that is used: two clocks never agree
_FIRST_IN_FLIGHT = 8.0
_LEAST = 1.0  # a minute; a smaller limit is a mistake, which would have every request wait in vain
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass
class TokenBucket:
    """A token bucket that follows a server's rate headers; without them it is bottomless."""

    at_once: int = 1  # processes that divide the server's limit among themselves
    rate: float | None = None  # units per second
    level: float = 0.0
    filled: float = 0.0  # when `level` was right

    def wait(self, now: float) -> float:
        """Seconds until a request may go. A request may run the bucket into debt, which later ones wait off."""
        if self.rate is None:
            return 0.0
        self._fill(now)
        return 0.0 if self.level > 0 else (1e-3 - self.level) / self.rate

    def take(self, amount: float) -> None:
        """Note what a request uses."""
        self.level -= amount

    def observe(self, limit: str | None, remaining: str | None, now: float) -> None:
        """Follow the headers of an answer: so many a minute, so many left."""
        if (allowed := _number(limit)) is None or allowed < _LEAST:
            return
        if self.rate is None:
            self.level, self.filled = 1.0, now
        self._fill(now)
        self.rate = allowed * _HEADROOM / 60 / self.at_once
        if (left := _number(remaining)) is not None:
            self.level = min(self.level, max(left, 0.0) / self.at_once)

    def _fill(self, now: float) -> None:
        rate = self.rate or 0.0
        # At most a second's worth is saved up: what a stall delayed may follow at once, a burst may not.
        self.level = min(self.level + (now - self.filled) * rate, max(rate, 1.0))
        self.filled = now


@dataclass
class RateLimiter:
    """Admits requests to one endpoint: concurrency by AIMD, two token buckets fed by rate headers, one shared pause.

    at_once: how many processes send at the same time, each with its share of all limits.
    """

    most_in_flight: int
    longest_pause: float = 900.0
    at_once: int = 1
    in_flight: int = 0

    def __post_init__(self) -> None:
        self.requests, self.tokens = TokenBucket(self.at_once), TokenBucket(self.at_once)
        self._most = max(self.most_in_flight // self.at_once, 1)
        self._window = min(max(_FIRST_IN_FLIGHT / self.at_once, 1.0), float(self._most))
        self._ever_strained = False
        self._paused_until = self._shrunk_at = 0.0
        self._turn = asyncio.Lock()  # whoever holds it is next
        self._freed = asyncio.Event()

    @property
    def window(self) -> int:
        """Requests that may be under way at once."""
        return max(int(self._window), 1)

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[float]:
        """Held while one request is under way; waits until it may go. Yields the time at which it went."""
        async with self._turn:
            while delay := self._delay():
                await self._sleep(delay)
            self.requests.take(1)
            self.tokens.take(tokens)
            self.in_flight += 1
        try:
            yield time.monotonic()
        finally:
            self.in_flight -= 1
            self._freed.set()

    def _delay(self) -> float:
        now = time.monotonic()
        if self.in_flight >= self.window:
            return 3600.0  # until one comes back
        return max(self._paused_until - now, self.requests.wait(now), self.tokens.wait(now), 0.0)

    async def _sleep(self, delay: float) -> None:
        self._freed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._freed.wait(), delay)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Learn the limits that an answer states."""
        now = time.monotonic()
        for bucket, unit in ((self.requests, "requests"), (self.tokens, "tokens")):
            bucket.observe(headers.get(f"x-ratelimit-limit-{unit}"), headers.get(f"x-ratelimit-remaining-{unit}"), now)

    def went_well(self) -> None:
        """Room for more: one for every request at first, one for every round after the first refusal."""
        grown = self._window + (1 / self._window if self._ever_strained else 1.0)
        self._window = min(grown, float(self._most))

    def throttled(self, sent_at: float, wait: float) -> None:
        """Pause everybody, and halve the window.

        Raises ServerRefused if the server asks for more patience than a run has.
        """
        now = time.monotonic()
        if wait > self.longest_pause:
            raise ServerRefused(f"the server asks to wait {wait:,.0f} s: run again then, or raise deadline_seconds")
        self._paused_until = max(self._paused_until, now + wait)
        self.strained(sent_at)

    def strained(self, sent_at: float) -> None:
        """Halve the window, once for all the requests that were under way together."""
        self._ever_strained = True
        if sent_at >= self._shrunk_at:
            self._window, self._shrunk_at = max(self._window / 2, 1.0), time.monotonic()


def reset_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds until the bucket that is empty has something again; None if the headers name no empty one."""
    waits = [
        seconds_of(headers.get(f"x-ratelimit-reset-{unit}"))
        for unit in ("requests", "tokens")
        if _number(headers.get(f"x-ratelimit-remaining-{unit}")) == 0
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def seconds_of(text: str | None) -> float | None:
    """`120ms`, `6m0s` or plain seconds as seconds; None for anything else."""
    if (plain := _number(text)) is not None:
        return plain
    parts = re.findall(r"([\d.]+)(ms|s|m|h|d)", text or "")
    return sum(float(count) * _UNIT[unit] for count, unit in parts) if parts else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
