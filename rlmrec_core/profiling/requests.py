"""What is asked of a chat server, and the name under which its answer is kept."""

from dataclasses import dataclass, replace
from typing import Any

from rlmrec_core.config.text import LlmConfig
from rlmrec_core.llm.calls import Call, canonical_json, sha256_of
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.profiling.parser import PROFILE_SCHEMA
from rlmrec_core.profiling.prompts import Message

_KEY_VERSION = 2
_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "profile", "strict": True, "schema": PROFILE_SCHEMA},
}
_FORMAT_BYTES = len(canonical_json(_FORMAT))


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

    def call(self, counter: TokenCounter) -> Call:
        """The request as the desk takes it.

        Its key names the question, not how a server wants it spelt: what a server does not enforce, the parser does.
        """
        asked = [self.model, self.messages, _FORMAT, self.temperature, self.max_output_tokens]
        key = sha256_of([_KEY_VERSION, "chat", self.base_url, *asked])
        tokens = counter.count_messages(list(self.messages))
        most = tokens if counter.label == "exact" else counter.most_messages(list(self.messages))
        # The schema is read by the model, too, in a form that only the server knows.
        return Call(key, "chat", self.model, self.body, tokens, most + _FORMAT_BYTES, self.max_output_tokens)

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
