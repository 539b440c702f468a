"""The connections under a server: how much of an answer is read, and whether anything of a request arrived.

A server closes idle connections when it likes. A request that crosses with the closing gets no answer, as does one
whose server dies at work; only the second may have been billed. TCP tells them apart, where the system shows its
counters.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler

_TCP_INFO = getattr(socket, "TCP_INFO", None)
_ACKED, _SENT, _LENGTH = 120, 200, 208  # places of two counters in Linux's `struct tcp_info`, and what is read of it


class TooLarge(ValueError):
    """A body beyond what an answer can need, such as a small one that unpacks to gigabytes."""


class Delivery:
    """What became of one request on its way.

    Attributes:
        refused: Whether it can be proven that the server had closed its connection before anything arrived.
    """

    def __init__(self) -> None:
        self._protocol: _Protocol | None = None
        self._connector: _Connector | None = None
        self._before: tuple[int, int] | None = None

    def begins(self, connector: "_Connector", protocol: "_Protocol") -> None:
        """The request goes over this connection."""
        self._connector, self._protocol, self._before = connector, protocol, _counters(protocol.transport)

    def failed(self) -> None:
        """No answer came. Had the connection been used before, then each request gets one of its own from now on."""
        if self._connector is not None and self._protocol is not None and self._protocol.requests > 1:
            self._connector.keeps = False

    @property
    def refused(self) -> bool:
        ended = None if self._protocol is None else self._protocol.ended  # a protocol is a queue, false when empty
        if ended is None or self._before is None:
            return False
        acked, sent, in_order = ended
        # What ends a connection in order acknowledges everything that had come before.
        return sent == self._before[1] or (in_order and acked == self._before[0])


_delivery: ContextVar[Delivery | None] = ContextVar("delivery", default=None)


@contextmanager
def watched() -> Any:
    """Watch the request that is sent in this block; yields its Delivery."""
    delivery = Delivery()
    token = _delivery.set(delivery)
    try:
        yield delivery
    finally:
        _delivery.reset(token)


class _Protocol(ResponseHandler):
    """Looks at the counters of its connection in the moment in which that ends."""

    ended: tuple[int, int, bool] | None = None
    requests = 0

    def connection_lost(self, exc: BaseException | None) -> None:
        if counters := _counters(self.transport):
            # After a regular end (FIN), what is written later fails with EPIPE; without one, with ECONNRESET.
            self.ended = (*counters, exc is None or isinstance(exc, BrokenPipeError))
        super().connection_lost(exc)


class _Connector(aiohttp.TCPConnector):
    """Tells which connection a request goes over, and uses none twice on a server that closes them when it likes."""

    keeps = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        made: Any = partial(_Protocol, loop=asyncio.get_running_loop())
        self._factory = made

    async def connect(self, *arguments: Any, **options: Any) -> Any:
        while True:
            connection = await super().connect(*arguments, **options)
            protocol = connection.protocol
            if not isinstance(protocol, _Protocol):
                return connection
            if self.keeps or not protocol.requests:
                break
            connection.close()
        protocol.requests += 1
        if delivery := _delivery.get():
            delivery.begins(self, protocol)
        return connection


class _Transport(httpx2.AsyncBaseTransport):
    """Turns aiohttp's errors about malformed headers, which hold the request and its key, into ones without."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._inner.handle_async_request(request)
        except aiohttp.ClientResponseError as error:
            reason = " ".join(error.message.split())[:200]
        raise httpx2.RemoteProtocolError(f"what came back is no HTTP: {reason}")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _counters(transport: asyncio.BaseTransport | None) -> tuple[int, int] | None:
    """Bytes acknowledged by the other side, and bytes sent, of a connection; None where the system does not tell."""
    found = transport.get_extra_info("socket") if transport and _TCP_INFO is not None else None
    try:
        info = found.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _LENGTH) if found else b""
    except OSError:
        return None
    if len(info) < _LENGTH:
        return None
    return struct.unpack_from("=Q", info, _ACKED)[0], struct.unpack_from("=Q", info, _SENT)[0]


def http_client(idle_seconds: float, most_bytes: Callable[[str], int]) -> httpx2.AsyncClient:
    """A client for many requests to one server.

    It follows no redirects: they would carry the key to another server. It has no limit to its connections: who waits
    for one would have the wait counted as the request's own.

    Args:
        idle_seconds: After which a connection is not used again.
        most_bytes: How large a body may be that comes from this path, unpacked. Reading raises TooLarge beyond it.
    """
    from openai import DefaultAioHttpClient

    async def read(response: httpx2.Response) -> None:
        most, parts, size = most_bytes(response.request.url.path), [], 0
        async for part in response.aiter_bytes():
            if (size := size + len(part)) > most:
                raise TooLarge(f"the body is larger than {most:,} bytes")
            parts.append(part)
        response._content = b"".join(parts)  # as reading it without a bound would

    limits = httpx2.Limits(max_connections=0, max_keepalive_connections=512, keepalive_expiry=idle_seconds)
    client = DefaultAioHttpClient(limits=limits, follow_redirects=False, event_hooks={"response": [read]})
    transport: Any = client._transport

    def session() -> aiohttp.ClientSession:
        connector = _Connector(limit=0, keepalive_timeout=idle_seconds, ssl=transport.ssl_context)
        return aiohttp.ClientSession(connector=connector)

    transport.client = session
    client._transport = _Transport(transport)
    return client
