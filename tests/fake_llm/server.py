"""The server: a thread with its own event loop and a socket on a free port."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from tests.fake_llm import replies
from tests.fake_llm.batches import Batches
from tests.fake_llm.faults import Fault
from tests.fake_llm.limits import Limits

Body = dict[str, Any]
Plan = Callable[[int, Body], Fault | None]
_ANSWERS: dict[str, Callable[[Body], Body]] = {
    "/v1/chat/completions": replies.chat,
    "/v1/embeddings": replies.embeddings,
}


class FakeLLM:
    """Serves chat, embeddings, files and batches while its `with` block lasts; notes what it was asked and would bill.

    plan(n, body) names the fault of the n-th paid request, or None; a list gives the faults of the first ones in turn.
    limits: a rate limit per minute; above it requests are answered 429. The lists and counts are for tests to look at:
    heads (headers of every request), requests (bodies of chat and embeddings), billed (per prompt hash; what goes
    through a batch counts likewise).
    """

    def __init__(
        self,
        plan: Plan | Iterable[Fault] = (),
        latency: float = 0.0,
        port: int = 0,
        limits: Limits | None = None,
        record: bool = True,
    ) -> None:
        self._plan = plan if callable(plan) else _in_turn(iter(plan))
        self.latency, self._port, self._limits, self._record = latency, port, limits, record
        self.n_requests = 0
        self.requests: list[Body] = []
        self.heads: list[dict[str, str]] = []
        self.billed: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.arrivals: list[float] = []
        self.batches = Batches(self.bill)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def bill(self, body: Body) -> None:
        """The work for a request was done."""
        self.billed[replies.prompt_hash(body)] += 1

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
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port, limit=1 << 22, backlog=1024)
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
        if self._record:
            self.heads.append(headers)
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target = head[0].split()[:2]
        path = target.partition("?")[0]
        if path in _ANSWERS:
            await self._paid(writer, path, json.loads(content))
        else:
            status, answer = (200, _MODELS) if path == "/v1/models" else self.batches.serve(method, path, content)
            await asyncio.sleep(self.batches.delay(method, path))
            await _send(writer, Fault(status=status), answer)

    async def _paid(self, writer: asyncio.StreamWriter, path: str, body: Body) -> None:
        limited = self._limits.refusal(body) if self._limits else None
        fault = limited or self._plan(self.n_requests, body) or Fault()
        self.n_requests += 1
        if self._record:
            self.requests.append(body)
        self.arrivals.append(time.monotonic())
        self.statuses[fault.status] += 1
        if fault.is_billed:
            self.bill(body)
        await asyncio.sleep(0 if limited else self.latency + fault.delay)
        told = self._limits.headers() if self._limits else {}
        await _send(writer, fault, _ANSWERS[path](body) if fault.body is None else {}, told)


_MODELS = {"object": "list", "data": [{"id": "fake", "object": "model", "created": 0, "owned_by": "tests"}]}


def _in_turn(faults: Iterator[Fault]) -> Plan:
    return lambda n, body: next(faults, None)


async def _send(writer: asyncio.StreamWriter, fault: Fault, answer: Any, told: dict[str, str] | None = None) -> None:
    made = fault.change(answer) if fault.body is None else fault.body
    content = (made if isinstance(made, str) else json.dumps(made)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content))} | (told or {}) | fault.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    whole = f"HTTP/1.1 {fault.status} X\r\n{head}\r\n".encode() + content
    kept = {"nowhere": len(whole), "before headers": 0, "mid body": len(whole) - len(content) // 2}[fault.cut]
    writer.write(whole[:kept])
    await writer.drain()
    if kept < len(whole):
        writer.transport.abort()
        raise ConnectionResetError
