"""What texts would cost, before anything is asked: requests, tokens, dollars, likely and at most."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlmrec_core.config.text import LlmConfig, ProfileConfig
from rlmrec_core.llm.budget import Budget
from rlmrec_core.llm.ledger import Ledger
from rlmrec_core.llm.request import ChatRequest
from rlmrec_core.profiling.corpus import TrainCorpus
from rlmrec_core.profiling.previous import Previous
from rlmrec_core.profiling.prompts import PromptTooLong
from rlmrec_core.profiling.sources import sample_rows, source_parts
from rlmrec_core.profiling.writing import About, Prompts

_TOKENS_PER_WORD = 1.4  # of an English answer, with the JSON around it


@dataclass
class Plan:
    """What one side, or the reasons, would take.

    requests: to be sent; cached: answered already; duplicates: sent once for several rows; nothing_to_ask: rows without
    text, or kept from an earlier run. tokens: read by the model, in `count`: exact, estimated, or estimated and then
    corrected by what the same model billed before. usd_likely: answers as long as they were so far (or half the word
    limit); usd_high: every request bills all that it may. None where the price is unknown. Second questions, which some
    answers need, come on top of what is likely and are rarely more than high.
    """

    side: str
    rows: int = 0
    requests: int = 0
    cached: int = 0
    duplicates: int = 0
    nothing_to_ask: int = 0
    tokens: int = 0
    count: str = "exact"
    usd_likely: float | None = None
    usd_high: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def planned(
    side: str,
    sources: Iterable[About],
    prompts: Prompts[About],
    llm: LlmConfig,
    budget: Budget,
    ledger: Ledger,
    previous: Previous | None = None,
) -> Plan:
    """Go over the sources as a run would, and count instead of asking."""
    plan, seen, high = Plan(side, count=prompts.counter.label), set[int](), 0.0
    for source in sources:
        plan.rows += 1
        if source.is_empty or (previous and previous.kept(source.id, source_parts(source))):
            plan.nothing_to_ask += 1
            continue
        question = _question(source, prompts, llm)
        if question is None:
            plan.nothing_to_ask += 1
            continue
        request = question.request(prompts.counter)
        if ledger.answer(request.key) is not None:
            plan.cached += 1
        elif (short := int(request.key[:15], 16)) in seen:
            plan.duplicates += 1
        else:
            seen.add(short)
            plan.requests += 1
            plan.tokens += request.input_tokens
            high += budget.reserved_usd(request)
    return _priced(plan, high, prompts.max_words, llm, budget, ledger)


def _question(source: About, prompts: Prompts[About], llm: LlmConfig) -> ChatRequest | None:
    try:
        return ChatRequest.of(prompts.messages(source), prompts.form, llm)
    except PromptTooLong:
        return None


def _priced(plan: Plan, high: float, max_words: int, llm: LlmConfig, budget: Budget, ledger: Ledger) -> Plan:
    ratio, usual = ledger.calibration(str(llm.model))
    if plan.count == "estimated" and ratio != 1.0:
        plan.tokens, plan.count = round(plan.tokens * ratio), "estimated, corrected by earlier answers"
    answer = usual or min(max_words / 2 * _TOKENS_PER_WORD, llm.max_output_tokens)
    if budget.price:
        plan.usd_likely = round(budget.price.of(plan.tokens, round(plan.requests * answer)), 6)
        plan.usd_high = round(max(high, plan.usd_likely), 6)
    return plan


def touched_users(corpus: TrainCorpus, config: ProfileConfig) -> dict[str, float]:
    """How many user prompts a change of one item's profile reaches: mean and most over the items."""
    items = [
        int(corpus.items[row])
        for user in range(corpus.n_users)
        for row in sample_rows(corpus, "user", corpus.rows_of_user(user), config.max_reviews, config.seed)
    ]
    counts = np.bincount(np.asarray(items, np.int64), minlength=corpus.n_items)
    return {"mean": round(float(counts.mean()), 2), "most": int(counts.max(initial=0))}
