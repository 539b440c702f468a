"""Throw malformed bodies at the boundary of the model client: `make fuzz-llm`. Any other exception is a fault."""

import argparse
import json
import random
import time
from collections import Counter
from typing import Any

from rlmrec_core.embedding.reading import read_embeddings
from rlmrec_core.llm.answers import BatchRow, ChatAnswer, Refusal, Usage, read_json
from rlmrec_core.llm.batch_server import RemoteBatch
from rlmrec_core.llm.errors import BrokenAnswer
from rlmrec_core.profiling.parser import RejectedAnswer, parse_profile

_ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**20, 10**400, "", "x", "\ud83c", "\udf00 y",
    "\u2028\u0085", "None", [], {}, [[]], [None], {"": None}, "9" * 500, "a" * 500, "data:\x00", "\ufeff", "{", "[{}]",
    {"message": "\ud83c"}, {"text": "t", "type": "text"}, [{"type": "text", "text": "t"}],
]  # fmt: skip
_NAMES = (
    "choices", "message", "content", "refusal", "finish_reason", "usage", "prompt_tokens", "completion_tokens", "model",
    "data", "embedding", "index", "error", "code", "type", "param", "loc", "detail", "msg", "status",
    "completion_tokens_details", "reasoning_tokens", "reasoning_content", "custom_id", "response", "body",
)  # fmt: skip
_PROFILE = '{"summarization": "For fans of fog.", "reasoning": "Its title."}'
_TEMPLATES: list[Any] = [
    {
        "choices": [{"index": 0, "message": {"content": _PROFILE, "refusal": None}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        "model": "m",
    },
    {"data": [{"index": 1, "embedding": [0.1, 0.2]}, {"index": 0, "embedding": [0.3, 0.4]}], "model": "e"},
    {"error": {"message": "no", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported"}},
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "no"}]},
    {"id": "b", "status": "failed", "errors": {"data": [{"message": "no"}]}, "metadata": {"rlmrec": "n"}},
    {"custom_id": "k", "response": {"status_code": 200, "body": {"choices": []}}, "error": None},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started, rng = time.monotonic(), random.Random(options.seed)
    outcomes = Counter(outcome for _ in range(options.bodies) for outcome in read_all(body(rng)))
    print(f"{options.bodies:,} bodies in {time.monotonic() - started:.0f} s, no other exception: {dict(outcomes)}")


def read_all(raw: bytes) -> list[str]:
    """What the readers make of one body; whatever they return can be stored and shown."""
    outcomes = []
    readers = (
        ("profile", lambda one: parse_profile(ChatAnswer.read(one).text, max_words=20)),
        ("chat", ChatAnswer.read),
        ("embeddings", lambda one: read_embeddings(one, 2)),
        ("row", BatchRow.read),
        ("batch", lambda one: RemoteBatch.of(read_json(one))),
    )
    for name, read in readers:
        try:
            found = read(raw)
        except (BrokenAnswer, RejectedAnswer) as error:
            str(error).encode()
            outcomes.append(f"{name} broken")
        else:
            str(found).encode()
            outcomes.append(f"{name} read")
    usage = Usage.read(raw)
    assert all(count is None or 0 <= count < 2**62 for count in (usage.tokens_in, usage.tokens_out))
    for refusal in (Refusal.read(400, raw), Refusal.in_answer(raw)):
        str(refusal).encode()
    return outcomes


def body(rng: random.Random) -> bytes:
    """A good body with something wrong: another value, a part gone, a byte changed, nested without end."""
    value = json.loads(json.dumps(rng.choice(_TEMPLATES)))
    for _ in range(rng.randrange(1, 4)):
        value = _changed(value, rng)
    raw = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    match rng.randrange(400):
        case 0:  # what is large is rare, or nearly all the time would go into it
            return b"[" * 3000 + raw + b"]" * rng.choice((0, 3000))
        case 1:
            return raw.replace(b"9", b"9" * 5000)
        case 2:
            return raw.decode(errors="replace").encode("utf-16")
        case way if way < 20:
            return b"\xef\xbb\xbf" + raw
        case way if way < 40:
            return raw[: rng.randrange(len(raw) + 1)]
        case way if way < 60:
            place = rng.randrange(len(raw) + 1)
            return raw[:place] + rng.randbytes(rng.randrange(1, 4)) + raw[place:]
    return raw


def _changed(value: Any, rng: random.Random) -> Any:
    """The value with one part of it exchanged, added or taken away."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        return {**value, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    match rng.randrange(4):
        case 0 if isinstance(value, dict):
            return {**value, rng.choice(_NAMES): rng.choice(_ODD)}
        case 1 if isinstance(value, dict) and value:
            gone = rng.choice(list(value))
            return {key: one for key, one in value.items() if key != gone}
        case 2:
            return [value] * rng.randrange(4)
    return rng.choice(_ODD)


if __name__ == "__main__":
    main()
