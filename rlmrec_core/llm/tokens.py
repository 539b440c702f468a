"""Counting tokens without ever reaching for the network."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import tiktoken

# Address (tiktoken names its cache file by the address's sha1) and sha256 of the vocabularies that tiktoken publishes.
_VOCABULARIES = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
# What the chat format adds around each message, and once per request.
_PER_MESSAGE, _PER_REQUEST = 4, 3


@dataclass(frozen=True)
class TokenCounter:
    """Counts and cuts text by tokens: with the model's own vocabulary (exact), with a kindred one, or by rule."""

    encoding: tiktoken.Encoding | None
    label: Literal["exact", "estimated"]

    @classmethod
    def for_model(cls, model: str) -> "TokenCounter":
        """The counter that fits a model's name and the vocabularies at hand (folder TIKTOKEN_CACHE_DIR)."""
        name = _encoding_name(model)
        encoding = _cached_encoding(name or "o200k_base")
        return cls(encoding, "exact" if name and encoding else "estimated")

    def count(self, text: str) -> int:
        """Tokens of `text`; without a vocabulary a quarter per ASCII character and half per other UTF-8 byte."""
        if self.encoding:
            return len(self.encoding.encode(text, disallowed_special=()))
        others = len(text.encode()) - (ascii_count := sum(map(str.isascii, text)))
        return -(-(ascii_count + 2 * others) // 4)

    def count_messages(self, messages: list[dict[str, str]]) -> int:
        """Tokens of a chat request, with what the chat format adds."""
        return _PER_REQUEST + sum(_PER_MESSAGE + self.count(message["content"]) for message in messages)

    def most_messages(self, messages: list[dict[str, str]]) -> int:
        """What no count of any vocabulary exceeds: the bytes of the messages, with what the chat format adds."""
        return _PER_REQUEST + sum(_PER_MESSAGE + len(message["content"].encode()) for message in messages)

    def cut(self, text: str, limit: int) -> str:
        """The longest beginning of `text` with at most about `limit` tokens, ended at a word where there is one."""
        if self.count(text) <= limit:
            return text
        if self.encoding:
            tokens = self.encoding.encode(text, disallowed_special=())[: max(limit - 1, 0)]
            kept = self.encoding.decode(tokens, errors="ignore")
        else:
            kept = text[: len(text) * max(limit - 1, 0) // self.count(text)]
        return (re.sub(r"\s+\S*$", "", kept) or kept) + "…"


def _encoding_name(model: str) -> str | None:
    try:
        return tiktoken.encoding_name_for_model(model)
    except KeyError:
        return "o200k_base" if re.match(r"gpt-|o\d", model) else None


@lru_cache
def _cached_encoding(name: str) -> tiktoken.Encoding | None:
    """The encoding, if tiktoken's own cache holds its vocabulary whole; else tiktoken would go and download it."""
    digest = _VOCABULARIES.get(name)
    file = _cache_folder() / hashlib.sha1(_ADDRESS.format(name).encode()).hexdigest()
    if digest is None or not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        return None
    return tiktoken.get_encoding(name)


def _cache_folder() -> Path:
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    return Path(named) if named else Path(tempfile.gettempdir()) / "data-gym-cache"
