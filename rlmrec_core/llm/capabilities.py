"""What a server understands, learnt from its refusals and remembered."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from rlmrec_core.config.text import ServerKind


@dataclass(frozen=True)
class Capabilities:
    """How a chat request is spelt for one server and model.

    format: how the answer's form is enforced; "prompt" leaves it to the words of the prompt. cap: the parameter that
    bounds the answer's length. temperature: whether the parameter may be sent at all.
    """

    format: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    cap: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    temperature: bool = True
    settled_cap: bool = False
    """Whether `cap` was changed before: it changes once, lest two refusals turn it to and fro."""

    @classmethod
    def of(cls, kind: ServerKind) -> "Capabilities":
        """What is known before the first request."""
        return cls(cap="max_completion_tokens" if kind in ("auto", "openai", "azure") else "max_tokens")

    @classmethod
    def from_json(cls, text: str) -> "Capabilities":
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def spell(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request in OpenAI's words as this server wants it."""
        spelt = dict(body)
        if "max_completion_tokens" in spelt:
            spelt[self.cap] = spelt.pop("max_completion_tokens")
        if "response_format" in spelt and self.format != "json_schema":
            del spelt["response_format"]
            if self.format == "json_object":
                spelt["response_format"] = {"type": "json_object"}
        if not self.temperature:
            spelt.pop("temperature", None)
        return spelt

    def after_refusal(self, reason: str) -> "Capabilities | None":
        """One step down from what a refusal (400) complains of; None if it names nothing that could be left out."""
        if re.search(r"response_format|json_schema|json_object|structured output|guided_json|grammar", reason):
            lower: dict[str, Literal["json_object", "prompt"]] = {"json_schema": "json_object", "json_object": "prompt"}
            return replace(self, format=lower[self.format]) if self.format in lower else None
        if "max_completion_tokens" in reason or "max_tokens" in reason:
            return None if self.settled_cap else self.with_other_cap()
        if "temperature" in reason and self.temperature:
            return replace(self, temperature=False)
        return None

    def with_other_cap(self) -> "Capabilities":
        """The same with the other name of the length cap."""
        other: dict[str, Literal["max_completion_tokens", "max_tokens"]] = {
            "max_tokens": "max_completion_tokens",
            "max_completion_tokens": "max_tokens",
        }
        return replace(self, cap=other[self.cap], settled_cap=True)
