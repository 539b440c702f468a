"""What is asked of a model server, and the name under which its answer is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from rlmrec_core.canonical import canonical_json, digest_of
from rlmrec_core.config.text import LlmConfig, server_identity
from rlmrec_core.llm.tokens import TokenCounter

Endpoint = Literal["chat", "embeddings"]
Message = dict[str, str]
PATHS: dict[Endpoint, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}
_KEY_VERSION = 2


@dataclass(frozen=True)
class Request:
    """One request to a server, whoever makes it.

    Attributes:
        key: Names the question: equal questions have equal keys.
        endpoint: Where it is sent.
        model: Name of the model.
        body: The request in OpenAI's words; a server's capabilities may spell it otherwise.
        input_tokens: Tokens of the input, counted or estimated.
        max_input_tokens: Never less than what may be billed for the input.
        max_output_tokens: Most tokens of the answer; 0 for embeddings.
        input_keys: The key of each text in a request for embeddings.
    """

    key: str
    endpoint: Endpoint
    model: str
    body: Mapping[str, Any]
    input_tokens: int
    max_input_tokens: int
    max_output_tokens: int = 0
    input_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChatRequest:
    """One question to a chat model: everything that can change the answer, and nothing else."""

    base_url: str | None
    model: str
    messages: tuple[Message, ...]
    response_format: Mapping[str, Any]
    temperature: float
    max_output_tokens: int

    @classmethod
    def of(cls, messages: list[Message], response_format: Mapping[str, Any], config: LlmConfig) -> "ChatRequest":
        """The question that a prompt asks under resolved settings.

        Args:
            messages: Role and content of each message.
            response_format: The form of the answer, as OpenAI takes it (`json_schema`).
            config: Resolved settings.
        """
        if config.model is None:
            raise ValueError("the settings name no model: resolve them first")
        return cls(
            config.base_url, config.model, tuple(messages), response_format, config.temperature,
            config.max_output_tokens,
        )  # fmt: skip

    def request(self, counter: TokenCounter) -> Request:
        """The question as a client sends it.

        Its key does not cover how a server wants the question spelt: a form that the server does not enforce is
        checked when the answer is read.
        """
        settings = [self.model, self.messages, self.response_format, self.temperature, self.max_output_tokens]
        key = digest_of([_KEY_VERSION, "chat", server_identity(self.base_url), *settings])
        messages = list(self.messages)
        tokens = counter.count_messages(messages)
        most = tokens if counter.label == "exact" else counter.most_messages(messages)
        # The model reads the schema, too, in a form that only the server knows.
        most += len(canonical_json(self.response_format))
        return Request(key, "chat", self.model, self.body, tokens, most, self.max_output_tokens)

    @property
    def body(self) -> dict[str, Any]:
        """The question in OpenAI's words."""
        return {
            "model": self.model,
            "messages": list(self.messages),
            "response_format": self.response_format,
            "temperature": self.temperature,
            "max_completion_tokens": self.max_output_tokens,
        }

    def corrected(self, answer: str, complaint: str) -> "ChatRequest":
        """The same question, followed by the rejected answer and what was wrong with it."""
        correction = f"That answer cannot be used: {complaint}. Answer again, in the form that was asked for."
        turns = ({"role": "assistant", "content": answer}, {"role": "user", "content": correction})
        return replace(self, messages=(*self.messages, *turns))

    def with_longer_answer(self) -> "ChatRequest":
        """The same question with room for twice as long an answer."""
        return replace(self, max_output_tokens=2 * self.max_output_tokens)
