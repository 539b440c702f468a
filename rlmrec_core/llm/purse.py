"""What may be spent, and what a call sets aside and costs."""

from dataclasses import dataclass

from rlmrec_core.llm.answers import Usage
from rlmrec_core.llm.calls import Call
from rlmrec_core.llm.ledger import Cost
from rlmrec_core.llm.prices import Price


@dataclass
class Purse:
    """What may be spent: on whose account, at which price, up to how many dollars."""

    account: str
    price: Price | None = None
    budget: float | None = None

    def most(self, call: Call) -> float:
        """Dollars that a call can cost at most; 0 where the price is unknown, which no budget allows."""
        return self.price.of(call.most_tokens_in, call.cap) if self.price else 0.0

    def cost(self, call: Call, usage: Usage, body: bytes) -> Cost:
        """What an answer was billed. Where the server does not say it is estimated from what was counted."""
        tokens_in = call.tokens_in if usage.tokens_in is None else usage.tokens_in
        tokens_out = usage.tokens_out
        if tokens_out is None:
            tokens_out = min(call.cap, len(body) // 4)
        usd = self.price.of(tokens_in, tokens_out) if self.price else None
        told = usage.tokens_in is not None and (usage.tokens_out is not None or not call.cap)
        return Cost(usd, tokens_in, tokens_out, estimated=not told)
