"""Reading the envelope of a chat server's answer, which may be anything."""

import json
from dataclasses import dataclass
from typing import Any


class BrokenAnswer(ValueError):
    """A body with status 200 that holds no answer: HTML, broken JSON, an error, no choices."""


@dataclass(frozen=True)
class ChatAnswer:
    """What a server said; the token counts are None where it reported none."""

    text: str
    finish_reason: str | None
    refusal: str | None
    model: str | None
    tokens_in: int | None
    tokens_out: int | None

    @classmethod
    def read(cls, body: str) -> "ChatAnswer":
        """The first choice of a chat completion. Raises BrokenAnswer."""
        try:
            envelope = json.loads(body)
            choice = envelope["choices"][0]
            message = choice["message"]
            refusal, text = message.get("refusal"), message.get("content")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BrokenAnswer(f"no chat completion in the body, which begins {body[:80]!r}") from error
        if not isinstance(text, str) and not refusal and choice.get("finish_reason") != "content_filter":
            raise BrokenAnswer("the completion holds no text")
        usage: dict[str, Any] = envelope.get("usage") or {}
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
        return cls(text or "", choice.get("finish_reason"), refusal, envelope.get("model"), *counts)
