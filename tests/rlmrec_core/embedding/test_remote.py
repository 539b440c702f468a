import json

import numpy as np
import pytest

from rlmrec_core.config.text import MissingSetting
from rlmrec_core.embedding.remote import RemoteEncoder, read_embeddings
from rlmrec_core.profiling.answers import BrokenAnswer
from rlmrec_core.profiling.client import RequestFailed
from tests.fake_llm import FakeLLM, replies
from tests.fake_llm.faults import Fault

TEXTS = [f"text number {n}" for n in range(10)]


@pytest.fixture
def encode(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("rlmrec_core.profiling.client._backoff", lambda _: 0.0)

    def go(server, texts=TEXTS, batch_tokens=64):
        encoder = RemoteEncoder("e", server.url, tmp_path / "ledger.db", batch_tokens)
        return encoder.encode(texts, lambda done, total: None)

    return go


def test_vectors_come_in_the_order_of_texts_although_the_server_reverses_them(encode):
    with FakeLLM() as server:
        vectors = encode(server).vectors
    assert vectors == pytest.approx(np.array([replies._vector(text) for text in TEXTS]), abs=1e-5)


def test_a_text_is_paid_for_once(encode):
    with FakeLLM() as server:
        first = encode(server, TEXTS[:6])
        again = encode(server, TEXTS[2:])
    asked = [text for body in server.requests for text in body["input"]]
    assert sorted(asked) == sorted(TEXTS)
    assert (first.vectors[2:] == again.vectors[:4]).all()


def test_batches_keep_to_their_tokens(encode):
    with FakeLLM() as server:
        encode(server, ["word " * 40, *TEXTS])
    assert len(server.requests) > 1


def changed(**fields):
    def change(body):
        body["data"][0] |= fields
        return body

    return Fault(change=change)


BROKEN = {
    "duplicate": changed(index=1),
    "null": changed(embedding=None),
    "not finite": changed(embedding=[float("nan")] * replies.SIZE),
    "zero": changed(embedding=[0.0] * replies.SIZE),
    "other size": changed(embedding=[1.0, 0.0]),
    "missing": Fault(change=lambda body: body | {"data": body["data"][1:]}),
    "no list": Fault(change=lambda body: {"error": "busy"}),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_broken_embeddings_are_asked_for_once_more(encode, fault):
    with FakeLLM([fault]) as server:
        good = encode(server, batch_tokens=None).vectors
    assert len(server.requests) == 2 and np.isfinite(good).all()
    with FakeLLM(lambda n, body: fault) as server, pytest.raises(RequestFailed):
        encode(server, ["new " + text for text in TEXTS], batch_tokens=None)
    assert len(server.requests) == 2


def test_reading_checks_the_indices():
    body = json.dumps({"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 0]}]}).encode()
    assert read_embeddings(body, 2).tolist() == [[3, 0], [0, 2]]
    with pytest.raises(BrokenAnswer, match="exactly 0 to 2"):
        read_embeddings(body, 3)


def test_a_missing_key_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingSetting, match="OPENAI_API_KEY"):
        RemoteEncoder("e", None, tmp_path / "l.db").encode(["a"], lambda *_: None)
