"""What is asked of a server, whoever asks."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Endpoint = Literal["chat", "embeddings"]
PATHS: dict[Endpoint, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}


@dataclass(frozen=True)
class Call:
    """One request with the name under which its answer is kept.

    key: equal questions have equal keys. body: the request in OpenAI's words; a server's capabilities may spell it
    otherwise. tokens_in: counted or estimated; most_tokens_in: never less than what may be billed. cap: most tokens of
    the answer. parts: what the answer consists of, each under its own key (the texts of a batch of embeddings).
    """

    key: str
    endpoint: Endpoint
    model: str
    body: Mapping[str, Any]
    tokens_in: int
    most_tokens_in: int
    cap: int = 0
    parts: tuple[str, ...] = ()


def canonical_json(value: Any) -> str:
    """One spelling for equal values: sorted keys, no spaces, text as it is."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def sha256_of(value: Any) -> str:
    """sha256, in hex, of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
