"""What to make of an answer: a profile, another question, or the end."""

from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.profiling.parser import Profile, RejectedAnswer, parse_profile
from rlmrec_core.profiling.requests import ChatRequest

_RECITED = 12  # words in a row that nobody shares with the instructions by chance


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
        profile = parse_profile(answer.text, max_words=max_words)
        _check_recital(profile, request.messages[0]["content"])
    except RejectedAnswer as error:
        raise Unusable(str(error), request.asked_again(answer.text, str(error))) from error
    return profile


def _check_recital(profile: Profile, instructions: str) -> None:
    """Raise RejectedAnswer where a profile recites the instructions: it echoes the prompt, or a review asked for it."""
    told = f" {' '.join(instructions.lower().split())} "
    for text in (profile.summarization, profile.reasoning):
        words = text.lower().split()
        runs = (words[place : place + _RECITED] for place in range(len(words) - _RECITED + 1))
        if any(f" {' '.join(run)} " in told for run in runs):
            raise RejectedAnswer("it repeats the instructions instead of following them")
