"""What can go wrong with a request, and what each fault means for it and for the run."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import openai

_STOP_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_TOO_LONG = re.compile(
    r"context.?(length|size|window)|maximum context|too many (input )?tokens|prompt is too long", re.IGNORECASE
)


class RequestFailed(Exception):
    """One request that the server did not serve; others may fare better."""


class ContextTooLong(RequestFailed):
    """A prompt longer than the model reads: a shorter one may be served."""


class RequestRejected(RequestFailed):
    """The server calls the request itself wrong (400): the same request need not be sent again."""


class RunStopped(Exception):
    """The run cannot go on. What was paid for is kept: the same run, started again, goes on from there."""


class ServerRefused(RunStopped):
    """The server serves nobody like this: no connection, wrong key, no quota, unknown model."""


class BudgetReached(RunStopped):
    """The next request might cost more than what is left of the budget."""


class BrokenAnswer(ValueError):
    """A body with status 200 that holds no answer: HTML, broken JSON, an error, no choices."""


def is_out_of_quota(error: BaseException) -> bool:
    """A 429 that no waiting cures."""
    return isinstance(error, openai.APIStatusError) and (
        error.code in _STOP_CODES or getattr(error, "type", None) in _STOP_CODES
    )


def is_throttled(error: BaseException) -> bool:
    """The server asks to be asked less."""
    return isinstance(error, openai.RateLimitError) and not is_out_of_quota(error)


def may_be_billed(error: BaseException) -> bool:
    """Whether the server may have done the work although no answer came of it."""
    return isinstance(error, (openai.APIConnectionError, BrokenAnswer))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may fare better later."""
    if isinstance(error, openai.APIStatusError):
        code = error.status_code
        return is_throttled(error) or code in {408, 409} or code >= 500
    return may_be_billed(error)


def is_too_long(error: openai.APIStatusError) -> bool:
    """Whether the server says that the prompt exceeds the model's context."""
    return error.status_code in {400, 413} and (error.code == "context_length_exceeded" or says_too_long(str(error)))


def says_too_long(message: str) -> bool:
    """Whether a refusal's words complain of the prompt's length."""
    return bool(_TOO_LONG.search(message))


def kind_of(error: BaseException) -> str:
    """A fault's name in reports."""
    if isinstance(error, openai.APIStatusError):
        return f"http {error.status_code}"
    if isinstance(error, openai.APITimeoutError):
        return "timeout"
    return "connection lost" if isinstance(error, openai.APIConnectionError) else "broken answer"


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date."""
    exact, told = headers.get("retry-after-ms"), headers.get("retry-after")
    for value, seconds in ((exact, 0.001), (told, 1.0)):
        try:
            return max(float(value or "") * seconds, 0.0)
        except ValueError:
            continue
    try:
        return max(parsedate_to_datetime(told or "").timestamp() - time.time(), 0.0)
    except ValueError:
        return None
