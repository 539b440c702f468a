"""Rate limits as OpenAI states and enforces them: buckets that fill all the time."""

import time
from dataclasses import dataclass
from typing import Any

from tests.fake_llm.faults import Fault, error


@dataclass
class Limits:
    """At most so many requests a minute; a second's worth may come at once."""

    requests_per_minute: float

    def __post_init__(self) -> None:
        self._level, self._filled = self._most, time.monotonic()

    @property
    def _most(self) -> float:
        return max(self.requests_per_minute / 60, 1.0)

    def _fill(self) -> None:
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._filled) * self.requests_per_minute / 60)
        self._filled = now

    def refusal(self, body: dict[str, Any]) -> Fault | None:
        """What one request more is answered, if it is one too many."""
        self._fill()
        if self._level < 1:
            wait = (1 - self._level) * 60 / self.requests_per_minute
            return error(429, "rate_limit_exceeded", retry_after_ms=f"{1000 * wait:.0f}")
        self._level -= 1
        return None

    def headers(self) -> dict[str, str]:
        """What every answer tells of the limit."""
        self._fill()
        reset = (self._most - self._level) * 60 / self.requests_per_minute
        return {
            "x-ratelimit-limit-requests": f"{self.requests_per_minute:.0f}",
            "x-ratelimit-remaining-requests": f"{int(self._level)}",
            "x-ratelimit-reset-requests": f"{1000 * reset:.0f}ms",
        }
