"""The key on its way through everything: nothing that is kept holds it, however a server echoes it."""

import base64
import json
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_HOME, PREFECT_SERVER_DATABASE_CONNECTION_URL

from flows import stages
from rlmrec_core.llm.errors import RunStopped
from tests.fake_llm import FakeLLM, Fault
from tests.tasks.by_hand import tiny

pytestmark = pytest.mark.usefixtures("prefect_db")
KEY = "sk-canary/51c0+ffee77=="
ESCAPED = "".join(f"\\u{ord(one):04x}" for one in KEY)
FORMS = [
    KEY, ESCAPED, ESCAPED.replace("\\", "\\\\"), KEY.replace("/", "\\/"), KEY.replace("/", "%2F").replace("+", "%2b"),
    KEY.encode().hex(), *(base64.b64encode(b"x" * n + KEY.encode()).decode() for n in range(3)),
]  # fmt: skip
"""As JSON may hold the key, and JSON in the texts of JSON."""
CORES = [re.sub(r"\\+u00(..)", lambda found: chr(int(found[1], 16)), form)[4:-4] for form in FORMS[5:]] + [KEY]
"""What to look for where all escapes are taken away; the ends of base64 belong to its neighbours, too."""


def answer(message, **choice):
    choice = {"index": 0, "message": {"role": "assistant", "content": None} | message, "finish_reason": "stop"} | choice
    return {"choices": [choice], "model": "m @@", "usage": {"prompt_tokens": 9, "completion_tokens": 9}}


TOLD = json.dumps({"summarization": "For fans of @@ and fog.", "reasoning": "As @@ says."})
CHAT = [
    (200, answer({"content": TOLD})),
    (200, answer({"content": "I will not tell @@."})),
    (200, answer({"refusal": "Not with @@."})),
    (200, answer({"content": TOLD}, finish_reason="@@")),
    (200, {"error": {"message": "slow: @@", "code": "@@", "type": "@@"}}),
    (200, "<html>@@</html>"),
    (400, {"error": {"message": "bad @@", "param": "@@"}}),
    (400, {"error": {"message": "content_filter @@", "code": "content_filter"}}),
    (422, {"detail": [{"loc": ["body", "@@"], "msg": "@@", "input": "@@"}]}),
    (403, "@@ is not allowed to"),
    (500, "@@"),
    (200, "x", {"x-echo": "@@\x00"}),
    (200, "x", {"content-length": "@@"}),
]  # fmt: skip
VECTORS = [
    (400, {"error": {"message": "bad @@"}}),
    (500, "@@"),
    (200, {"data": "@@"}),
    (200, {"data": [{"index": 0, "embedding": "@@"}], "model": "@@"}),
]


def echoing(told):
    """A plan by which every kind of answer comes with every form of the key."""

    def plan(n, body):
        (status, content, *headers), form = told[n % len(told)], FORMS[n // len(told) % len(FORMS)]
        text = (content if isinstance(content, str) else json.dumps(content)).replace("@@", form)
        return Fault(status, {k: v.replace("@@", KEY) for k, v in (headers or [{}])[0].items()}, text)

    return plan


def echo_rows(output, errors):
    """Rows of a batch, in each of which something holds the key."""
    for n, row in enumerate(output):
        status, content, *_ = CHAT[n % 5] if n % 2 else CHAT[6 + n % 3]
        row["response"] = {"status_code": status, "body": content}
        row["error"] = {"message": "@@"} if status != 200 else None
    lines = [json.dumps(row).replace("@@", FORMS[n % len(FORMS)]) for n, row in enumerate(output)]
    return lines[::2], lines[1::2]


@pytest.fixture
def ask(store, monkeypatch):
    """Stages that ask a server, with whatever they end in."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)
    config = tiny(ingest={"sample_items": 80, "sample_users": 40}, prepare={"k_core": 1})
    stages.ingest(config.ingest, store)
    stages.prepare(config.prepare, store)

    def profiles(at, **llm):
        llm = {"model": "m", "base_url": at.url, "concurrency": 1, "timeout_seconds": 5.0} | llm
        made = tiny(item_profiles={"generator": "llm", "llm": llm})
        with suppress(RunStopped):
            stages.item_profiles(made.item_profiles, store)

    def vectors(server):
        made = tiny(embed={"encoder": "openai", "model": "e", "base_url": server.url, "batch_tokens": 64})
        stages.item_profiles(made.item_profiles, store)
        stages.user_profiles(made.user_profiles, store)
        with suppress(RunStopped):
            stages.embed(made.embed, store)

    return profiles, vectors


def test_nothing_that_is_kept_holds_the_key(ask, store, caplog):
    profiles, vectors = ask
    with FakeLLM(echoing(CHAT)) as server:
        profiles(server)
        assert server.n_requests > len(CHAT) * len(FORMS) / 2
        server.batches.change = echo_rows
        profiles(server, model="m2", mode="batch", batch_poll_seconds=0.01)
        assert server.batches.made
        server.batches.ending, server.batches.errors = "failed", [{"message": KEY, "code": KEY}]
        profiles(server, model="m3", mode="batch", batch_poll_seconds=0.01)
        server.batches.refuse = lambda method, path: (401, {"error": {"message": KEY}})
        profiles(server, model="m4", mode="batch")
    with FakeLLM(echoing(VECTORS)) as server:
        vectors(server)
        assert server.n_requests > len(VECTORS)
    APILogHandler().flush()
    kept = [Path(store.url), Path(PREFECT_HOME.value()), Path(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()[18:])]
    text = unescaped("".join(map(everything, kept)) + caplog.text)
    assert text.count("***") > 100 and "bad ***" in text and "is not allowed to" in text
    assert not [core for core in CORES if core.lower() in text.lower()]


@pytest.mark.parametrize("kind", ["openai", "azure"])
def test_no_other_server_hears_of_the_key(ask, kind, caplog):
    profiles, _ = ask
    with FakeLLM() as thief:
        elsewhere = {"location": thief.url.replace("127.0.0.1", f"{KEY.replace('/', '')}@localhost") + f"?k={KEY}"}
        with FakeLLM(lambda n, body: Fault(307, elsewhere)) as server:
            profiles(server, server=kind)
            assert any(KEY in value for head in server.heads for value in head.values())
        assert not thief.heads
    assert "sends us on to localhost" in caplog.text and KEY.replace("/", "") not in caplog.text


def everything(path):
    """What a file or folder holds, as one text."""
    if path.is_dir():
        return "".join(map(everything, sorted(path.iterdir())))
    if path.suffix == ".parquet":
        return str(pq.read_table(path).to_pylist())
    raw = path.read_bytes()
    if not raw.startswith(b"SQLite format 3"):
        return raw.decode(errors="replace")
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        tables = [name.decode() for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        cells = (cell for table in tables for row in db.execute(f'SELECT * FROM "{table}"') for cell in row)
        return "\n".join(cell.decode(errors="replace") for cell in cells if isinstance(cell, bytes))


def unescaped(text):
    text = re.sub(r"\\+u00([2-7][0-9a-fA-F])", lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"%([2-7][0-9a-fA-F])", lambda found: chr(int(found[1], 16)), text)
    return text.replace("\\/", "/")
