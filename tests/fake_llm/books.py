"""What a ledger says was asked and paid for, against what the server itself counted."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fake_llm.server import FakeLLM


def rows(ledger: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(ledger)) as db:
        return db.execute(query).fetchall()


def calls(ledger: Path) -> Mapping[str, int]:
    """Calls that went out, by state."""
    return dict(rows(ledger, "SELECT state, count(*) FROM calls WHERE state != 'released' GROUP BY state"))


def counts(ledger: Path, state: str) -> dict[str, int]:
    """Calls in a state, by key."""
    return dict(rows(ledger, f"SELECT key, count(*) FROM calls WHERE state = '{state}' GROUP BY key"))


def complete_answers(ledger: Path) -> list[tuple[str, bytes]]:
    """Key and body of the answers of which nothing is missing."""
    return rows(ledger, "SELECT key, body FROM calls WHERE state = 'answered' AND CAST(body AS TEXT) LIKE '%chatcmpl%'")


def billed_by_key(server: FakeLLM, ledger: Path) -> dict[str, int]:
    """The server counts by prompt, the ledger by key: matched by what the answers say, where there is one."""
    key_of = {json.loads(body)["id"].removeprefix("chatcmpl-"): key for key, body in complete_answers(ledger)}
    assert {name[:12] for name in server.billed if server.billed[name]} <= key_of.keys()
    return {key_of[name[:12]]: n for name, n in server.billed.items() if n}


def check_books(server: FakeLLM, ledger: Path, n: int) -> None:
    """n prompts were answered; none was billed again after its answer was kept, and calls and dollars add up.

    For a server whose answers are all of use.
    """
    answered, lost, billed = counts(ledger, "answered"), counts(ledger, "lost"), billed_by_key(server, ledger)
    assert len(answered) == n and set(answered.values()) == {1}
    assert all(1 <= times <= 1 + lost.get(key, 0) for key, times in billed.items())
    assert not rows(
        ledger, "SELECT 1 FROM calls one JOIN calls kept USING (key) WHERE kept.state = 'answered' AND one.id > kept.id"
    )
    check_sums(server, ledger)


def check_sums(server: FakeLLM, ledger: Path) -> None:
    """Calls and dollars in the ledger agree with what the server counted."""
    by_state = calls(ledger)
    assert set(by_state) <= {"answered", "lost", "refused"}
    lost = by_state.get("lost", 0)
    assert by_state["answered"] <= server.billed.total() <= by_state["answered"] + lost
    ((settled, held),) = rows(
        ledger, "SELECT total(cost), total(CASE WHEN state = 'lost' THEN held ELSE 0 END) FROM calls"
    )
    ((committed,),) = rows(ledger, "SELECT total(committed) FROM accounts")
    assert committed == pytest.approx(settled + held)
    assert rows(ledger, "SELECT count(*) FROM calls WHERE state = 'answered' AND tokens_in IS NULL") == [(0,)]
