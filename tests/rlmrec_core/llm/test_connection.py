"""Servers that speak broken HTTP, close what they promised to keep, or die at work. Bytes over a real socket."""

import asyncio
import gzip
import json
import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.llm.connection import http_client, watched
from rlmrec_core.llm.errors import ServerRefused
from rlmrec_core.profiling.job import ProfileJob
from rlmrec_core.profiling.sources import ItemSource

KEY = "sk-canary-51c0ffee77"
_TEXT = '{"summarization": "For fans of fog.", "reasoning": "The title."}'
ANSWER = json.dumps(
    {
        "choices": [{"message": {"content": _TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9},
    }
).encode()


def http(body=ANSWER, *headers, length=None):
    head = [f"content-length: {len(body) if length is None else length}", "content-type: application/json", *headers]
    return b"HTTP/1.1 200 OK\r\n" + "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Dead(Exception):
    """The server is gone with all its connections."""


@contextmanager
def serving(react):
    """A server that answers with the bytes of `react(n, body, writer)`, a coroutine; None closes the connection."""
    state = SimpleNamespace(n=0, writers=set())
    loop, started = asyncio.new_event_loop(), threading.Event()

    async def connection(reader, writer):
        state.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    writer.write(http(b"{}"))
                    continue
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                body = await reader.readexactly(int(length.partition(b":")[2]))
                state.n += 1
                if (answer := await react(state.n, body.decode(), writer)) is None:
                    return
                writer.write(answer)
        except Dead:
            state.server.close()
            for one in state.writers:
                one.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def serve():
        state.stop = asyncio.Event()
        state.server = await asyncio.start_server(connection, "127.0.0.1", 0)
        state.url = f"http://127.0.0.1:{state.server.sockets[0].getsockname()[1]}/v1"
        started.set()
        await state.stop.wait()

    thread = threading.Thread(target=lambda: asyncio.Runner(loop_factory=lambda: loop).run(serve()), daemon=True)
    thread.start()
    started.wait()
    yield state
    loop.call_soon_threadsafe(state.stop.set)
    thread.join()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Profiles of n items from a server; rows and report."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.05)

    def go(server, n=3, **llm):
        asked = {"model": "m", "base_url": server.url, "concurrency": 1, "price_in": 1.0, "price_out": 2.0}
        config = ProfileConfig(generator="llm", domain="books", llm=LlmConfig(**asked | {"timeout_seconds": 5.0} | llm))
        sources = [ItemSource(i, f"Title {i}", f"About {i}.", (), ()) for i in range(n)]
        go.job = ProfileJob(lambda: sources, "item", config, tmp_path / "l.db", "test")
        return [row for rows in go.job.rows() for row in rows]

    return go


@pytest.mark.parametrize(
    "broken",
    [
        http(length=50),
        http(length=-5),
        http(ANSWER, "x: " + "a" * 200_000),
        http(ANSWER, "x: a\x00b"),
        b"\x00\x01 what\r\n\r\n",
        http(b"no gzip", "content-encoding: gzip"),
        http(gzip.compress(b" " * 20_000_000), "content-encoding: gzip"),
    ],
    ids=["cut short", "length", "long header", "nul", "no http", "no gzip", "bomb"],
)
def test_broken_http_fails_its_row_alone_in_this_run_and_the_next(run, broken, caplog):
    async def react(n, body, writer):
        return broken if "About 1" in body else http()

    with serving(react) as server:
        for _ in range(2):
            rows = run(server)
            assert [row.status for row in rows] == ["ok", "failed", "ok"]
    assert KEY not in str(rows) + caplog.text


def test_an_answer_that_drips_for_ever_ends_at_its_time(run):
    async def react(n, body, writer):
        if "About 1" not in body:
            return http()
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    with serving(react) as server:
        rows = run(server, timeout_seconds=0.5)
    assert [row.status for row in rows] == ["ok", "failed", "ok"] and "timeout_seconds" in rows[1].error


def test_the_time_in_a_queue_is_not_the_requests_own(run):
    async def react(n, body, writer):
        await asyncio.sleep(0.4)
        return http()

    with serving(react) as server:
        assert {row.status for row in run(server, n=24, concurrency=24, timeout_seconds=1.0)} == {"ok"}
    assert "timeout" not in run.job.report()["faults"]


def test_a_server_that_closes_under_requests_costs_one_and_gets_fresh_connections(run):
    async def react(n, body, writer):
        writer.write(http())
        await writer.drain()
        await asyncio.sleep(0.03)  # it hears the next request meanwhile, and closes nevertheless

    with serving(react) as server:
        assert {row.status for row in run(server, n=12)} == {"ok"}
    assert run.job.report()["ledger"]["calls"].get("lost", 0) <= 1


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not count what arrived")
@pytest.mark.parametrize("heard", [False, True])
def test_what_crosses_with_the_closing_of_an_idle_connection_never_arrived(heard):
    async def go():
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        client = http_client(60.0, lambda path: 1000)
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(client.get(url))
        kept = (await loop.run_in_executor(None, listener.accept))[0]
        await loop.run_in_executor(None, kept.recv, 1000)
        kept.sendall(http(b"{}"))
        await first

        def close():
            if heard:
                kept.recv(1000)
            kept.close()

        closing = loop.run_in_executor(None, close) if heard else close()  # else before the loop can notice
        with watched() as delivery:
            with pytest.raises(Exception, match=r"."):
                await client.post(url, json={}, timeout=10)  # a GET would be sent again unasked
            if closing:
                await closing
            await client.aclose()
            listener.close()
            return delivery.refused

    assert asyncio.run(go()) is not heard


def test_a_server_that_dies_at_work_stops_the_run_and_costs_at_most_what_was_in_flight(run):
    async def react(n, body, writer):
        if n > 10:
            raise Dead
        await asyncio.sleep(0.05)
        return http()

    with serving(react) as server, pytest.raises(ServerRefused, match="cannot be reached any more"):
        run(server, n=200, concurrency=4, budget_usd=50.0)
    calls = run.job.report()["ledger"]["calls"]
    assert calls.get("lost", 0) <= 4 and calls["answered"] >= 4
