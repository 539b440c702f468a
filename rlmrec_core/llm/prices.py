"""What a call costs: from the settings, else from a dated table, else unknown. No price is ever guessed."""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

_MILLION = 1_000_000
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens read and written, and where the figures come from."""

    tokens_in: float
    tokens_out: float
    source: str

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """US dollars."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / _MILLION


def find_price(
    model: str, base_url: str | None, given: tuple[float | None, float | None], *, batch: bool = False
) -> Price | None:
    """The price of a model at an address; None if nobody said. given: the settings' own, per million tokens.

    A price given is the one that is charged; the table's is lowered by the share that batches pay.
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
