import base64
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from rlmrec_core.config.text import EmbedConfig, MissingSetting
from rlmrec_core.embedding.batches import ModelChanged
from rlmrec_core.embedding.remote import RemoteEncoder
from rlmrec_core.llm.errors import BudgetReached, NothingUsable
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

    go.ledger = tmp_path / "ledger.db"
    return go


def query(ledger, text):
    with closing(sqlite3.connect(ledger)) as db:
        return db.execute(text).fetchall()


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
    "missing": Fault(change=lambda body: body | {"data": body["data"][1:]}),
    "no list": Fault(change=lambda body: {"data": "busy"}),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_once_is_asked_for_once_more(encode, fault):
    with FakeLLM([fault]) as server:
        encoded = encode(server, batch_tokens=None)
    assert len(server.requests) == 2 and encoded.failed == 0


def test_a_missing_key_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingSetting, match="OPENAI_API_KEY"):
        RemoteEncoder(EmbedConfig(encoder="openai", model="e"), tmp_path / "l.db").encode(["a"], lambda *_: None)


def test_an_answer_kept_but_not_read_is_not_paid_again(encode, monkeypatch):
    async def die(*_):
        raise KeyboardInterrupt

    with FakeLLM() as server:
        with monkeypatch.context() as patched:
            patched.setattr("rlmrec_core.embedding.batches.keep", die)
            with pytest.raises(KeyboardInterrupt):
                encode(server, batch_tokens=None)
        encode(server, TEXTS[:7])
    assert len(server.requests) == 1


def test_a_budget_holds_for_vectors_too(encode):
    with FakeLLM() as server, pytest.raises(BudgetReached):
        encode(server, budget_usd=1e-9, price_in=0.02)
    assert not server.requests
    with pytest.raises(MissingSetting, match="price_in"):
        encode(server, budget_usd=1.0)


def with_vector(text, **fields):
    """The server answers so about one text, in whatever company."""

    def plan(n, body):
        def change(answer):
            for one in answer["data"]:
                if text in body["input"][one["index"]]:
                    one |= fields
            return answer

        return Fault(change=change)

    return plan


def refusing(text, status, code=""):
    def plan(n, body):
        return error(status, code) if any(text in one for one in body["input"]) else None

    return plan


BAD = TEXTS[3]
ONE_BAD = {
    "not a number": with_vector(BAD, embedding=[float("nan")] * replies.SIZE),
    "zero": with_vector(BAD, embedding=[0.0] * replies.SIZE),
    "null": with_vector(BAD, embedding=None),
    "another size": with_vector(BAD, embedding=[1.0, 0.0]),
    "http 400": refusing(BAD, 400),
    "http 413": refusing(BAD, 413),
    "http 422": refusing(BAD, 422),
    "too long": refusing(BAD, 400, "context_length_exceeded"),
    "http 500": refusing(BAD, 500),
    "moderated": refusing(BAD, 403, "content_filter"),
    "a drop": lambda n, body: Fault(cut="mid body") if BAD in body["input"] else None,
}


@pytest.mark.parametrize("plan", ONE_BAD.values(), ids=ONE_BAD)
def test_one_bad_text_fails_alone_and_is_asked_again_only_if_wanted(encode, plan):
    with FakeLLM(plan) as server:
        encoded = encode(server, batch_tokens=None)
        assert [place for place, vector in enumerate(encoded.vectors) if not vector.any()] == [3]
        assert encoded.failed == 1
        asked = server.n_requests
        again = encode(server, [*TEXTS, "one more"], batch_tokens=None)
        assert server.n_requests == asked + 1 and server.requests[-1]["input"] == ["one more"]
        assert again.failed == 1 and (again.vectors[:-1] == encoded.vectors).all()
        ((reason,),) = query(encode.ledger, "SELECT reason FROM requests WHERE state = 'failed' AND parts IS NULL")
        assert reason
    with FakeLLM(port=server._port) as server:
        retried = encode(server, batch_tokens=None, retry_failed=True)
        assert retried.failed == 0 and [body["input"] for body in server.requests] == [[BAD]]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_size_of_a_batch_that_is_taken_is_remembered(encode, status):
    def plan(n, body):
        return error(status) if len(body["input"]) > 3 else None

    with FakeLLM(plan) as server:
        assert encode(server, batch_tokens=None, concurrency=1).failed == 0
        refused = server.statuses[status]
        assert refused == 2  # 10 and 5; 2 are taken, and no more are tried
        texts = [f"other {text}" for text in TEXTS]
        assert encode(server, texts, batch_tokens=None).failed == 0
        assert server.statuses[status] == refused


def test_one_bad_text_makes_no_batch_smaller(encode):
    with FakeLLM(refusing(BAD, 413)) as server:
        encode(server, batch_tokens=None)
        encode(server, [f"other {n}" for n in range(9)], batch_tokens=None)
        assert len(server.requests[-1]["input"]) == 9


def test_a_server_that_gives_no_vector_at_all_stops_the_run(encode):
    with FakeLLM(lambda n, body: Fault(body='{"data": []}')) as server:
        with pytest.raises(NothingUsable, match=r"8 requests.*embed\.model"):
            encode(server, batch_tokens=None)
        assert server.n_requests <= 20
    with FakeLLM(port=server._port) as server:  # the fault was not the texts'
        assert encode(server, batch_tokens=None).failed == 0


def test_base64_is_decoded(encode):
    def change(body):
        for one in body["data"]:
            one["embedding"] = base64.b64encode(np.array(one["embedding"], "<f4").tobytes()).decode()
        return body

    with FakeLLM(lambda n, body: Fault(change=change)) as server:
        vectors = encode(server).vectors
    assert vectors == pytest.approx(np.array([replies._vector(text) for text in TEXTS]), abs=1e-5)


def test_a_model_that_changes_its_size_stops_one_run_and_no_other(encode):
    with FakeLLM() as server:
        encode(server, TEXTS[:4])
    smaller = Fault(change=lambda body: body | {"data": [one | {"embedding": [1.0, 0.0]} for one in body["data"]]})
    with FakeLLM(lambda n, body: smaller, port=server._port) as server:
        with pytest.raises(ModelChanged, match=r"2 numbers.* have 16.*Run again.*force"):
            encode(server, batch_tokens=None)
        paid = server.n_requests
        encoded = encode(server, batch_tokens=None)
        assert encoded.failed == 0 and encoded.vectors.shape == (10, 2)
        assert [len(body["input"]) for body in server.requests[paid:]] == [4]  # the answer that told it was kept
        assert encode(server, batch_tokens=None).failed == 0 and server.n_requests == paid + 1
