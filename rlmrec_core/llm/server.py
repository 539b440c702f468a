"""One OpenAI-compatible server: sending one request once, and what its refusals mean."""

import asyncio
import base64
import os
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import orjson

from rlmrec_core.canonical import digest_of
from rlmrec_core.config.text import MissingSetting, ServerKind, server_identity
from rlmrec_core.llm.answers import Refusal
from rlmrec_core.llm.capabilities import Capabilities
from rlmrec_core.llm.connection import TooLarge, http_client, watched
from rlmrec_core.llm.errors import (
    AnswerLost,
    ContextTooLong,
    NotSent,
    Refused,
    RequestDeclined,
    RequestFailed,
    RequestRejected,
    RunStopped,
    ServerRefused,
    is_declined,
    is_out_of_quota,
    is_too_long,
)
from rlmrec_core.llm.request import PATHS, Request

_IDLE_SECONDS = 1.5  # after which a connection is not used again: servers close idle ones, many after 2 s or 5 s
_CHECK_SECONDS = 10.0  # for the first exchange, which also opens the first connection
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_BYTES = (16 << 20, 1 << 30)  # of an answer in chat, and of embeddings or a file
_ESCAPE = re.compile(rb"(?<!\\)\\+(?:u00([2-7][0-9A-Fa-f])|/)|%([2-7][0-9A-Fa-f])")
_ESCAPE_SIGNS = (b"\\u00", b"\\/", b"%")
_SHORTEST_SECRET = 8  # characters; a shorter key is a word such as "none", which texts may hold


class Redactor:
    """Takes a key out of whatever a server echoes, however it is encoded."""

    def __init__(self, key: str) -> None:
        raw = key.encode() if len(key) >= _SHORTEST_SECRET else b""
        forms = {raw, raw.hex().encode(), raw.hex().upper().encode()}
        for before in range(3):  # bytes that stand before the key in what was encoded: only some characters are its own
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                forms.add(encode(bytes(before) + raw)[-(-before * 4 // 3) : (before + len(raw)) * 4 // 3])
        self._forms = sorted(forms, key=len, reverse=True) if raw else []
        self._pattern = re.compile(b"|".join(b"".join(map(_escapable, form)) for form in self._forms))

    def _is_in(self, body: bytes) -> bool:
        return any(form in body for form in self._forms)

    def bytes(self, body: bytes) -> bytes:
        """The body without the key, also where JSON or an address writes its characters as escapes."""
        if self._is_in(body) or (any(sign in body for sign in _ESCAPE_SIGNS) and self._is_in(_unescaped(body))):
            return self._pattern.sub(b"***", body)
        return body

    def text(self, text: str) -> str:
        """A text without the key."""
        return self.bytes(text.encode(errors="replace")).decode() if self._forms else text


def _unescaped(body: bytes) -> bytes:
    def character(found: re.Match[bytes]) -> bytes:
        code = found[1] or found[2]
        return bytes([int(code, 16)]) if code else b"/"

    return _ESCAPE.sub(character, body)


def _escapable(byte: int) -> bytes:
    """Matches a character as it is, or escaped: in JSON, in JSON inside the texts of JSON, or in an address."""
    code = b"%02x" % byte
    digits = b"".join(b"[%c%c]" % (digit, ord(chr(digit).upper())) for digit in code)
    return rb"(?:\\{0,16}%s|\\{1,16}u00%s|%%%s)" % (re.escape(bytes([byte])), digits, digits)


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
        """Raises MissingSetting without a usable OPENAI_API_KEY; servers that need no key take any word."""
        from openai import AsyncOpenAI  # takes a second to load; only who asks a server needs it

        key = self.require_key(environment)
        self.redact = Redactor(key)
        self.name = digest_of([server_identity(base_url), model])
        self.kind = kind
        self.capabilities = Capabilities.of(kind)
        self._timeout = timeout_seconds
        address, self._query = _address(base_url)
        self._http = http_client(_IDLE_SECONDS, _most_bytes)
        self.client = AsyncOpenAI(
            api_key=key,
            base_url=address,
            default_query=self._query,
            default_headers={"api-key": key} if kind == "azure" else None,
            timeout=timeout_seconds,
            max_retries=0,  # a retry may pay twice: the client decides
            http_client=self._http,
        )
        # Put together once: the SDK builds them, and the address, anew for each request, at a third of all the work.
        told = {**self.client.default_headers, **self.client.auth_headers}
        self._headers = {name: value for name, value in told.items() if isinstance(value, str)}
        self._address = str(self.client.base_url).rstrip("/")
        self._urls: dict[str, httpx2.URL] = {}

    @staticmethod
    def require_key(environment: Mapping[str, str] = os.environ) -> str:
        """The key. Raises MissingSetting without one, or where it holds what no key holds; it is never shown."""
        if not (key := environment.get("OPENAI_API_KEY")):
            raise MissingSetting(
                "no key: set OPENAI_API_KEY in the environment of the process that runs the stages, which has to be "
                "started anew for it (a local server that asks for none takes any word)"
            )
        odd = next((place for place, one in enumerate(key) if not "!" <= one <= "~"), None)
        if odd is not None:
            raise MissingSetting(
                f"OPENAI_API_KEY holds a character that no key has, U+{ord(key[odd]):04X} at place {odd + 1} of "
                f"{len(key)}, such as a typographic quote, a space or a line break: set it again without"
            )
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
            await self._exchange("GET", "/models", None, max(self._timeout, _CHECK_SECONDS))
        except Refused as error:
            if error.refusal.status in {401, 403} | _REDIRECTS:
                raise self.verdict(error) from None
        except (NotSent, AnswerLost) as error:
            silent = isinstance(error, AnswerLost) and error.timed_out
            reason = "no answer: check the address, and whether it begins with http:// or https://" if silent else error
            raise ServerRefused(f"cannot reach {self.where}: {reason}") from None

    async def send(self, request: Request) -> tuple[bytes, Mapping[str, str]]:
        """Send a request once. Returns the body, without the key if the server echoed it, and the headers.

        Raises:
            Refused: The server answered with an error, with whatever status.
            NotSent: No connection came about.
            AnswerLost: The request went out, and no whole answer came within the time allowed.
        """
        body = self.capabilities.spell(request.body) if request.endpoint == "chat" else dict(request.body)
        content, headers = await self._exchange("POST", PATHS[request.endpoint], body, self._timeout)
        if refusal := Refusal.in_answer(content):
            raise Refused(refusal, headers)
        return content, headers

    async def ask(
        self, method: str, path: str, body: Any = None, *, query: dict[str, object] | None = None, seconds: float = 0.0
    ) -> bytes:
        """The body of anything else that the server offers, without the key. Raises as `send`.

        Args:
            method: GET or POST.
            path: Below the server's address.
            body: Sent as JSON.
            query: Parameters of the address.
            seconds: Time allowed, if it is more than that of one answer.
        """
        content, _ = await self._exchange(method, path, body, max(seconds, self._timeout), query)
        return content

    async def _exchange(
        self, method: str, path: str, body: Any, seconds: float, query: dict[str, object] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """One request and its whole answer within the time allowed, however slowly it drips."""
        with watched() as delivery:
            try:
                async with asyncio.timeout(seconds):
                    response = await self._http.send(self._request(method, path, body, seconds, query))
                    content = self.redact.bytes(response.content)
            except Exception as error:  # whatever a library makes of what a server sends
                delivery.failed()
                raise self.fault(error, refused=delivery.refused) from None
        if not response.is_success:
            raise Refused(Refusal.read(response.status_code, content), response.headers)
        return content, response.headers

    def _request(
        self, method: str, path: str, body: Any, seconds: float, query: dict[str, object] | None
    ) -> httpx2.Request:
        """What goes out; `seconds` bound each of its steps."""
        if (url := self._urls.get(path)) is None or query:
            url = httpx2.URL(self._address + path, params={**self._query, **(query or {})})
        if not query:
            self._urls[path] = url
        content = None if body is None else orjson.dumps(body)
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        return httpx2.Request(
            method, url, headers=self._headers, content=content, extensions={"timeout": timeout}
        )  # fmt: skip

    def fault(self, error: BaseException, *, refused: bool = False) -> Refused | NotSent | AnswerLost:
        """What a broken exchange means: only where a request can have arrived can it have been billed.

        refused: whether the server had closed its connection before anything arrived.
        """
        from openai import APIStatusError

        if isinstance(error, APIStatusError):
            refusal = Refusal.read(error.status_code, self.redact.bytes(error.response.content))
            return Refused(refusal, error.response.headers)
        causes = _causes(error)
        names = {cause.__name__ for one in causes for cause in type(one).__mro__}
        reason = self.redact.text(_reason(causes))
        if names & {"ClientConnectorError", "ConnectError", "ConnectionTimeoutError", "ConnectionRefusedError"}:
            return NotSent(reason)
        if refused:
            return NotSent("the server had closed an idle connection", closed=True)
        timed_out = bool(names & {"ServerTimeoutError", "SocketTimeoutError", "ReadTimeout", "TimeoutError"})
        return self._lost("timed out" if timed_out else reason, timed_out=timed_out)

    def _lost(self, reason: str, *, timed_out: bool = False) -> AnswerLost:
        if timed_out:
            reason = f"no whole answer within timeout_seconds = {self._timeout:g}"
        return AnswerLost(self.redact.text(reason)[:500], timed_out=timed_out)

    def verdict(self, error: BaseException) -> RequestFailed | RunStopped:
        """What an error means for this request or for the run, in words without the key."""
        reason = self.redact.text(str(error))[:500]
        if isinstance(error, TimeoutError):
            return RequestFailed("its turn did not come before the deadline: raise deadline_seconds, or run again")
        if isinstance(error, NotSent) and not error.closed:
            return ServerRefused(f"{self.where} cannot be reached any more: {reason}")
        if not isinstance(error, Refused):
            return RequestFailed(reason)
        status = error.refusal.status
        if is_out_of_quota(error):
            return ServerRefused(f"{reason}; what was paid for is kept: raise the quota or the credit, and run again")
        if is_declined(error):
            return RequestDeclined(f"the server declined: {reason}")
        if status in {401, 403, 404}:
            return ServerRefused(f"{reason}; check OPENAI_API_KEY, the model's name and the address")
        if status in _REDIRECTS:
            elsewhere = self.redact.text(_host(error.headers.get("location", "")))
            return ServerRefused(f"{self.where} sends us on to {elsewhere}: set base_url to the address it means")
        if is_too_long(error.refusal):
            return ContextTooLong(reason)
        return RequestRejected(reason) if status in {400, 413, 422} else RequestFailed(reason)

    @property
    def where(self) -> str:
        """The server's host and port."""
        return urlsplit(str(self.client.base_url)).netloc


def _most_bytes(path: str) -> int:
    return _MOST_BYTES[0] if path.endswith((PATHS["chat"], "/models")) else _MOST_BYTES[1]


def _address(base_url: str | None) -> tuple[str | None, dict[str, Any]]:
    """An address without its query, and the query."""
    if not base_url or "?" not in base_url:
        return base_url, {}
    address, _, query = base_url.partition("?")
    return address, dict(parse_qsl(query))


def _host(location: str) -> str:
    """Where a redirect leads, without the name and password that an address may hold."""
    try:
        return urlsplit(location).netloc.rpartition("@")[2][:100] or "another path"
    except ValueError:
        return "an address that is none"


def _causes(error: BaseException) -> list[BaseException]:
    causes = [error]
    while (following := causes[-1].__cause__ or causes[-1].__context__) and len(causes) < 10:
        causes.append(following)
    return causes


def _reason(causes: list[BaseException]) -> str:
    """Why no connection came about, with a hint at the way out."""
    text = str(causes[-1]) or type(causes[-1]).__name__
    if (large := next((cause for cause in causes if isinstance(cause, TooLarge)), None)) is not None:
        return str(large)
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "CERTIFICATE" in text.upper():
        return f"its certificate is not accepted ({text}): check the address, or trust its authority (SSL_CERT_FILE)"
    return f"{text}: check the address, the network and that the server is up"
