"""Candidates in the order of a language model: priced, asked about once, kept through failures, without leaks."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rlmrec_core.config import load_config
from rlmrec_core.experiments.orders import ORDER_ROWS
from rlmrec_core.llm.errors import BudgetReached, NothingUsable
from rlmrec_core.profiling import SplitLeakage
from rlmrec_core.ranking.top_k import PADDING, top_k
from rlmrec_core.reranking import NoTitles
from rlmrec_core.tables import ORDERS
from storage import ArtifactStore, StoreConfig
from tasks import datasets
from tasks.experiment import LATEX, MARKDOWN, PNG, SETTINGS, SVG, experiment_by_hand, noted
from tasks.models import load_split, load_vectors, titles_of
from tasks.rerank import NotAsked, cost_of_rerank, rerank
from tasks.stage import result_of
from tasks.stages import run_by_hand
from tests.fake_llm import FakeLLM
from tests.fake_llm.books import check_books
from tests.fake_llm.faults import Fault, error, said
from tests.tasks.by_hand import tiny
from tests.tasks.killed_rerank import settings

WORLD = {
    "ingest": {"sample_users": 30, "sample_items": 60},
    "prepare": {"k_core": 1},
    "train": {"variants": ["base"], "max_epochs": 2, "embedding_size": 4, "batch_size": 64},
}
N_USERS = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A trained model: the store, and the artifacts of prepare and train."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("rerank") / "artifacts"))
    done = run_by_hand(tiny(**WORLD), store, last="train")
    return store, done["prepare"][0].ref, done["train"][0].ref


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("rlmrec_core.llm.client._backoff", lambda _: 0.0)
    for name in ("RLMREC_LLM_MODEL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked(world, tmp_path, monkeypatch):
    """Settings with a server, and a ledger of the test's own."""
    monkeypatch.setattr(ArtifactStore, "ledger_path", property(lambda _: tmp_path / "ledger.sqlite"))

    def config(server, n_users=N_USERS, candidates=(20, 25), seed=1, **llm):
        settings = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0, "budget_usd": 1.0} | llm
        return tiny(rerank={"n_users": n_users, "candidates": candidates, "seed": seed, "llm": settings}).rerank

    return config


def orders(world, config, force=False):
    store, prepare, model = world
    made = result_of(rerank.fn(config, store, prepare, model, force))
    return made, ArtifactStore.open(store).table(made.ref, "orders").to_pylist()


def test_orders_are_asked_about_once(world, asked, tmp_path):
    store, prepare, model = world
    with FakeLLM() as server:
        config = asked(server)
        plan = cost_of_rerank(config, *world)
        assert not server.n_requests and plan["requests"] == 2 * N_USERS and 0 < plan["usd_likely"] < plan["usd_high"]
        made, rows = orders(world, config)
        assert made.status == "computed" and made.unfinished is None and len(rows) == server.n_requests == 2 * N_USERS
        check_books(server, tmp_path / "ledger.sqlite", 2 * N_USERS)
        again, _ = orders(world, config)
        assert again.status == "hit" and cost_of_rerank(config, *world) is None
        # A larger sample holds the smaller one, whose answers are there; so does another set of numbers.
        more = asked(server, n_users=N_USERS + 2, candidates=(25, 30))
        assert cost_of_rerank(more, *world)["cached"] == N_USERS
        _, larger = orders(world, more)
        assert server.n_requests == 2 * N_USERS + (N_USERS + 2) * 2 - N_USERS
        # What is built from the ledger again is the same.
        assert orders(world, config, force=True)[1] == rows
    assert set(server.billed.values()) == {1}

    artifacts = ArtifactStore.open(store)
    assert artifacts.table(made.ref, "orders").schema.equals(ORDERS)
    split = load_split(artifacts, prepare)
    lists = top_k(split, *load_vectors(artifacts, model), 25).items
    index = artifacts.table(prepare, "user_index").sort_by("user")["user_id"].to_pylist()
    held_out = set(split.test.user.tolist())
    for row in rows:
        assert row["user"] in held_out and index[row["user"]] == row["user_id"]
        expected = lists[row["user"], : row["n_candidates"]]
        assert row["candidates"] == expected[expected != PADDING].tolist()
        assert row["status"] == "listed" and not row["again"] and 19 <= len(row["items"]) <= 20
        assert row["model"] == "m-2026-01-01" and row["cost_usd"] and row["reasoning"].startswith("It follows")
    assert {row["user"] for row in rows} < {row["user"] for row in larger}


def test_a_prompt_shows_train_titles_and_candidates_and_nothing_else(world, asked):
    store, prepare, _ = world
    artifacts = ArtifactStore.open(store)
    items = artifacts.table(prepare, "item_index").sort_by("item")["item_id"]
    titles = titles_of(artifacts, prepare, items).to_pylist()
    assert len(set(titles)) == len(titles)
    split = load_split(artifacts, prepare)
    with FakeLLM() as server:
        _, rows = orders(world, asked(server, candidates=(25,)))
    prompts = {}
    for body in server.requests:
        system, user = body["messages"]
        assert not any(title in system["content"] for title in titles)
        prompts[frozenset(one["index"] for one in json.loads(user["content"])["candidates"])] = json.loads(
            user["content"]
        )
    for row in rows:
        told = prompts[frozenset(row["candidates"])]
        own = {titles[item] for item in split.train.item[split.train.user == row["user"]]}
        assert told.keys() == {"history", "candidates"} and set(told["history"]) == own and len(own) <= 40
        assert told["candidates"] == [{"index": item, "title": titles[item]} for item in row["candidates"]]


def test_what_it_costs_and_how_to_go_on_are_told_where_nothing_may_be_asked(world, asked, monkeypatch):
    with FakeLLM() as server:
        full = asked(server)
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(NotAsked, match=r"12 requests to m with [\d,]+ tokens .*likely \$0\.0.*OPENAI_API_KEY"):
            cost_of_rerank(full, *world)
        bare = tiny(rerank={"n_users": 3}).rerank
        with pytest.raises(NotAsked) as found:
            cost_of_rerank(bare, *world)
        said_of_it = str(found.value)
        for way_out in ("llm.model", "OPENAI_API_KEY", "price_in", "budget_usd", "nothing is spent", "15 requests"):
            assert way_out in said_of_it
        assert "an unknown price" in said_of_it
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        with pytest.raises(NotAsked, match="no budget"):
            cost_of_rerank(asked(server, budget_usd=None), *world)
        assert cost_of_rerank(full, *world)["requests"] == 12
        assert not server.n_requests and not server.heads


def test_answers_of_every_kind_end_in_a_row(world, asked):
    """Per prompt, in the order of users: rejected then listed; never a list; cut off then listed; refused; declined."""
    kinds: dict[str, list] = {}
    plans = [
        [said("I like them all."), said('{"items": [1, 1, 99999999], "reasoning": "x"}')],
        [said('{"items": ["Dune"]}'), said('{"items": {"a": 1}}')],
        [said('{"items": [1, 2', "length"), said('{"items": [5], "reasoning": "x"}')],
        [error(400, "invalid")],
        [error(400, "content_filter")],
        [said('{"items": [4, 5], "reasoning": "x"}')],
    ]

    def plan(n, body):
        left = kinds.setdefault(body["messages"][1]["content"], plans[len(kinds)] if len(kinds) < len(plans) else [])
        return left.pop(0)

    with FakeLLM(plan) as server:
        made, rows = orders(world, asked(server, candidates=(25,), concurrency=1))
        assert [(row["status"], row["items"], row["again"]) for row in rows] == [
            ("listed", [1, 1, 99999999], True),
            ("unlisted", None, True),
            ("listed", [5], True),
            ("unanswered", None, False),
            ("unlisted", None, True),
            ("listed", [4, 5], False),
        ]
        assert "1 of 6 orders could not be had: 1 x not written by the model: http 400" in made.unfinished
        before = server.n_requests
        assert before == 9
        # The next run asks again for the one that was not answered, and for what was refused to the end.
        plans.clear()
        kinds.clear()
        kinds.update({body["messages"][1]["content"]: [] for body in server.requests})
        for left in kinds.values():
            left.extend([None] * 2)
        second, whole = orders(world, asked(server, candidates=(25,), concurrency=1))
        assert second.unfinished is None and second.ref.key == second.wanted != made.ref.key
        assert whole[3]["status"] == "listed" and whole[0] == rows[0] and whole[5] == rows[5]
        assert server.n_requests - before <= 3


def test_a_budget_holds_and_the_rest_is_asked_later(world, asked, tmp_path):
    usage = {"prompt_tokens": 900, "completion_tokens": 500, "total_tokens": 1_400}
    with FakeLLM(lambda n, body: Fault(change=lambda answer: answer | {"usage": usage})) as server:
        with pytest.raises(BudgetReached, match="nothing was asked"):
            orders(world, asked(server, budget_usd=0.0001))
        assert not server.n_requests
        # Answers that are longer than usual reach in the middle what the plan had room for.
        plan = cost_of_rerank(asked(server), *world)
        with pytest.raises(BudgetReached):
            orders(world, asked(server, budget_usd=plan["usd_likely"] * 1.01, concurrency=1))
        assert 0 < server.n_requests < 2 * N_USERS
        made, _ = orders(world, asked(server, budget_usd=1.0))
        assert made.unfinished is None
    check_books(server, tmp_path / "ledger.sqlite", 2 * N_USERS)


def test_a_killed_run_goes_on_and_pays_for_no_answer_twice(world, tmp_path):
    store, prepare, model = world
    with FakeLLM(latency=0.05) as server:
        command = [sys.executable, "-m", "tests.tasks.killed_rerank", store.url, prepare.key, model.key, server.url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) == 2
        artifacts = ArtifactStore.open(store)
        _, rows = orders(world, settings(server.url))
        assert len(rows) == 18 and {row["status"] for row in rows} == {"listed"}
    check_books(server, artifacts.ledger_path, 18)


def test_batches_answer_the_same(world, asked):
    with FakeLLM() as server:
        _, online = orders(world, asked(server, seed=2))
        _, batch = orders(world, asked(server, seed=3, mode="batch", batch_poll_seconds=0.01))
        assert len(server.batches.made) == 1 and server.n_requests == 2 * N_USERS
    assert Counter(row["status"] for row in batch) == Counter(row["status"] for row in online) == {"listed": 12}


def test_a_model_of_no_use_is_given_up(world, asked):
    with FakeLLM(lambda n, body: said("No.")) as server, pytest.raises(NothingUsable):
        orders(world, asked(server, n_users=20, concurrency=1))
    assert server.n_requests == 20


def test_candidates_in_a_drawn_order(world, asked):
    with FakeLLM() as server:
        config = asked(server, candidates=(25,)).model_copy(update={"shuffle": True})
        _, rows = orders(world, config)
    shown = [
        [one["index"] for one in json.loads(body["messages"][1]["content"])["candidates"]] for body in server.requests
    ]
    of_row = {frozenset(items): items for items in shown}
    for row in rows:
        items = of_row[frozenset(row["candidates"])]
        assert items != row["candidates"] and np.corrcoef(range(len(items)), np.argsort(items))[0, 1] < 0.9


def figure1(server, **llm):
    settings = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0} | llm
    return tiny(**WORLD, rerank={"n_users": 5, "candidates": (20, 30), "llm": settings})


def test_figure_1_is_rows_tables_and_a_picture(world, tmp_path):
    store, prepare, _ = world
    artifacts = ArtifactStore.open(store)
    with FakeLLM() as server:
        with pytest.raises(NotAsked, match=r"10 requests to m .* no budget: set rerank\.llm\.budget_usd"):
            experiment_by_hand("figure1", figure1(server), store, 5)
        assert not server.n_requests and not artifacts.refs("experiment")
        made = experiment_by_hand("figure1", figure1(server, budget_usd=1.0), store, 5)
        assert server.n_requests == 10
        # Another budget is another permission, and no other figure.
        again = experiment_by_hand("figure1", figure1(server, budget_usd=0.5, concurrency=2), store, 5)
        assert (again.status, again.ref, server.n_requests) == ("hit", made.ref, 10)
        file = tmp_path / SETTINGS
        file.write_bytes(artifacts.read_bytes(made.ref, SETTINGS))
        rerun = experiment_by_hand("figure1", load_config(file), store, 5)
        assert (rerun.status, rerun.ref, server.n_requests) == ("hit", made.ref, 10)

    rows = artifacts.table(made.ref, "rows")
    assert rows.schema.equals(ORDER_ROWS) and set(rows["llm"].to_pylist()) == {"m-2026-01-01"}
    found = {(row["n_candidates"], row["list"], row["metric"], row["k"]): row["value"] for row in rows.to_pylist()}
    (answers,) = [
        artifacts.table(ref, "orders") for ref in artifacts.refs("rerank") if ref.key in inputs(artifacts, made)
    ]
    own = [row for row in answers.to_pylist() if row["n_candidates"] == 30]
    test = load_split(artifacts, prepare).test
    wanted = [set(test.item[test.user == row["user"]].tolist()) for row in own]
    recalls = [len(set(row["candidates"][:10]) & items) / len(items) for row, items in zip(own, wanted, strict=True)]
    assert found[30, "model", "recall", 10] == pytest.approx(np.mean(recalls))
    invented = [sum(item not in row["candidates"] for item in row["items"]) / 20 for row in own]
    assert found[30, "answers", "invented", 20] == pytest.approx(np.mean(invented))

    table = artifacts.read_bytes(made.ref, MARKDOWN).decode()
    for order in ("the model's order", "repaired", "strict"):
        for n in (20, 30):
            assert f"\n| {n}: {order} | 5 | " in table
    assert "puts the best items of lightgcn base in order" in table
    assert b"30: repaired & 5 & " in artifacts.read_bytes(made.ref, LATEX)
    assert b"ndcg@20" in artifacts.read_bytes(made.ref, SVG)
    assert artifacts.read_bytes(made.ref, PNG).startswith(b"\x89PNG")
    assert datasets.read(artifacts, "sample", noted("figure1"))["key"] == made.ref.key


def inputs(artifacts, made):
    return artifacts.manifest(made.ref).content.inputs.values()


def test_data_without_titles_are_refused_before_anything_is_trained(tmp_path, store):
    pairs = "user_id,item_id\n" + "".join(f"u{user},i{item}\n" for user in range(8) for item in range(user, user + 6))
    (tmp_path / "interactions.csv").write_text(pairs)
    ingest = {"reader": "tabular", "path": str(tmp_path)}
    with pytest.raises(NoTitles, match="no item of these data has one: give the reader a table of items"):
        experiment_by_hand("figure1", tiny(ingest=ingest, prepare={"k_core": 1}), store, 1)
    assert not ArtifactStore.open(store).refs("train")


def test_a_model_that_has_seen_the_test_part_is_refused(world, asked):
    from tasks.train import train

    store, prepare, _ = world
    (settings,) = load_config(overrides=WORLD).train.runs()
    seen = result_of(train.fn(settings.model_copy(update={"fit_on": "all"}), store, prepare, None)).ref
    with FakeLLM() as server, pytest.raises(SplitLeakage):
        orders((store, prepare, seen), asked(server))
    assert not server.n_requests
