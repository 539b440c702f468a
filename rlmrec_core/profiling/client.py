"""Sending requests to an OpenAI-compatible server, with the retries that are worth their price."""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import openai
from openai import AsyncOpenAI
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from rlmrec_core.config.text import MissingSetting
from rlmrec_core.profiling.answers import BrokenAnswer

Kept = TypeVar("Kept")

_ATTEMPTS, _BILLED_ATTEMPTS = 6, 2
_LONGEST_WAIT = 60.0  # seconds
_STOP_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_backoff = wait_exponential_jitter(multiplier=0.5, max=_LONGEST_WAIT)


class RequestFailed(Exception):
    """One request that the server did not serve; others may fare better."""


class ServerRefused(Exception):
    """The server serves nobody like this: wrong key, no quota, unknown model. The run stops and keeps what it has."""


class Server:
    """One OpenAI-compatible endpoint; an async context manager, to be used inside one event loop."""

    def __init__(
        self, base_url: str | None, timeout_seconds: float, environment: Mapping[str, str] = os.environ
    ) -> None:
        """Raises MissingSetting without OPENAI_API_KEY; servers that need no key take any word."""
        key = environment.get("OPENAI_API_KEY")
        if not key:
            raise MissingSetting("no key: set OPENAI_API_KEY (a local server that asks for none takes any word)")
        self._key = key
        self._client = AsyncOpenAI(api_key=key, base_url=base_url, timeout=timeout_seconds, max_retries=0)

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def chat(self, body: Mapping[str, Any], keep: Callable[[bytes], Kept], note: Callable[[], None]) -> Kept:
        """Ask until `keep` accepts an answer. See `_ask`."""
        create = self._client.chat.completions.with_raw_response.create
        return await self._ask(lambda: create(**body), keep, note)

    async def embeddings(
        self, body: Mapping[str, Any], keep: Callable[[bytes], Kept], note: Callable[[], None]
    ) -> Kept:
        """Embed until `keep` accepts an answer. See `_ask`."""
        create = self._client.embeddings.with_raw_response.create
        return await self._ask(lambda: create(**body), keep, note)

    async def _ask(
        self, send: Callable[[], Awaitable[Any]], keep: Callable[[bytes], Kept], note: Callable[[], None]
    ) -> Kept:
        """What `keep` makes of the raw body of the first good answer; `note` is called before each attempt.

        `keep` raises BrokenAnswer to have the request sent once more. Raises RequestFailed or ServerRefused.
        """

        async def attempt() -> Kept:
            note()
            response = await send()
            return keep(response.content)

        retrying = AsyncRetrying(retry=retry_if_exception(_is_transient), stop=_enough, wait=_pause, reraise=True)
        try:
            return await retrying(attempt)
        except openai.OpenAIError as error:
            raise self._verdict(error) from None
        except BrokenAnswer as error:
            raise RequestFailed(self._redacted(str(error))) from None

    def _verdict(self, error: openai.OpenAIError) -> Exception:
        reason = self._redacted(f"{type(error).__name__}: {error}")[:500]
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)):
            return ServerRefused(f"{reason}; check OPENAI_API_KEY, the model's name and the address")
        if _is_out_of_quota(error):
            return ServerRefused(f"{reason}; what was paid for is kept: raise the quota and run again")
        return RequestFailed(reason)

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "***")


def _is_out_of_quota(error: BaseException) -> bool:
    return isinstance(error, openai.APIStatusError) and error.code in _STOP_CODES


def _may_be_billed(error: BaseException) -> bool:
    """Whether the server may have done the work although no answer came of it."""
    return isinstance(error, (openai.APIConnectionError, BrokenAnswer))


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, openai.APIStatusError):
        code = error.status_code
        return (code in {408, 409, 429} or code >= 500) and not _is_out_of_quota(error)
    return _may_be_billed(error)


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _enough(state: RetryCallState) -> bool:
    error = _failure(state)
    return state.attempt_number >= (_BILLED_ATTEMPTS if error and _may_be_billed(error) else _ATTEMPTS)


def _pause(state: RetryCallState) -> float:
    """Seconds to wait: what the server asks for, else exponential with jitter."""
    error = _failure(state)
    asked = error.response.headers.get("retry-after") if isinstance(error, openai.APIStatusError) else None
    try:
        return min(float(asked or ""), _LONGEST_WAIT)
    except ValueError:
        return _backoff(state)
