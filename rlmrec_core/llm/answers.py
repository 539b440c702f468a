"""The boundary: every body that came from a server, now or in an earlier run, is read here and nowhere else.

Whatever is malformed becomes a `BrokenAnswer` with a reason. What is merely odd (half a surrogate pair, an absurd token
count, content in parts) is put right where there is one way to read it, since an answer that was paid for counts.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from rlmrec_core.llm.errors import BrokenAnswer

_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_TOKENS = 100_000_000  # of one answer; more is no count
_SHORT = 200  # characters of a name, such as a model's
_ECHOED = frozenset({"input", "ctx", "prompt", "messages", "request", "url", "flagged_input"})
_TELLING = ("message", "msg", "detail", "details", "error", "errors", "title", "description", "error_description")
_DEPTH = 6


def read_json(body: bytes | str) -> Any:
    """A body as JSON, its texts free of halves of surrogate pairs. Raises BrokenAnswer."""
    try:
        return orjson.loads(body)
    except ValueError:
        pass  # stricter than some servers: NaN, half a surrogate pair, a byte-order mark
    try:
        return _mended(json.loads(body, parse_int=_integer))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "no JSON"
        raise BrokenAnswer(f"{reason} in the body, which begins {shown(body)}") from None


def shown(body: bytes | str) -> str:
    """The beginning of a body, for a message."""
    text = body[:80].decode(errors="replace") if isinstance(body, bytes) else body[:80]
    return repr(clean(text))


def clean(text: str) -> str:
    """Text that can be encoded: a lone half of a surrogate pair becomes the replacement character."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float("inf")


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): _mended(one) for key, one in value.items()}
    return value


@dataclass(frozen=True)
class Usage:
    """Tokens that a server billed; None where it did not say, or said something absurd.

    reasoning_tokens: those of the output that were thoughts, as far as it told.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    reasoning_tokens: int = 0

    @classmethod
    def read(cls, body: bytes) -> "Usage":
        """Whatever the body tells, which may be nothing. Never raises."""
        try:
            return cls.of(read_json(body))
        except BrokenAnswer:
            return cls()

    @classmethod
    def of(cls, envelope: Any) -> "Usage":
        """The usage in a body that was read."""
        usage = _mapping(_mapping(envelope).get("usage"))
        details = _mapping(usage.get("completion_tokens_details"))
        read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        return cls(read, written, _count(details.get("reasoning_tokens")) or 0)


@dataclass(frozen=True)
class ChatAnswer:
    """What a server said; the token counts are None where it reported none.

    thought: whether the model wrote thoughts outside its answer, as reasoning models do.
    """

    text: str
    finish_reason: str | None
    refusal: str | None
    model: str | None
    usage: Usage
    thought: bool = False

    @classmethod
    def read(cls, body: bytes) -> "ChatAnswer":
        """The choice of a chat completion, the first if several. Raises BrokenAnswer and nothing else."""
        envelope = read_json(body)
        choices = _mapping(envelope).get("choices")
        several = [_mapping(one) for one in choices] if isinstance(choices, list) else []
        choice = next((one for one in several if one.get("index") == 0), several[0] if several else {})
        message = choice.get("message")
        if not isinstance(message, dict):
            raise BrokenAnswer(f"no chat completion in the body, which begins {shown(body)}")
        refusal, text, finish_reason = message.get("refusal"), _content(message), _name(choice.get("finish_reason"))
        if refusal and not isinstance(refusal, str):
            raise BrokenAnswer("the refusal is no text")
        if text is None and not refusal and finish_reason not in ("content_filter", "length"):
            raise BrokenAnswer("the completion holds no text")
        usage = Usage.of(envelope)
        thought = any(message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
        thought = bool(thought or usage.reasoning_tokens or (text and "<think>" in text[:_SHORT]))
        return cls(text or "", finish_reason, refusal or None, _name(_mapping(envelope).get("model")), usage, thought)

    @property
    def lacks_room(self) -> bool:
        """Whether thoughts took up the whole answer, so that nothing, or only its beginning, was said."""
        return self.finish_reason == "length" and (self.thought or not self.text.strip())


def _content(message: Mapping[str, Any]) -> str | None:
    """The text of a message: plain, or the text parts of several."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [{"type": "text", "text": part} if isinstance(part, str) else _mapping(part) for part in content]
        told = [part.get("text") for part in parts if part.get("type") in ("text", "output_text")]
        texts = [text for text in told if isinstance(text, str)]
        return "".join(texts) if texts else None
    return content if isinstance(content, str) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _name(value: Any) -> str | None:
    return value[:_SHORT] if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


@dataclass(frozen=True)
class Refusal:
    """What a server says instead of an answer, whatever shape its body has.

    Attributes:
        status: HTTP status, or the one that a body with status 200 names.
        message: The server's words, without what it quotes of the request as a value of its own.
        codes: Codes and types, in lower case.
        params: Parameters that the body names as such.
    """

    status: int
    message: str
    codes: frozenset[str] = frozenset()
    params: tuple[str, ...] = ()

    @classmethod
    def read(cls, status: int, body: bytes | str) -> "Refusal":
        """The refusal in an error body. Never raises."""
        try:
            return cls.of(status, read_json(body))
        except BrokenAnswer:
            text = body[:2000].decode(errors="replace") if isinstance(body, bytes) else body[:2000]
            return cls(status, " ".join(re.sub(r"<[^>]*>", " ", clean(text)).split())[:500])

    @classmethod
    def of(cls, status: int, value: Any) -> "Refusal":
        """The refusal in an error body that was read, or in one row of a batch."""
        found = list(_told(value, 0))
        texts = list(dict.fromkeys(text for kind, text in found if kind == "text"))
        codes = frozenset(text.lower()[:_SHORT] for kind, text in found if kind == "code")
        params = tuple(dict.fromkeys(text for kind, text in found if kind == "param"))
        return cls(status, clean("; ".join(texts))[:500], codes, params)

    @classmethod
    def in_answer(cls, body: bytes) -> "Refusal | None":
        """The error that a body with status 200 holds in the place of an answer; None if it holds none."""
        if b'"error"' not in body[:4096] or b'"choices"' in body[:4096]:
            return None
        try:
            envelope = _mapping(read_json(body))
        except BrokenAnswer:
            return None
        if not (error := envelope.get("error")) or envelope.get("choices") or envelope.get("data"):
            return None
        refusal = cls.of(200, error if isinstance(error, dict) else envelope)
        numbers = [int(code) for code in refusal.codes if code.isdecimal() and len(code) == 3 and code >= "400"]
        if not numbers and any("rate" in code and "limit" in code for code in refusal.codes):
            numbers = [429]
        return cls(numbers[0] if numbers else 500, refusal.message, refusal.codes, refusal.params)

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether the server's words or codes match."""
        return bool(pattern.search(self.message)) or any(pattern.search(code) for code in self.codes)

    def __str__(self) -> str:
        codes = " ".join(sorted(code for code in self.codes if code and code != str(self.status)))
        return " ".join(filter(None, [f"http {self.status}", f"({codes})" if codes else "", self.message]))


def _told(value: Any, depth: int, under: str = "message") -> Iterator[tuple[str, str]]:
    """(kind, text) of what an error body tells: text, code or param. What it echoes of the request is passed over."""
    if depth > _DEPTH:
        return
    if isinstance(value, str):
        inner = value.strip()
        if inner[:1] in "{[" and under in _TELLING and depth < _DEPTH:
            try:
                yield from _told(read_json(inner), depth + 1)
            except BrokenAnswer:
                yield "text", value
        else:
            yield "text", value
    elif isinstance(value, list):
        for one in value[:20]:
            yield from _told(one, depth + 1, under)
    elif isinstance(value, dict):
        for key, one in list(value.items())[:50]:
            if key in _ECHOED:
                continue
            if key in ("code", "type", "status", "finish_reason") and isinstance(one, (str, int)):
                yield "code", str(one)[:_SHORT]
            elif key in ("param", "loc", "parameter"):
                for part in one if isinstance(one, list) else [one]:
                    if isinstance(part, str):
                        yield "param", part[:_SHORT]
            elif key in _TELLING or isinstance(one, (dict, list)):
                yield from _told(one, depth + 1, key if key in _TELLING else "")


@dataclass(frozen=True)
class BatchRow:
    """One line of a batch's results.

    Attributes:
        key: Our name for the request.
        body: The raw answer, as the same request would have brought it online; None if there is none.
        refusal: What the server says instead; None where there is an answer.
    """

    key: str
    body: bytes | None
    refusal: Refusal | None = None

    @classmethod
    def read(cls, line: bytes) -> "BatchRow":
        """A line; what it holds as JSON inside a text is read too. Raises BrokenAnswer and nothing else."""
        row = _mapping(read_json(line))
        if not isinstance(key := row.get("custom_id"), str):
            raise BrokenAnswer(f"no custom_id in the line, which begins {shown(line)}")
        told = _inner(row.get("response"))
        response = _mapping(told)
        body, status = _inner(response.get("body")), _status(response.get("status_code"))
        if status == 200 or (status is None and _mapping(body).get("choices")):
            try:
                raw = json.dumps(body, ensure_ascii=False).encode()
            except (ValueError, RecursionError):
                raise BrokenAnswer(f"no answer in the line, which begins {shown(line)}") from None
            refusal = Refusal.in_answer(raw)
            return cls(key, None if refusal else raw, refusal)
        words = [row.get("error"), body, told if isinstance(told, str) else None]
        return cls(key, None, Refusal.of(status or 0, words))


def _inner(value: Any) -> Any:
    """A value, or what a text of JSON holds that stands in its place."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return read_json(value)
        except BrokenAnswer:
            return value
    return value


def _status(value: Any) -> int | None:
    """An HTTP status, also one written as text."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 8:
        value = int(value)
    return _count(value)
