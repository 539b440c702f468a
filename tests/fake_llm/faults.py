"""What can go wrong with one request."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """How one request is served badly. The default serves it well."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None  # the raw body, instead of the true one
    change: Callable[[Body], Any] = lambda body: body  # of the true body
    delay: float = 0.0  # seconds before anything is sent
    cut: Literal["nowhere", "before headers", "mid body"] = "nowhere"  # where the connection is reset

    @property
    def is_billed(self) -> bool:
        """Whether the server did the work, even if its answer is lost."""
        return self.status == 200


def said(text: str, finish_reason: str = "stop") -> Fault:
    """The model says `text`."""

    def change(body: Body) -> Body:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
        return body | {"choices": [choice]}

    return Fault(change=change)


def error(status: int, code: str = "", **headers: str) -> Fault:
    """An error in OpenAI's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = {"error": {"message": f"refused with {status}", "type": code, "code": code}}
    return Fault(status=status, headers=named, change=lambda _: content)


MIXED = (
    error(429, "rate_limit_exceeded", retry_after_ms="20"),
    error(500),
    Fault(status=503, body="<html>busy</html>"),
    error(408),
    error(409),
    Fault(body="<html>hello</html>"),
    Fault(body='{"choices": null}'),
    Fault(cut="before headers"),
    Fault(cut="mid body"),
    said("That I cannot say."),
    said('```json\n{"summarization": "For the fond of fences.", "reasoning": "Fenced",}\n```'),
    said('{"summarization": "For those who like it cut', "length"),
)
"""One of each kind that a run of many requests survives."""
