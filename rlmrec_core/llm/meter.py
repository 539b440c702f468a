"""What a run took: counts and latencies, in constant memory."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_STEP = 1.1  # ratio of two neighbouring latencies that are told apart


@dataclass
class Meter:
    """Counts by name, faults by kind, and a histogram of latencies."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    _latencies: Counter[int] = field(default_factory=Counter)

    def latency(self, seconds: float) -> None:
        """Note how long an answer took."""
        self._latencies[math.ceil(math.log(max(seconds, 1e-4), _STEP))] += 1

    def report(self) -> dict[str, Any]:
        """Plain JSON; latencies in seconds, at most a tenth too high."""
        quantiles = {f"p{round(100 * q)}": self._quantile(q) for q in (0.5, 0.95, 0.99)} if self._latencies else {}
        return {"requests": dict(+self.counts), "faults": dict(self.faults.most_common()), "latency": quantiles}

    def _quantile(self, share: float) -> float:
        left = share * self._latencies.total()
        for step in sorted(self._latencies):
            left -= self._latencies[step]
            if left <= 0:
                break
        return round(float(_STEP**step), 4)
