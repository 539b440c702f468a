"""What can go wrong with a request, and what each fault means for it and for the run."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlmrec_core.llm.answers import Refusal

_NO_QUOTA = re.compile(
    r"insufficient[_ ](quota|credit|balance|fund)|billing[_ ](hard[_ ]limit|not[_ ]active)|exceeded your current quota"
    r"|out of credits|payment required|account (is )?(deactivated|suspended)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context.?(length|size|window)|maximum context|too many (input )?tokens|prompt is too long|input is too long"
    r"|string_above_max_length|context_length_exceeded",
    re.IGNORECASE,
)
_MODERATED = re.compile(
    r"content.?(filter|policy|management)|moderation|flagged|safety (system|setting|filter)|responsible.?ai"
    r"|violat\w+ .{0,40}polic",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(r"could not finish the message", re.IGNORECASE)


class RequestFailed(Exception):
    """One request that the server did not serve; others may fare better."""


class ContextTooLong(RequestFailed):
    """A prompt longer than the model reads: a shorter one may be served."""


class RequestRejected(RequestFailed):
    """The server calls the request itself wrong (400, 413, 422): the same request need not be sent again."""


class RequestDeclined(RequestFailed):
    """The server will not process this input (moderation, content filter): it is not asked again."""


class RunStopped(Exception):
    """The run cannot go on. What was paid for is kept: the same run, started again, goes on from there."""


class ServerRefused(RunStopped):
    """The server serves nobody like this: no connection, wrong key, no quota, unknown model."""


class BudgetReached(RunStopped):
    """The next request might cost more than what is left of the budget."""


class NothingUsable(RunStopped):
    """Answer after answer is of no use: to go on would cost and bring nothing."""


class BrokenAnswer(ValueError):
    """A body with status 200 that holds no answer: HTML, broken JSON, no choices."""


class Refused(Exception):
    """The server answered with an error: it is not billed."""

    def __init__(self, refusal: "Refusal", headers: Mapping[str, str]) -> None:
        super().__init__(str(refusal))
        self.refusal, self.headers = refusal, headers


class NotSent(Exception):
    """Nothing arrived, so that nothing was billed.

    closed: whether the server had merely closed an idle connection; else no connection came about.
    """

    def __init__(self, reason: str, *, closed: bool = False) -> None:
        super().__init__(reason)
        self.closed = closed


def cut_off(error: BaseException) -> None:
    """Take from an error those that it came of: they hold requests with the key, and whoever keeps it keeps them.

    Prefect writes the errors that end a run into its storage, with all that hangs on them.
    """
    error.__cause__ = error.__context__ = None
    for inner in getattr(error, "exceptions", ()):
        cut_off(inner)


class AnswerLost(Exception):
    """The request went out and no whole answer came back: it may have been billed."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


FAULTS = (Refused, NotSent, AnswerLost, BrokenAnswer)
"""What one attempt can end with."""


def is_out_of_quota(error: BaseException) -> bool:
    """A refusal that no waiting cures: 402, or words about credit."""
    return isinstance(error, Refused) and (
        error.refusal.status == 402 or (error.refusal.status in {400, 403, 429} and error.refusal.says(_NO_QUOTA))
    )


def is_throttled(error: BaseException) -> bool:
    """The server asks to be asked less."""
    return isinstance(error, Refused) and error.refusal.status == 429 and not is_out_of_quota(error)


def is_declined(error: BaseException) -> bool:
    """The server's moderation stopped this input."""
    if not isinstance(error, Refused) or error.refusal.status not in {400, 403, 422, 451}:
        return False
    return error.refusal.says(_MODERATED) and not is_out_of_quota(error)


def is_busy(error: BaseException) -> bool:
    """The server is up but serves nobody yet, such as while it loads a model."""
    return isinstance(error, Refused) and error.refusal.status in {502, 503, 504, 529}


def may_be_billed(error: BaseException) -> bool:
    """Whether the server may have done the work although no answer came of it."""
    return isinstance(error, (AnswerLost, BrokenAnswer))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may fare better later."""
    if isinstance(error, Refused):
        code = error.refusal.status
        return not is_out_of_quota(error) and (is_throttled(error) or code in {408, 409, 425} or 500 <= code < 600)
    return isinstance(error, NotSent) or may_be_billed(error)


def is_too_long(refusal: "Refusal") -> bool:
    """Whether the server says that the prompt exceeds the model's context."""
    return refusal.status in {400, 413, 422} and refusal.says(_TOO_LONG) and not refusal.says(_UNFINISHED)


def lacked_room(error: BaseException) -> bool:
    """Whether a reasoning model used up all the room for its answer, as OpenAI says it with a 400."""
    return isinstance(error, Refused) and error.refusal.status == 400 and error.refusal.says(_UNFINISHED)


def kind_of(error: BaseException) -> str:
    """A fault's name in reports."""
    if isinstance(error, Refused):
        return f"http {error.refusal.status}"
    if isinstance(error, NotSent):
        return "no connection"
    if isinstance(error, AnswerLost):
        return "timeout" if error.timed_out else "connection lost"
    return "broken answer"


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date."""
    exact, told = headers.get("retry-after-ms"), headers.get("retry-after")
    for value, seconds in ((exact, 0.001), (told, 1.0)):
        try:
            wait = float(value or "") * seconds
        except ValueError:
            continue
        if 0 <= wait < 1e9:  # NaN and infinity are neither
            return wait
    try:
        return max(parsedate_to_datetime(told or "").timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
