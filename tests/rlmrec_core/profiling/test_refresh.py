"""A refresh pays for what changed and for nothing else."""

import pytest

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.profiling import TrainCorpus, plan_items, plan_users, profile_items, profile_users, touched_users
from rlmrec_core.shard import Workplace
from tests.fake_llm import FakeLLM
from tests.rlmrec_core.profiling.conftest import world

N_ITEMS, N_USERS, PER_USER = 150, 10, 6


def tables(changed=()):
    """Every user has six train items; user u has items 13 u + k."""
    edges = [(u, (13 * u + k) % N_ITEMS, "train", 4.0, None) for u in range(N_USERS) for k in range(PER_USER)]
    items = [(f"i{i}", f"Title {i}", f"About {i}{', revised' if i in changed else ''}.", None) for i in range(N_ITEMS)]
    return world(edges, items, N_USERS)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    def go(server, changed=(), threshold=1, previous=None):
        """The profiles and what they took: requests about items, and about users."""
        parts = tables(changed)
        corpus, before = TrainCorpus.build(**parts), server.n_requests
        llm = LlmConfig(model="m", base_url=server.url, concurrency=64)
        config = ProfileConfig(generator="llm", domain="books", llm=llm, refresh_threshold=threshold)
        place = Workplace(tmp_path / "ledger.sqlite")
        items = profile_items(corpus, config, place).table
        between = server.n_requests
        earlier = (previous, parts["user_index"]) if previous is not None else None
        users = profile_users(corpus, items, config, place, previous=earlier).table
        return items, users, between - before, server.n_requests - between

    return go


def test_three_changed_items_cost_three_and_the_users_beyond_the_threshold(run):
    changed = (0, 1, 13)  # user 0 has items 0 to 5 and so two of them; user 1 has items 13 to 18
    with FakeLLM() as server:
        _, users, *first = run(server)
        assert first == [N_ITEMS, N_USERS]
        assert run(server, previous=users)[2:] == (0, 0)
        _items, kept, *paid = run(server, changed, threshold=2, previous=users)
        assert paid == [3, 1]
        differing = [a != b for a, b in zip(users.to_pylist(), kept.to_pylist(), strict=True)]
        assert differing == [True] + [False] * (N_USERS - 1)
        # Small changes add up: with one more of its items changed, user 1 is asked about, too.
        assert run(server, (*changed, 14), threshold=2, previous=kept)[2:] == (1, 1)
        # Without a threshold everyone touched is asked about; user 0's answer is known already.
        assert run(server, changed, previous=users)[2:] == (0, 1)
    assert set(server.billed.values()) == {1}


def test_a_plan_says_what_a_run_would_pay(run, tmp_path, monkeypatch):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    corpus = TrainCorpus.build(**tables())
    changed = TrainCorpus.build(**tables((0, 1, 13)))
    with FakeLLM() as server:
        llm = LlmConfig(model="m", base_url=server.url, price_in=1.0, price_out=2.0)
        config = ProfileConfig(generator="llm", domain="books", llm=llm)
        before = plan_items(corpus, config, ledger=tmp_path / "ledger.sqlite")
        assert (before.rows, before.requests, before.cached) == (N_ITEMS, N_ITEMS, 0)
        assert before.count == "estimated" and 0 < before.usd_likely < before.usd_high
        users = plan_users(corpus, None, config, ledger=tmp_path / "ledger.sqlite")
        assert users.requests == N_USERS and "not written yet" in users.note
        assert server.n_requests == 0
        run(server)
        after = plan_items(changed, config, ledger=tmp_path / "ledger.sqlite")
    assert (after.requests, after.cached, after.count) == (3, N_ITEMS - 3, "estimated, corrected by earlier answers")
    assert touched_users(corpus, config) == {"mean": pytest.approx(N_USERS * PER_USER / N_ITEMS, abs=0.01), "most": 1}
    unknown = config.model_copy(update={"llm": llm.model_copy(update={"price_in": None})})
    assert plan_items(corpus, unknown, ledger=tmp_path / "other.sqlite").usd_high is None
