"""Reading the envelope of a server's answer, which may be anything."""

import json
from dataclasses import dataclass
from typing import Any

from rlmrec_core.llm.errors import BrokenAnswer


@dataclass(frozen=True)
class Usage:
    """Tokens that a server billed; None where it did not say."""

    tokens_in: int | None = None
    tokens_out: int | None = None

    @classmethod
    def read(cls, body: bytes) -> "Usage":
        """Whatever the body tells, which may be nothing."""
        try:
            usage = json.loads(body)["usage"]
            counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
        except (ValueError, LookupError, TypeError, AttributeError):
            return cls()
        return cls(*(count if isinstance(count, int) and count >= 0 else None for count in counts))


@dataclass(frozen=True)
class ChatAnswer:
    """What a server said; the token counts are None where it reported none."""

    text: str
    finish_reason: str | None
    refusal: str | None
    model: str | None
    usage: Usage

    @classmethod
    def read(cls, body: bytes) -> "ChatAnswer":
        """The first choice of a chat completion. Raises BrokenAnswer."""
        try:
            envelope: dict[str, Any] = json.loads(body)
            choice = envelope["choices"][0]
            message = choice["message"]
            refusal, text = message.get("refusal"), message.get("content")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BrokenAnswer(f"no chat completion in the body, which begins {_shown(body)}") from error
        finish_reason, model = choice.get("finish_reason"), envelope.get("model")
        if not isinstance(text, str) and not refusal and finish_reason not in ("content_filter", "length"):
            raise BrokenAnswer("the completion holds no text")
        return cls(str(text or ""), finish_reason, refusal, model, Usage.read(body))


def _shown(body: bytes) -> str:
    return repr(body[:80].decode(errors="replace"))
