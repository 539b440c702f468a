"""Money: what a request costs, what may be spent, and what a run took."""

import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from rlmrec_core.config.text import LlmConfig, MissingSetting
from rlmrec_core.llm.answers import Usage
from rlmrec_core.llm.request import Request

_MILLION = 1_000_000
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_STEP = 1.1  # ratio of two neighbouring latencies that are told apart


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens of input and output, and where the figures come from."""

    input: float
    output: float
    source: str

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / _MILLION


def find_price(
    model: str, base_url: str | None, given: tuple[float | None, float | None], *, batch: bool = False
) -> Price | None:
    """The price of a model: from the settings, else from a dated table, else unknown. It is never guessed.

    Args:
        model: The model's name.
        base_url: The server's address; the table speaks of OpenAI's own alone.
        given: The settings' own prices, in US dollars per million tokens. Such a price is charged as it is.
        batch: Whether the batch endpoint is used, which lowers the table's price.

    Returns:
        The price, or None if nobody named one.
    """
    if given[0] is not None:
        return Price(given[0], given[1] or 0.0, "settings")
    table = _table()
    listed = table["models"].get(model) or table["models"].get(_SNAPSHOT.sub("", model))
    if listed is None or urlsplit(base_url or "https://api.openai.com").hostname != "api.openai.com":
        return None
    share = table["batch_share"] if batch else 1.0
    return Price(listed[0] * share, listed[1] * share, f"table read in {table['read']}")


@lru_cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("rlmrec_core.llm").joinpath("prices.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Cost:
    """What an answer was billed: US dollars (None: unknown price), tokens, and whether these had to be estimated."""

    usd: float | None
    tokens_in: int
    tokens_out: int
    estimated: bool


@dataclass(frozen=True)
class Budget:
    """What may be spent: on which account of the ledger, at which price, up to how many US dollars (None: no limit)."""

    account: str
    price: Price | None = None
    usd: float | None = None

    @classmethod
    def of(cls, config: LlmConfig, account: str) -> "Budget":
        """The budget that resolved settings give. Raises MissingSetting if it has no price to be measured with."""
        given = (config.price_in, config.price_out)
        price = find_price(config.model or "", config.base_url, given, batch=config.mode == "batch")
        if config.budget_usd is not None and price is None:
            raise MissingSetting(
                f"the price of {config.model} is unknown, so no budget can hold: set price_in and price_out"
            )
        return cls(account, price, config.budget_usd)

    def reserved_usd(self, request: Request, thoughts: int = 0) -> float:
        """Dollars that a request can cost at most, with so many tokens of thoughts beside the answer.

        0 where the price is unknown, which no budget allows.
        """
        return self.price.of(request.max_input_tokens, _most_out(request, thoughts)) if self.price else 0.0

    def cost(self, request: Request, usage: Usage, thoughts: int = 0) -> Cost:
        """What an answer was billed. Where the server does not say, or says 0, it counts as all that was reserved."""
        tokens_in = usage.tokens_in or request.max_input_tokens
        tokens_out = usage.tokens_out or _most_out(request, thoughts)
        usd = self.price.of(tokens_in, tokens_out) if self.price else None
        told = bool(usage.tokens_in and (usage.tokens_out or not request.max_output_tokens))
        return Cost(usd, tokens_in, tokens_out, estimated=not told)


def _most_out(request: Request, thoughts: int) -> int:
    return request.max_output_tokens + thoughts if request.max_output_tokens else 0


@dataclass
class UsageStats:
    """What a run took, in constant memory: counts by name, faults by kind, a histogram of latencies, and money.

    Attributes:
        counts: Requests sent, found in the ledger, and so on.
        faults: Faults of the server by kind.
        ledger: What the ledger says of the run's account; known once the client is closed.
        price: The price that was charged.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ledger: dict[str, Any] = field(default_factory=dict)
    price: Price | None = None
    _latencies: Counter[int] = field(default_factory=Counter)

    def latency(self, seconds: float) -> None:
        """Note how long an answer took."""
        self._latencies[math.ceil(math.log(max(seconds, 1e-4), _STEP))] += 1

    def report(self) -> dict[str, Any]:
        """Plain JSON; latencies in seconds, at most a tenth too high."""
        quantiles = {f"p{round(100 * q)}": self._quantile(q) for q in (0.5, 0.95, 0.99)} if self._latencies else {}
        price = self.price
        listed = {"in": price.input, "out": price.output, "source": price.source} if price else "unknown"
        return {
            "requests": dict(+self.counts),
            "faults": dict(self.faults.most_common()),
            "latency": quantiles,
            "ledger": self.ledger,
            "price_per_million": listed,
        }

    def _quantile(self, share: float) -> float:
        left = share * self._latencies.total()
        for step in sorted(self._latencies):
            left -= self._latencies[step]
            if left <= 0:
                break
        return round(float(_STEP**step), 4)
