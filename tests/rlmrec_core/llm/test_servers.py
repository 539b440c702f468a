"""Servers as they are: odd bodies, lies about usage, refusals in every shape, echoed keys. Over a real socket."""

import asyncio
import base64
import json
import sqlite3
import time
from contextlib import closing, suppress
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.config.text import MissingSetting, environment_address, server_identity
from rlmrec_core.llm.answers import ChatAnswer, Refusal, Usage
from rlmrec_core.llm.capabilities import Capabilities
from rlmrec_core.llm.errors import BrokenAnswer, BudgetReached, NothingUsable, RunStopped, ServerRefused
from rlmrec_core.llm.server import Redactor, Server
from rlmrec_core.profiling.job import ProfileJob
from rlmrec_core.profiling.sources import ItemSource
from tests.fake_llm import FakeLLM, Fault
from tests.fake_llm.faults import said

KEY = "sk-canary-51c0ffee77"
GOOD = '{"summarization": "For fans of fog.", "reasoning": "The title."}'
PRICED = {"price_in": 1.0, "price_out": 2.0}


@pytest.fixture
def run(patient_run, monkeypatch):
    """As `patient_run`, with no time between attempts."""
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)
    return patient_run


@pytest.fixture
def patient_run(tmp_path, monkeypatch):
    """Profiles of n items, by default one after the other."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def go(server, n=3, texts=(), **llm):
        settings = LlmConfig(**{"model": "m", "base_url": server.url, "concurrency": 1, "timeout_seconds": 5.0} | llm)
        config = ProfileConfig(generator="llm", domain="books", llm=settings)
        about = [texts[i] if i < len(texts) else f"About {i}." for i in range(n)]
        sources = [ItemSource(i, f"Title {i}", text, (), ()) for i, text in enumerate(about)]
        job = ProfileJob(lambda: sources, "item", config, tmp_path / "l.db", "test")
        go.job = job
        rows = [row for batch in job.rows() for row in batch]
        return SimpleNamespace(rows=rows, report=job.report(), status=[row.status for row in rows])

    go.ledger = tmp_path / "l.db"
    return go


def with_message(**fields):
    def change(body):
        choice = body["choices"][0]
        return body | {"choices": [choice | {"message": choice["message"] | fields}]}

    return Fault(change=change)


def with_choice(**fields):
    return Fault(change=lambda body: body | {"choices": [body["choices"][0] | fields]})


def with_usage(**usage):
    return Fault(change=lambda body: body | {"usage": body["usage"] | usage})


def refusal(status, body):
    return Fault(status=status, body=body if isinstance(body, str) else json.dumps(body))


HALF = '{"summarization": "Warm \\ud83c light.", "reasoning": "r"}'


@pytest.mark.parametrize(
    "fault",
    [
        said(HALF),
        said(json.dumps({"summarization": "\ud83c", "reasoning": "r"})),
        with_message(refusal="\ud83c no"),
        with_message(refusal={"why": 1}),
        with_message(content=7),
        with_choice(finish_reason={"a": 1}),
        Fault(change=lambda body: body | {"model": "m \udf00"}),
        with_usage(prompt_tokens=10**20, completion_tokens=10**20),
        Fault(body='{"choices": [{"message": {"content": ' + "9" * 5000 + "}}]}"),
        Fault(body="[" * 100_000),
        Fault(body=""),
        refusal(400, {"error": {"message": "half \ud83c a pair"}}),
        refusal(400, "[" * 100_000),
    ],
)
def test_no_answer_however_odd_stops_a_run_or_the_next_one(run, fault):
    with FakeLLM(lambda n, body: fault if "About 1" in json.dumps(body) else None) as server:
        for _ in range(2):
            found = run(server)
            assert [found.status[0], found.status[2]] == ["ok", "ok"]
            json.dumps([row.__dict__ | {"source_parts": None} for row in found.rows]).encode()


@given(st.binary(max_size=200))
def test_bytes_become_an_answer_or_a_broken_one(raw):
    with suppress(BrokenAnswer):
        ChatAnswer.read(raw)
    Usage.read(raw)
    str(Refusal.read(400, raw)).encode()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(("choices", "message", "content", "usage", "refusal", "error", "detail", "loc", "code")), inner
    ),
    max_leaves=12,
)  # fmt: skip


@given(_JSON)
def test_json_becomes_an_answer_or_a_broken_one(value):
    raw = json.dumps(value).encode()
    with suppress(BrokenAnswer):
        str(ChatAnswer.read(raw)).encode()
    str(Refusal.read(500, raw)).encode()
    str(Refusal.in_answer(raw)).encode()


def test_a_group_commit_isolates_its_bad_member(tmp_path):
    from rlmrec_core.llm.database import GroupCommit, connect

    async def go():
        commits = GroupCommit(lambda: connect(tmp_path / "g.db"))
        commits.post(lambda db: db.execute("CREATE TABLE t (x TEXT)"))
        waiting = [commits.submit(lambda db, x=x: db.execute("INSERT INTO t VALUES (?)", (x,))) for x in "ab\ud83cde"]
        done = await asyncio.gather(*waiting, return_exceptions=True)
        commits.close()
        return [isinstance(one, Exception) for one in done]

    assert asyncio.run(go()) == [False, False, True, False, False]
    with closing(sqlite3.connect(tmp_path / "g.db")) as db:
        assert db.execute("SELECT group_concat(x, '') FROM t").fetchone() == ("abde",)


BODY = {"messages": [{"role": "user", "content": "I love response_format and max_tokens."}], "response_format": {},
        "max_completion_tokens": 400, "temperature": 0.0}  # fmt: skip
PLAIN = BODY | {"messages": [{"role": "user", "content": "fog"}]}


@pytest.mark.parametrize(
    ("status", "body", "asked", "changed"),
    [
        (422, {"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"],
               "msg": "Extra inputs are not permitted"}]}, "type": "invalid_request_error"}, PLAIN, "cap"),
        (400, {"error": {"message": "Unrecognized request argument supplied: max_completion_tokens"}}, PLAIN, "cap"),
        (400, {"detail": "max_completion_tokens is too large: 400, at most 100 are supported"}, PLAIN, None),
        (400, {"error": {"message": "context length exceeded: max_completion_tokens + 900"}}, PLAIN, None),
        (400, {"error": {"message": "This response_format type is unavailable now"}}, PLAIN, "format"),
        (400, {"error": "unsupported value in: I love response_format"}, BODY, None),
        (400, {"error": {"message": "no", "param": "temperature", "code": "unsupported_value"}}, PLAIN, "temperature"),
        (400, {"error": {"message": "no", "param": "top_p", "code": "unsupported_parameter"}}, PLAIN, None),
        (400, "<html>temperature is not supported</html>", PLAIN, "temperature"),
    ],
)  # fmt: skip
def test_a_refusal_is_read_by_parameter_from_every_shape(status, body, asked, changed):
    before = Capabilities()
    raw = body if isinstance(body, str) else json.dumps(body)
    after = before.after_refusal(Refusal.read(status, raw), asked)
    assert changed is None if after is None else getattr(after, changed) != getattr(before, changed)


def test_what_was_learnt_expires_and_belongs_to_its_settings(monkeypatch):
    learnt = Capabilities(cap="max_tokens", refused_caps=("max_completion_tokens",)).to_json()
    assert Capabilities.remembered(learnt, Capabilities()).cap == "max_tokens"
    assert Capabilities.remembered(learnt, Capabilities.of("openai")).cap == "max_completion_tokens"
    for text in (None, "", "[]", '{"format": "json_schema"}', learnt.replace("learnt_at", "x")):
        assert Capabilities.remembered(text, Capabilities()) == Capabilities()
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert Capabilities.remembered(learnt, Capabilities()).cap == "max_completion_tokens"


def test_an_answer_a_little_over_the_cap_changes_nothing(run):
    with FakeLLM(lambda n, body: with_usage(completion_tokens=430)) as server:
        assert run(server).status == ["ok"] * 3
    assert all("max_completion_tokens" in body for body in server.requests)


def test_a_cap_that_is_ignored_and_another_that_is_refused(run):
    def plan(n, body):
        if "max_tokens" in body:
            return refusal(400, {"error": {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"}})
        return with_usage(completion_tokens=4000)

    with FakeLLM(plan) as server:
        assert run(server, n=5).status == ["ok"] * 5
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (refusal(403, {"error": {"message": "Your input was flagged for violence", "code": 403}}), "declined"),
        (refusal(400, {"error": {"code": "content_filter", "message": "The response was filtered"}}), "declined"),
        (refusal(403, {"error": {"message": "no"}}), "failed"),
    ],
)
def test_one_input_that_is_refused_is_that_rows_alone(run, fault, status):
    with FakeLLM(lambda n, body: fault if "About 1" in json.dumps(body) else None) as server:
        assert run(server).status == ["ok", status, "ok"]
        asked = server.n_requests
        assert run(server).status == ["ok", status, "ok"]
        assert server.n_requests == asked + (status == "failed")


@pytest.mark.parametrize("fault", [refusal(402, {"error": "pay"}), refusal(400, {"message": "Insufficient credits"})])
def test_no_credit_stops_the_run(run, fault):
    with FakeLLM([fault]) as server, pytest.raises(ServerRefused, match="kept"):
        run(server)
    assert server.n_requests == 1


def test_an_error_with_status_200_is_an_error_and_not_charged(run):
    with FakeLLM([Fault(body='{"error": {"message": "slow down", "code": 429}}')]) as server:
        result = run(server, **PRICED)
    assert result.status == ["ok"] * 3 and result.report["faults"] == {"http 429": 1}
    assert result.report["ledger"]["calls"] == {"answered": 3, "refused": 1}


@pytest.fixture
def clock(monkeypatch):
    """Time that passes at once where somebody sleeps for long; seconds since the test began."""
    now, sleep, skipped = time.monotonic, asyncio.sleep, []

    async def skip(seconds, *rest):
        await sleep(0 if seconds >= 0.1 else seconds, *rest)
        skipped.extend([seconds] if seconds >= 0.1 else [])

    began = now()
    monkeypatch.setattr("time.monotonic", lambda: now() + sum(skipped))
    monkeypatch.setattr("asyncio.sleep", skip)
    return lambda: time.monotonic() - began


@pytest.mark.parametrize("seconds", [40, 10_000])
def test_a_server_that_is_loading_is_waited_for_within_the_deadline(patient_run, clock, seconds):
    with FakeLLM(lambda n, body: refusal(503, "loading") if clock() < seconds else None) as server:
        found = patient_run(server, n=1, deadline_seconds=120)
    assert found.status == ["ok" if seconds == 40 else "failed"]
    assert seconds <= clock() < 70 or 120 <= clock() < 150  # a last wait may pass the deadline by as much as it lasts
    assert server.n_requests < 20


@pytest.mark.parametrize("status", [600, 999, 418])
def test_a_status_that_promises_nothing_fails_its_row_at_once(run, status):
    with FakeLLM(lambda n, body: refusal(status, "no") if "About 1" in json.dumps(body) else None) as server:
        assert run(server).status == ["ok", "failed", "ok"]
    assert server.n_requests == 3


def test_a_server_that_dies_stops_the_run_and_refused_connections_cost_nothing(run, monkeypatch):
    from rlmrec_core.llm.server import Server as Real

    async def ready(self):
        pass

    monkeypatch.setattr(Real, "check", ready)
    with FakeLLM() as server:
        pass
    with pytest.raises(ServerRefused, match="cannot be reached any more"):
        run(server, n=20, concurrency=8, budget_usd=1.0, **PRICED)
    assert run.job.report()["ledger"]["possibly_billed_usd"] == 0


def test_a_run_that_yields_nothing_stops_early(run):
    with FakeLLM(lambda n, body: said("no idea")) as server, pytest.raises(NothingUsable, match=r"first 20 .*\$"):
        run(server, n=100, **PRICED)
    assert server.n_requests == 20  # each of ten rows was asked about twice


def thinks(body):
    """The answer of a model whose thoughts take 2,000 tokens."""
    if body["max_completion_tokens"] > 2000:
        return None
    cut = {"message": {"content": "", "reasoning_content": "Let me think"}, "finish_reason": "length"}
    return Fault(change=lambda answer: answer | {"choices": [cut]})


def test_a_model_that_thinks_gets_room_once_for_all(run):
    with FakeLLM(lambda n, body: thinks(body)) as server:
        assert run(server, n=4).status == ["ok"] * 4
    assert server.n_requests == 5
    unfinished = refusal(400, {"error": {"message": "Could not finish the message because max_tokens was reached."}})
    with FakeLLM([unfinished]) as server:
        assert run(server, n=4, model="other").status == ["ok"] * 4


def test_the_room_for_thoughts_is_a_setting(run):
    with FakeLLM(lambda n, body: thinks(body)) as server:
        assert run(server, n=2, reasoning="on").status == ["ok"] * 2
        assert server.n_requests == 2 and server.requests[0]["max_completion_tokens"] == 400 + 4096
        rows = run(server, n=2, model="other", reasoning="off").rows
    assert {body["max_completion_tokens"] for body in server.requests[2:]} == {400, 800}
    assert all(row.status == "failed" and "set llm.reasoning = on" in row.error for row in rows)


def test_a_batch_gives_room_for_thoughts_too(run):
    with FakeLLM() as server:

        def change(output, errors):
            asked = json.loads(list(server.batches.files.values())[-1].splitlines()[0])["body"]
            for row in output if thinks(asked) else ():
                row["response"]["body"] = thinks(asked).change(row["response"]["body"])
            return output, errors

        server.batches.change = change
        assert run(server, mode="batch", batch_poll_seconds=0.01).status == ["ok"] * 3
    assert len(server.batches.made) == 2


LIES = {
    "usage missing": Fault(change=lambda body: body | {"usage": None}),
    "usage of nothing": with_usage(prompt_tokens=0, completion_tokens=0),
    "usage ten times": with_usage(prompt_tokens=9000, completion_tokens=4000),
    "above the cap": with_usage(completion_tokens=1200),
    "absurd usage": with_usage(prompt_tokens=10**20),
    "negative usage": with_usage(prompt_tokens=-5, completion_tokens=-5),
    "long answers": said("word " * 20_000),
    "many choices": Fault(
        change=lambda body: body
        | {"choices": body["choices"] * 9, "usage": {"prompt_tokens": 300, "completion_tokens": 3600}}
    ),
    "usage as text": with_usage(prompt_tokens="300", completion_tokens="many"),
    "drops": Fault(cut="mid body"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lying_server_stays_within_budget_and_one_answer(run, lie):
    budget = 0.05
    with FakeLLM(lambda n, body: lie, latency=0.01) as server, suppress(RunStopped):
        run(server, n=60, concurrency=16, budget_usd=budget, **PRICED)
    with closing(sqlite3.connect(run.ledger)) as db:
        costs = [
            row[0] for row in db.execute("SELECT coalesce(cost, held) FROM calls WHERE state IN ('answered', 'lost')")
        ]
    assert costs and sum(costs) <= budget + max(costs)
    asked = [sum(len(message["content"]) for message in body["messages"]) for body in server.requests]
    assert max(asked) < 12_000  # an over-long answer is not quoted back whole


def test_the_budget_says_what_was_spent(run):
    with FakeLLM(lambda n, body: LIES["usage ten times"]) as server, pytest.raises(BudgetReached) as told:
        run(server, n=40, budget_usd=0.1, **PRICED)
    assert "are spent" in str(told.value) and len(str(told.value)) < 500


@pytest.mark.parametrize("spelling", ["http://LOCALHOST:8000/v1/", "http://localhost:8000/v1", "http://[::1]:8000/v1"])
def test_one_server_has_one_name(spelling):
    assert server_identity(LlmConfig(base_url=spelling).base_url) == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    "address",
    ["256.1.1.1/v1", "http://256.1.1.1/v1", "http://exa mple/v1", "ftp://x/v1", "http://", "x", "//x/v1", "http://[::g]/v1",
     "http://x:99999/v1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_settings(address):
    with pytest.raises(ValueError, match=r"base_url\n.*(no address of a server|[Pp]ort|IPv6)"):
        LlmConfig(base_url=address)
    with pytest.raises(MissingSetting, match="OPENAI_BASE_URL: "):
        environment_address({"OPENAI_BASE_URL": address})


@pytest.mark.parametrize(
    "address",
    ["http://x/v1?key=SECRET", "http://u:SECRET@x/v1", "http://x/v1?api-key=SECRET", "http://x/sk-SECRETSECRETSECRET/v1"],
)  # fmt: skip
def test_a_key_in_an_address_is_refused_and_not_shown(address):
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as told:
        LlmConfig(base_url=address)
    assert "SECRET" not in str(told.value)
    assert LlmConfig(base_url="http://x/v1?api-version=1").base_url


@pytest.mark.parametrize("odd", ["“{}”", "{}\n", "{} ", "{}\u200b"])
def test_a_key_with_an_odd_character_is_refused_without_being_shown(odd):
    with pytest.raises(MissingSetting, match=r"U\+") as told:
        Server.require_key({"OPENAI_API_KEY": odd.format(KEY)})
    assert KEY not in str(told.value)


def encodings(key):
    raw = key.encode()
    escaped = "".join(f"\\u{ord(one):04x}" for one in key)
    forms = [key, escaped, raw.hex(), raw.hex().upper()]
    return forms + [base64.b64encode(b"x" * n + raw).decode() for n in range(3)]


@pytest.mark.parametrize("form", encodings(KEY))
def test_a_key_that_is_echoed_is_taken_out_however_it_is_written(form):
    cleaned = Redactor(KEY).bytes(f'{{"a": "{form}"}}'.encode())
    assert b"***" in cleaned and json.loads(cleaned)
    assert Redactor("none").bytes(b"none of these") == b"none of these"


@pytest.mark.parametrize("form", encodings(KEY)[:5])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_the_key_is_in_no_file_whatever_the_server_echoes(run, form, status, caplog):
    text = json.dumps({"summarization": "@", "reasoning": "r"}).replace("@", "@@")
    if status == 200:
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice], "model": "@@"})
    else:
        body = '{"error": {"message": "your key @@"}}'
    with FakeLLM(lambda n, _: refusal(status, body.replace("@@", form))) as server:
        result = run(server, n=1)
    files = b"".join(file.read_bytes() for file in run.ledger.parent.rglob("*") if file.is_file())
    everything = files + str(result.rows).encode() + json.dumps(result.report).encode() + caplog.text.encode()
    assert not [one for one in encodings(KEY)[:4] if one.encode() in everything]


def test_a_status_in_the_three_hundreds_that_leads_nowhere_fails_its_row(run):
    with FakeLLM(lambda n, body: Fault(status=304, body="") if "About 1" in json.dumps(body) else None) as server:
        assert run(server).status == ["ok", "failed", "ok"]


def test_a_redirect_is_not_followed_with_the_key(run):
    elsewhere = Fault(status=307, headers={"location": "http://127.0.0.1:9/steal"})
    with FakeLLM([elsewhere]) as server, pytest.raises(ServerRefused, match=r"sends us on to 127\.0\.0\.1:9"):
        run(server)


TOLD = "A cold harbour and a slow detective, " + "and so on " * 20


def profile(summarization, reasoning="r"):
    return said(json.dumps({"summarization": summarization, "reasoning": reasoning}))


@pytest.mark.parametrize(
    "bad",
    [profile("x" * 100_000), profile("雾" * 2400), profile("Fine.", "why " * 25_000), profile(TOLD)],
    ids=["no space", "chinese", "long reasoning", "copy"],
)  # fmt: skip
def test_bounds_hold_in_characters_and_a_copy_is_refused(run, bad):
    with FakeLLM([bad]) as server:
        assert run(server, n=1, texts=[TOLD]).rows[0].attempts == 2
    assert server.n_requests == 2


@pytest.mark.parametrize(
    "wrapped",
    [
        'I fill {"summarization": "...", "reasoning": "..."} in.\n</think>\n' + GOOD,
        "I will use {summarization, reasoning}. " + GOOD,
    ],
)
def test_what_is_unambiguous_is_read(run, wrapped):
    with FakeLLM([said(wrapped)]) as server:
        assert run(server, n=1).rows[0].summarization == "For fans of fog."
    assert server.n_requests == 1


def test_content_in_parts_is_read(run):
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": GOOD}]
    with FakeLLM([with_message(content=parts)]) as server:
        assert run(server, n=1).rows[0].summarization == "For fans of fog."
