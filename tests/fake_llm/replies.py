"""What the model says when all is well: an answer that follows from the request alone."""

import hashlib
import json
from typing import Any

import numpy as np

Body = dict[str, Any]
SIZE = 16  # components of an embedding


def prompt_hash(body: Body) -> str:
    """Names what is asked for, whatever the order of keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def chat(body: Body) -> Body:
    """A profile that names the prompt it was made from; where an order of candidates is asked for, one."""
    name = prompt_hash(body)
    told: Body = {"summarization": f"People who enjoy what {name[:8]} offers."}
    if candidates := _candidates(body):
        told = {"items": _order(candidates, int(name[:15], 16))}
    told["reasoning"] = f"It follows from {name[8:16]}."
    words = sum(len(message["content"].split()) for message in body["messages"])
    return {
        "id": f"chatcmpl-{name[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": f"{body['model']}-2026-01-01",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": json.dumps(told)}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": words, "completion_tokens": 20, "total_tokens": words + 20},
    }


def embeddings(body: Body) -> Body:
    """Unit vectors drawn from each text's hash, in the reverse of the order asked for, as a server may."""
    data = [
        {"object": "embedding", "index": place, "embedding": _vector(text)} for place, text in enumerate(body["input"])
    ]
    tokens = sum(len(text.split()) for text in body["input"])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": body["model"], "data": data[::-1], "usage": usage}


def _candidates(body: Body) -> list[Body]:
    """What is to be put in order; nothing where something else is asked for."""
    try:
        found = json.loads(body["messages"][1]["content"])["candidates"]
    except (ValueError, LookupError, TypeError):
        return []
    return list(found)


def _order(candidates: list[Body], seed: int) -> list[int]:
    """Twenty candidates, now and then with an index that is invented, repeated or missing, as models answer."""
    rng = np.random.default_rng(seed)
    items = [int(candidates[place]["index"]) for place in rng.permutation(len(candidates))[:20]]
    for place, kind in zip(rng.integers(len(items), size=2), rng.integers(8, size=2), strict=True):
        items[place] = {0: 9_999_999, 1: items[0]}.get(int(kind), items[place])
    return items[: len(items) - int(rng.integers(8) == 0)]


def _vector(text: str) -> list[float]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    drawn = np.random.default_rng(seed).standard_normal(SIZE)
    return [round(float(x), 6) for x in drawn / np.linalg.norm(drawn)]
