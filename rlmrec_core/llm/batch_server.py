"""A server's files and batches: what is asked of them costs nothing, but for the one request that begins a batch."""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from rlmrec_core.llm.answers import BatchRow, Refusal, read_json, shown
from rlmrec_core.llm.errors import BrokenAnswer, Refused, is_transient
from rlmrec_core.llm.server import Server

Answer = TypeVar("Answer")

_MARK = "rlmrec"  # the metadata entry that holds a batch's name
_FILE_SECONDS = 900.0  # for a whole file, either way
_TERMINAL = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
_TOO_MUCH = re.compile(r"token.?limit|enqueued|too (many|large|big)|limit.{0,20}exceeded", re.IGNORECASE)
_backoff = wait_exponential_jitter(multiplier=0.5, max=60.0)


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as the server shows it.

    Attributes:
        id: The server's name for it.
        status: Its state, in the server's words.
        files: Result files: answers, then errors.
        errors: Why it failed as a whole.
        counts: How many requests are in it, done and failed, as the server shows it.
        name, file_id: Our name for it, and the file that it was made from.
    """

    id: str
    status: str
    files: tuple[str, ...] = ()
    errors: Refusal = field(default_factory=lambda: Refusal(0, ""))
    counts: str = ""
    name: str | None = None
    file_id: str | None = None

    @classmethod
    def of(cls, shown_as: Any) -> "RemoteBatch":
        """A batch out of a body that was read. Raises BrokenAnswer."""
        fields = shown_as if isinstance(shown_as, dict) else {}
        if not isinstance(fields.get("id"), str):
            raise BrokenAnswer("a batch without an id")
        files = (fields.get("output_file_id"), fields.get("error_file_id"))
        metadata = fields.get("metadata")
        return cls(
            fields["id"],
            str(fields.get("status"))[:80].lower(),
            tuple(file for file in files if file and isinstance(file, str)),
            Refusal.of(0, fields.get("errors")),
            str(fields.get("request_counts") or "")[:200],
            metadata.get(_MARK) if isinstance(metadata, dict) else None,
            fields.get("input_file_id"),
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in _TERMINAL

    @property
    def was_too_much(self) -> bool:
        """Whether it failed because it was larger than the server takes."""
        return self.status == "failed" and self.errors.says(_TOO_MUCH)


class BatchServer:
    """The batch endpoint of a server. Its methods raise Refused, NotSent, AnswerLost or BrokenAnswer."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def upload(self, file: Path) -> str:
        """Hand in a file of requests; the server's name for it."""
        from openai import OpenAIError

        async def send() -> str:
            try:
                with file.open("rb") as content:
                    sent = await self._server.client.files.with_raw_response.create(
                        file=(file.name, content), purpose="batch", timeout=_FILE_SECONDS
                    )
            except (OpenAIError, TimeoutError, ValueError) as error:
                raise self._server.fault(error) from None
            made = read_json(self._server.redact.bytes(sent.http_response.content))
            if not isinstance(made, dict) or not isinstance(made.get("id"), str):
                raise BrokenAnswer(f"a file without an id: {shown(sent.http_response.content)}")
            return str(made["id"])

        return await _patiently(send)

    async def create(self, name: str, file_id: str) -> RemoteBatch:
        """Begin a batch under a name of ours. Asked once: whatever comes but a refusal, it may have begun."""
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        made = await self._server.ask("POST", "/batches", body | {"metadata": {_MARK: name}})
        return RemoteBatch.of(read_json(made))

    async def retrieve(self, remote_id: str) -> RemoteBatch:
        """How a batch stands."""

        async def look() -> RemoteBatch:
            return RemoteBatch.of(read_json(await self._server.ask("GET", f"/batches/{remote_id}")))

        return await _patiently(look)

    async def find(self, name: str, file_id: str | None) -> str | None:
        """The server's name of the batch that has this name of ours or was made from this file, if it lists one."""
        after: str | None = None
        while True:
            query: dict[str, object] = {"limit": 100, **({"after": after} if after else {})}
            listed = await _patiently(partial(self._page, query))
            for batch in listed:
                if batch.name == name or (file_id and batch.file_id == file_id):
                    return batch.id
            if len(listed) < 2 or listed[-1].id == after:
                return None
            after = listed[-1].id

    async def _page(self, query: dict[str, object]) -> list[RemoteBatch]:
        page = read_json(await self._server.ask("GET", "/batches", query=query))
        data = page.get("data") if isinstance(page, dict) else None
        if not isinstance(data, list):
            raise BrokenAnswer("no list of batches")
        return [RemoteBatch.of(one) for one in data]

    async def cancel(self, remote_id: str) -> None:
        """Have the server stop working on a batch."""
        await self._server.ask("POST", f"/batches/{remote_id}/cancel", {})

    async def rows(self, file_id: str) -> Iterator[BatchRow | None]:
        """The rows of a result file; None for a line that cannot be read."""

        async def fetch() -> bytes:
            return await self._server.ask("GET", f"/files/{file_id}/content", seconds=_FILE_SECONDS)

        # Only this byte ends a line: texts hold other characters that end lines elsewhere.
        lines = (await _patiently(fetch)).split(b"\n")
        return (self._row(line) for line in lines if line.strip())

    def _row(self, line: bytes) -> BatchRow | None:
        try:
            return BatchRow.read(self._server.redact.bytes(line))
        except BrokenAnswer:
            return None


def has_no(error: Refused) -> bool:
    """Whether the server does not know what was asked for, in whichever of the usual ways it says so."""
    return error.refusal.status in {400, 404, 405, 410, 422, 501}


def lacks_batches(error: Refused) -> bool:
    """Whether a refused upload or creation means that there is no such endpoint."""
    return error.refusal.status in {404, 405, 501}


def worth_waiting(error: BaseException) -> bool:
    """Whether the same may be answered later."""
    return is_transient(error) and not (isinstance(error, Refused) and lacks_batches(error))


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Something that costs nothing, asked again until it is answered."""

    async def attempt() -> Answer:
        return await ask()

    retrying = AsyncRetrying(
        retry=retry_if_exception(worth_waiting),
        stop=stop_after_attempt(6),
        wait=lambda state: _backoff(state),
        reraise=True,
    )
    return await retrying(attempt)
