import json

import numpy as np
import pytest

from rlmrec_core.config.text import EmbedConfig, MissingSetting
from rlmrec_core.embedding.remote import RemoteEncoder, read_embeddings
from rlmrec_core.llm.errors import BrokenAnswer, BudgetReached
from rlmrec_core.shard import Shard
from tests.fake_llm import FakeLLM, replies
from tests.fake_llm.faults import Fault, error

TEXTS = [f"text number {n}" for n in range(10)]


@pytest.fixture
def encode(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)

    def go(server, texts=TEXTS, batch_tokens=64, **settings):
        config = EmbedConfig(encoder="openai", model="e", base_url=server.url, batch_tokens=batch_tokens, **settings)
        return RemoteEncoder(config, tmp_path / "ledger.db").encode(texts, lambda done, total: None)

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


def test_shards_ask_what_the_whole_would_ask(encode, tmp_path):
    texts = [f"{text} " * 8 for text in TEXTS]
    with FakeLLM() as server:
        encode(server, texts)
        alone = [body["input"] for body in server.requests]
        config = EmbedConfig(encoder="openai", model="e", base_url=server.url, batch_tokens=64)
        for number in range(3):
            encoder = RemoteEncoder(config, tmp_path / "shards.db", at_once=3)
            assert encoder.encode_shard(texts, Shard(number, 3), lambda done, total: None) is None
            assert encoder.report()["requests"]["calls"]
        asked = [body["input"] for body in server.requests[len(alone) :]]
        vectors = RemoteEncoder(config, tmp_path / "shards.db").encode(texts, lambda done, total: None).vectors
    assert sorted(asked) == sorted(alone) and server.n_requests == 2 * len(alone)
    assert vectors.any(axis=1).all()


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
    "no list": Fault(change=lambda body: {"data": "busy"}),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_broken_embeddings_are_asked_for_once_more(encode, fault):
    with FakeLLM([fault]) as server:
        good = encode(server, batch_tokens=None).vectors
    assert len(server.requests) == 2 and np.isfinite(good).all()
    with FakeLLM(lambda n, body: fault) as server:
        failed = encode(server, ["new " + text for text in TEXTS], batch_tokens=None)
    assert len(server.requests) == 2 and failed.failed == len(TEXTS) and not failed.vectors.any()


def test_reading_checks_the_indices():
    body = json.dumps({"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 0]}]}).encode()
    assert read_embeddings(body, 2).tolist() == [[3, 0], [0, 2]]
    with pytest.raises(BrokenAnswer, match="exactly 0 to 2"):
        read_embeddings(body, 3)


def test_a_missing_key_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingSetting, match="OPENAI_API_KEY"):
        RemoteEncoder(EmbedConfig(encoder="openai", model="e"), tmp_path / "l.db").encode(["a"], lambda *_: None)


def test_a_refused_batch_is_halved_until_the_bad_text_stands_alone(encode):
    def plan(n, body):
        return error(400, "invalid_request_error") if TEXTS[3] in body["input"] else None

    with FakeLLM(plan) as server:
        encoded = encode(server, batch_tokens=None)
    assert encoded.failed == 1 and [place for place, v in enumerate(encoded.vectors) if not v.any()] == [3]
    answered = [text for body in server.requests if TEXTS[3] not in body["input"] for text in body["input"]]
    assert sorted(answered) == sorted(set(TEXTS) - {TEXTS[3]})


def test_an_answer_kept_but_not_read_is_not_paid_again(encode, monkeypatch):
    async def die(*_):
        raise KeyboardInterrupt

    with FakeLLM() as server:
        with monkeypatch.context() as patched:
            patched.setattr("rlmrec_core.embedding.remote._keep", die)
            with pytest.raises(KeyboardInterrupt):
                encode(server, batch_tokens=None)
        encode(server, TEXTS[:7])
    assert len(server.requests) == 1


def test_a_model_that_changes_its_size_is_named(encode):
    with FakeLLM() as server:
        encode(server, TEXTS[:2])
    smaller = Fault(change=lambda body: body | {"data": [one | {"embedding": [1.0, 0.0]} for one in body["data"]]})
    with FakeLLM([smaller], port=server._port) as server, pytest.raises(BrokenAnswer, match="has changed"):
        encode(server)


def test_a_budget_holds_for_vectors_too(encode):
    with FakeLLM() as server, pytest.raises(BudgetReached):
        encode(server, budget_usd=1e-9, price_in=0.02)
    assert not server.requests
    with pytest.raises(MissingSetting, match="price_in"):
        encode(server, budget_usd=1.0)
