"""What to make of an answer: a profile, another question, or the end."""

from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.profiling.parser import Profile, RejectedAnswer, parse_profile
from rlmrec_core.profiling.requests import ChatRequest


class Unusable(Exception):
    """An answer without a profile; `instead` is the request worth asking next, None where the model declined."""

    def __init__(self, reason: str, instead: ChatRequest | None = None) -> None:
        super().__init__(reason)
        self.instead = instead


def judge(request: ChatRequest, answer: ChatAnswer, max_words: int) -> Profile:
    """The profile in an answer. An answer that was cut off is never repaired. Raises Unusable."""
    if answer.refusal or answer.finish_reason == "content_filter":
        raise Unusable(f"the model declined: {(answer.refusal or 'content filter')[:200]}")
    if answer.finish_reason == "length":
        raise Unusable(f"cut off at {request.max_output_tokens} tokens", request.with_longer_cap())
    try:
        return parse_profile(answer.text, max_words=max_words)
    except RejectedAnswer as error:
        raise Unusable(str(error), request.asked_again(answer.text, str(error))) from error
