"""One OpenAI-compatible server: sending one request once, and what its refusals mean."""

import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from rlmrec_core.config.text import MissingSetting, ServerKind
from rlmrec_core.llm.capabilities import Capabilities
from rlmrec_core.llm.errors import (
    ContextTooLong,
    RequestFailed,
    RequestRejected,
    RunStopped,
    ServerRefused,
    is_out_of_quota,
    is_too_long,
)
from rlmrec_core.llm.request import PATHS, Request, sha256_of


class Server:
    """One endpoint; an async context manager, to be used inside one event loop.

    OPENAI_API_KEY holds the key. An Azure resource takes it in a header of its own, and `?api-version=` in the address.
    """

    def __init__(
        self,
        base_url: str | None,
        model: str,
        timeout_seconds: float,
        kind: ServerKind = "auto",
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Raises MissingSetting without OPENAI_API_KEY; servers that need no key take any word."""
        self._key = key = self.require_key(environment)
        self.name = sha256_of([base_url, model])
        self.capabilities = Capabilities.of(kind)
        address, query = _address(base_url)
        self.client = AsyncOpenAI(
            api_key=key,
            base_url=address,
            default_query=query,
            default_headers={"api-key": key} if kind == "azure" else None,
            timeout=timeout_seconds,
            max_retries=0,  # a retry may pay twice: the client decides
            http_client=DefaultAioHttpClient(limits=httpx2.Limits(max_connections=None, max_keepalive_connections=512)),
        )

    @staticmethod
    def require_key(environment: Mapping[str, str] = os.environ) -> str:
        """The key. Raises MissingSetting without one."""
        if not (key := environment.get("OPENAI_API_KEY")):
            raise MissingSetting("no key: set OPENAI_API_KEY (a local server that asks for none takes any word)")
        return key

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def check(self) -> None:
        """Ask for the list of models, which costs nothing. Raises ServerRefused if nobody answers, or not us.

        Many servers have no such list: any other answer will do.
        """
        try:
            await self.client.get("/models", cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            if error.status_code in {401, 403}:
                raise self.verdict(error) from None
        except openai.APIConnectionError as error:
            raise ServerRefused(f"cannot reach {self._where}: {self._redacted(_root_cause(error))}") from None

    async def send(self, request: Request) -> httpx2.Response:
        """Send a request once. Raises openai.OpenAIError."""
        body = self.capabilities.spell(request.body) if request.endpoint == "chat" else dict(request.body)
        return await self.client.post(PATHS[request.endpoint], body=body, cast_to=httpx2.Response)

    def verdict(self, error: BaseException) -> RequestFailed | RunStopped:
        """What an error means for this request or for the run, in words without the key."""
        if isinstance(error, TimeoutError):
            return RequestFailed("its turn did not come before the deadline: raise deadline_seconds, or run again")
        reason = self._redacted(f"{type(error).__name__}: {error}")[:500]
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)):
            return ServerRefused(f"{reason}; check OPENAI_API_KEY, the model's name and the address")
        if is_out_of_quota(error):
            return ServerRefused(f"{reason}; what was paid for is kept: raise the quota and run again")
        if isinstance(error, openai.APIStatusError) and is_too_long(error):
            return ContextTooLong(reason)
        return RequestRejected(reason) if isinstance(error, openai.BadRequestError) else RequestFailed(reason)

    @property
    def _where(self) -> str:
        return urlsplit(str(self.client.base_url)).netloc

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "***")


def _address(base_url: str | None) -> tuple[str | None, dict[str, Any] | None]:
    """An address without its query, and the query."""
    if not base_url or "?" not in base_url:
        return base_url, None
    address, _, query = base_url.partition("?")
    return address, dict(parse_qsl(query))


def _root_cause(error: BaseException) -> str:
    """Why no connection came about, with a hint at the way out."""
    causes = [error]
    while following := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(following)
    text = str(causes[-1]) or type(causes[-1]).__name__
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "CERTIFICATE" in text.upper():
        return f"its certificate is not accepted ({text}): check the address, or trust its authority (SSL_CERT_FILE)"
    return f"{text}: check the address, the network and that the server is up"
