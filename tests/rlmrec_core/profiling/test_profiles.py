from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from rlmrec_core.config import ProfileConfig
from rlmrec_core.profiling import SplitLeakage, profile_items, profile_users
from rlmrec_core.shard import Shard, Workplace
from rlmrec_core.tables import IMPORTED_PROFILES, PROFILES, check

EXTRACTIVE = ProfileConfig(domain="books")
IMPORTED = ProfileConfig(domain="books", generator="imported")


HERE = Workplace(Path("unused.db"))


def items_of(corpus, config=EXTRACTIVE, imported=None, progress=HERE.progress):
    return profile_items(corpus, config, replace(HERE, progress=progress), imported)


def users_of(corpus, items, config=EXTRACTIVE, imported=None):
    return profile_users(corpus, items, config, HERE, imported)


def ready(**profiles):
    rows = [{"id": name, "summarization": text, "reasoning": None} for name, text in profiles.items()]
    return pa.Table.from_pylist(rows, schema=IMPORTED_PROFILES)


def test_everybody_has_exactly_one_row(corpus):
    items = items_of(corpus)
    users = users_of(corpus, items.table)
    for result, n in ((items, 5), (users, 4)):
        assert check(result.table, PROFILES, "profiles")["id"].to_pylist() == list(range(n))
        assert result.report["rows"] == n
    assert items.report["status"] == {"ok": 4, "missing": 1}
    assert sum(items.report["reasons"].values()) == 1


def test_no_profile_holds_what_train_does_not_show(corpus):
    items = items_of(corpus)
    users = users_of(corpus, items.table)
    told = [*items.table["summarization"].to_pylist()[:4], *users.table["summarization"].to_pylist()]
    assert not [text for text in told if text and "CANARY" in text]
    assert items.table["summarization"][4].as_py() == "CANARY-TITLE. genre: CANARY-GENRE. CANARY-DESCRIPTION"


def test_ready_made_profiles_are_joined_by_the_original_id(corpus):
    result = items_of(corpus, IMPORTED, ready(i2="About a ferry.", i0="  ", elsewhere="x"))
    assert result.table["summarization"].to_pylist() == [None, None, "About a ferry.", None, None]
    assert result.table["status"].to_pylist() == ["missing", "missing", "ok", "missing", "missing"]
    assert result.table["generator"].to_pylist() == ["imported"] * 5
    assert set(items_of(corpus, IMPORTED, None).table["status"].to_pylist()) == {"missing"}
    users = users_of(corpus, result.table, IMPORTED, ready(u3="Likes ferries."))
    assert users.table["summarization"].to_pylist() == [None, None, None, "Likes ferries."]


def test_profiles_of_another_split_are_refused(build, edges):
    items = items_of(build(edges=edges[1:]))
    with pytest.raises(SplitLeakage, match="write the profiles again"):
        users_of(build(), items.table)


def test_progress_ends_at_the_whole(corpus):
    seen = []
    assert items_of(corpus, progress=lambda done, total: seen.append((done, total))).table
    assert seen[-1] == (5, 5)


def test_a_change_of_one_item_changes_its_own_source_alone(build, edges):
    changed = [(0, 0, "train", 5.0, "Quite other words."), *edges[1:]]
    before = items_of(build()).table["source_hash"].to_pylist()
    after = items_of(build(edges=changed)).table["source_hash"].to_pylist()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True, True, True]


def test_profiles_joined_from_shards_are_those_written_in_one_go(corpus):
    """A shard that is not there is written with the rest."""
    items = items_of(corpus).table
    users = users_of(corpus, items).table
    for whole, write in (
        (items, lambda **more: profile_items(corpus, EXTRACTIVE, replace(HERE, **more)).table),
        (users, lambda **more: profile_users(corpus, items, EXTRACTIVE, replace(HERE, **more)).table),
    ):
        shards = [write(shard=Shard(number, 3)) for number in range(3)]
        assert pa.concat_tables(shards).equals(whole)
        for kept in (shards, shards[:1] + shards[2:], shards[1:2]):
            assert write(joined=pa.concat_tables(kept)).equals(whole, check_metadata=True)


def test_rows_that_are_there_are_not_written_again(corpus):
    table = items_of(corpus).table
    told = table.set_column(1, table.schema.field(1), pa.array([f"ready {n}" for n in range(5)]))
    again = profile_items(corpus, EXTRACTIVE, replace(HERE, joined=told.slice(1, 2))).table["summarization"].to_pylist()
    was = table["summarization"].to_pylist()
    assert again == [was[0], "ready 1", "ready 2", *was[3:]]
