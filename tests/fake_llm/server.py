"""The server: a thread with its own event loop and a socket on a free port."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from tests.fake_llm import replies
from tests.fake_llm.faults import Fault

Body = dict[str, Any]
Plan = Callable[[int, Body], Fault | None]
_ROUTES: dict[str, Callable[[Body], Body]] = {
    "/v1/chat/completions": replies.chat,
    "/v1/embeddings": replies.embeddings,
}


class FakeLLM:
    """Serves chat and embeddings while its `with` block lasts; notes what it was asked and what it would bill.

    plan(n, body) names the fault of the n-th request, or None; a list gives the faults of the first requests in turn.
    """

    def __init__(self, plan: Plan | Iterable[Fault] = (), latency: float = 0.0, port: int = 0) -> None:
        self._plan = plan if callable(plan) else _in_turn(iter(plan))
        self._latency = latency
        self._port = port
        self.requests: list[Body] = []
        self.authorizations: list[str] = []
        self.billed: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port)
        self._port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stopped.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._request(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        fault = self._plan(len(self.requests), body) or Fault()
        self.requests.append(body)
        self.authorizations.append(headers.get("authorization", ""))
        self.billed[replies.prompt_hash(body)] += fault.is_billed
        await asyncio.sleep(self._latency + fault.delay)
        await _send(writer, fault, _ROUTES[head[0].split()[1]](body))


def _in_turn(faults: Iterator[Fault]) -> Plan:
    return lambda n, body: next(faults, None)


async def _send(writer: asyncio.StreamWriter, fault: Fault, answer: Body) -> None:
    content = (json.dumps(fault.change(answer)) if fault.body is None else fault.body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content))} | fault.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    whole = f"HTTP/1.1 {fault.status} X\r\n{head}\r\n".encode() + content
    kept = {"nowhere": len(whole), "before headers": 0, "mid body": len(whole) - len(content) // 2}[fault.cut]
    writer.write(whole[:kept])
    await writer.drain()
    if kept < len(whole):
        writer.transport.abort()
        raise ConnectionResetError
