"""What is asked of a chat server, and the name under which its answer is kept."""

from dataclasses import dataclass, replace
from typing import Any

from rlmrec_core.config.text import LlmConfig
from rlmrec_core.profiling.parser import PROFILE_SCHEMA
from rlmrec_core.profiling.prompts import Message
from rlmrec_core.profiling.sources import sha256_of

_KEY_VERSION = 1
_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "profile", "strict": True, "schema": PROFILE_SCHEMA},
}


@dataclass(frozen=True)
class ChatRequest:
    """One question; everything that can change the answer and nothing else."""

    base_url: str | None
    model: str
    messages: tuple[Message, ...]
    temperature: float
    max_output_tokens: int

    @classmethod
    def of(cls, messages: list[Message], config: LlmConfig) -> "ChatRequest":
        """The request for a prompt under resolved settings."""
        if config.model is None:
            raise ValueError("the settings name no model: resolve them first")
        return cls(config.base_url, config.model, tuple(messages), config.temperature, config.max_output_tokens)

    @property
    def key(self) -> str:
        """sha256, in hex: equal requests have equal keys, whatever the concurrency, timeout or day."""
        asked = [self.model, self.messages, _FORMAT, self.temperature, self.max_output_tokens]
        return sha256_of([_KEY_VERSION, "chat", self.base_url, *asked])

    @property
    def body(self) -> dict[str, Any]:
        """The request in OpenAI's words."""
        return {
            "model": self.model,
            "messages": list(self.messages),
            "response_format": _FORMAT,
            "temperature": self.temperature,
            "max_completion_tokens": self.max_output_tokens,
        }

    def asked_again(self, answer: str, complaint: str) -> "ChatRequest":
        """The same question, with the refused answer and what was wrong with it."""
        correction = f"That answer cannot be used: {complaint}. Answer again, in the form that was asked for."
        turns = ({"role": "assistant", "content": answer}, {"role": "user", "content": correction})
        return replace(self, messages=(*self.messages, *turns))

    def with_longer_cap(self) -> "ChatRequest":
        """The same question with room for twice as long an answer."""
        return replace(self, max_output_tokens=2 * self.max_output_tokens)
