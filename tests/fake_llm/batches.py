"""Files and batches: a batch is worked off at once, its results are read from files."""

import json
import re
import time
from collections.abc import Callable
from email.parser import BytesParser
from typing import Any

from tests.fake_llm import replies

Body = dict[str, Any]
Rows = list[Any]
Change = Callable[[Rows, Rows], tuple[Rows, Rows]]
"""From the rows of the output file and of the error file to what the two shall hold."""


class Batches:
    """What lies on the server. Tests set how it behaves.

    change: of the results; a row that is a text is written as it is. ending, errors: the final state, and why.
    refuse: a status and body for a method and a path, instead of the true answer. lists_after: looks at the list until
    it shows what was made. slow_creations: seconds that each of the next answers to a creation takes.
    """

    def __init__(self, bill: Callable[[Body], None]) -> None:
        self._bill = bill
        self.files: dict[str, str] = {}
        self.made: dict[str, Body] = {}
        self.change: Change = lambda output, errors: (output, errors)
        self.ending = "completed"
        self.errors: list[Body] = []
        self.polls = 1  # looks that find a batch still in progress
        self.lose_next_creation = False
        self.refuse: Callable[[str, str], tuple[int, Any] | None] = lambda method, path: None
        self.lists_after = 0
        self.slow_creations: list[float] = []
        self.asked: list[tuple[str, str]] = []

    def delay(self, method: str, path: str) -> float:
        """Seconds until the answer goes out."""
        begins = (method, path) == ("POST", "/v1/batches")
        return self.slow_creations.pop(0) if begins and self.slow_creations else 0.0

    def serve(self, method: str, path: str, content: bytes) -> tuple[int, Any]:
        """Status and answer of a request for a file or a batch."""
        self.asked.append((method, path))
        if refused := self.refuse(method, path):
            return refused
        parts = path.removeprefix("/v1/").split("/")
        match method, *parts:
            case "POST", "files":
                return 200, self._file(_uploaded(content))
            case "GET", "files", name, "content" if name in self.files:
                return 200, self.files[name]
            case "POST", "batches":
                return self._create(json.loads(content))
            case "GET", "batches":
                self.lists_after -= 1
                if self.lists_after >= 0:
                    return 200, {"object": "list", "data": [], "has_more": False}
                data = [self._shown(batch) for batch in reversed(self.made.values())]
                return 200, {"object": "list", "data": data, "has_more": False}
            case "GET", "batches", name if name in self.made:
                return 200, self._shown(self.made[name], look=True)
            case "POST", "batches", name, "cancel" if name in self.made:
                self.made[name]["cancelled"] = True
                return 200, self._shown(self.made[name])
        return 404, {"error": {"message": f"nothing at {path}", "code": "not_found"}}

    def _file(self, content: str) -> Body:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        shown = {"object": "file", "bytes": len(content), "created_at": 0, "filename": name, "purpose": "batch"}
        return {"id": name, "status": "processed", **shown}

    def _create(self, asked: Body) -> tuple[int, Body]:
        name = f"batch_{len(self.made)}"
        batch = {"id": name, "object": "batch", "created_at": int(time.time()), "looks": self.polls, **asked}
        self.made[name] = batch
        if self.ending in ("completed", "expired", "cancelled"):
            self._work(batch)
        if self.lose_next_creation:
            self.lose_next_creation = False
            return 503, {"error": {"message": "the answer got lost", "code": "busy"}}
        return 200, self._shown(batch)

    def _work(self, batch: Body) -> None:
        rows = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        done = [
            {
                "id": f"r{n}",
                "custom_id": row["custom_id"],
                "error": None,
                "response": _response(replies.chat(row["body"])),
            }
            for n, row in enumerate(rows)
        ]
        asked = {row["custom_id"]: row["body"] for row in rows}
        output, errors = self.change(done, [])
        for name in {row["custom_id"] for row in output if isinstance(row, dict) and "custom_id" in row} & asked.keys():
            self._bill(asked[name])
        for role, content in (("output_file_id", output), ("error_file_id", errors)):
            if content:
                batch[role] = self._file("\n".join(map(_line, content)))["id"]

    def _shown(self, batch: Body, look: bool = False) -> Body:
        batch["looks"] -= look
        status = "in_progress" if batch["looks"] >= 0 and look else self.ending if look else "validating"
        shown = {key: value for key, value in batch.items() if key != "looks"} | {"status": status}
        return shown | ({"errors": {"object": "list", "data": self.errors}} if status == "failed" else {})


def _line(row: Body | str) -> str:
    return row if isinstance(row, str) else json.dumps(row)


def _response(body: Body) -> Body:
    return {"status_code": 200, "request_id": "q", "body": body}


def _uploaded(content: bytes) -> str:
    """The file in a multipart form."""
    boundary = re.match(rb"--([^\r\n]+)", content)
    assert boundary
    head = b"Content-Type: multipart/form-data; boundary=" + boundary[1] + b"\r\n\r\n"
    for part in BytesParser().parsebytes(head + content).walk():
        if part.get_filename():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            return payload.decode()
    raise AssertionError("a form without a file")
