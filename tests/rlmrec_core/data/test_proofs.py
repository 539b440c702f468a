"""What a split promises, proven on the tables that leave prepare: `test_partition` proves the draws themselves."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.config import IngestConfig, PrepareConfig
from rlmrec_core.config.data import SplitScope
from rlmrec_core.data import DataError, ingest, prepare
from rlmrec_core.data.draws import Draws, divided
from rlmrec_core.profiling import TrainCorpus
from rlmrec_core.tables import PARTS
from storage import ArtifactStore, StoreConfig
from tests.rlmrec_core.data.worlds import EDITS, NO_ITEMS, drain, edited, interactions, pair_lists

SCOPES = get_args(SplitScope)
EVERY_SCOPE = pytest.mark.parametrize("scope", SCOPES)


def sample() -> tuple[ds.Dataset, ds.Dataset]:
    tables = drain(ingest(IngestConfig(sample_users=120, sample_items=60)).tables)
    return ds.dataset(tables["interactions"]), ds.dataset(tables["items"])


def part_of(split: pa.Table, part: str) -> pa.Table:
    return split.filter(pc.equal(split["part"], part))


@settings(max_examples=50, deadline=None)
@given(pair_lists(6, 6, 36), st.sampled_from(SCOPES), st.integers(0, 99), st.randoms(use_true_random=False))
def test_held_out_text_and_times_never_reach_train(
    pairs: list[tuple[int, int]], scope: SplitScope, seed: int, random: Any
) -> None:
    days = [random.randrange(40) for _ in pairs]
    rows = [
        (f"u{user}", f"i{item}", None, datetime(2020, 1, 1) + timedelta(days=day), f"review {n};")
        for n, ((user, item), day) in enumerate(zip(pairs, days, strict=True))
    ]
    try:
        config = PrepareConfig(min_rating=None, k_core=1, scope=scope, seed=seed)
        tables = drain(prepare(interactions(rows), NO_ITEMS, config))
    except DataError:
        return  # A temporal split of people who do not come back.
    parts = [part_of(tables["split"], part) for part in PARTS]
    corpus = TrainCorpus.build(
        tables["split"], tables["user_index"], tables["item_index"], pa.Table.from_pylist([], schema=NO_ITEMS.schema)
    )
    told = [corpus.review(row) for row in range(len(corpus.users))]
    assert sorted(told) == sorted(parts[0]["review"].to_pylist())
    assert set(told).isdisjoint(parts[1]["review"].to_pylist() + parts[2]["review"].to_pylist())
    if scope == "temporal":
        times = [part["timestamp"].to_pylist() for part in parts]
        for earlier, later in ((0, 1), (0, 2), (1, 2)):
            assert max(times[earlier], default=datetime.min) <= min(times[later], default=datetime.max)


@EVERY_SCOPE
def test_ratios_and_everyone_in_train(scope: SplitScope) -> None:
    tables = drain(prepare(*sample(), PrepareConfig(k_core=5, scope=scope)))
    split = tables["split"]
    n = tables["filter_report"].slice(tables["filter_report"].num_rows - 2, 1)["interactions"][0].as_py()
    sizes = {part: part_of(split, part).num_rows for part in PARTS}
    assert abs(sizes["train"] / n - 0.6) < 0.05
    if scope != "temporal":
        assert all(abs(sizes[part] / n - 0.2) < 0.05 for part in PARTS[1:])
    train = part_of(split, "train")
    for side in ("user", "item"):
        assert set(train[side].to_pylist()) == set(range(tables[f"{side}_index"].num_rows))


@EVERY_SCOPE
def test_the_same_bytes_for_the_same_seed(tmp_path: Path, scope: SplitScope) -> None:
    def digests(run: str, seed: int) -> dict[str, str]:
        store = ArtifactStore.open(StoreConfig(url=str(tmp_path / run)))
        with store.writer("prepare", "0" * 64, version=1, config={}, inputs={}) as out:
            for name, (schema, batches) in prepare(*sample(), PrepareConfig(k_core=5, scope=scope, seed=seed)).items():
                out.batches(name, schema, batches)
        [ref] = store.refs("prepare")
        return {name: entry.sha256 for name, entry in store.manifest(ref).content.files.items()}

    first, again, other = digests("first", 1), digests("again", 1), digests("other", 2)
    assert first == again
    # All times of the sample differ, so a temporal split has nothing to draw.
    assert (first["split.parquet"] == other["split.parquet"]) == (scope in ("temporal", "per_user_temporal"))


@settings(max_examples=60, deadline=None)
@given(
    pair_lists(9, 9, 60),
    EDITS,
    st.fixed_dictionaries(
        {
            "scope": st.sampled_from(["global", "per_user"]),
            "k_core": st.integers(1, 3),
            "ratios": st.sampled_from([(3, 1, 1), (1, 1, 1), (4, 0, 1)]),
            "user_fraction": st.sampled_from([1.0, 0.7]),
            "cold_items": st.sampled_from([0.0, 0.2]),
            "seed": st.integers(0, 9),
        }
    ),
    st.randoms(use_true_random=False),
)
def test_a_known_pair_keeps_its_part(
    pairs: list[tuple[int, int]], edits: list[tuple[str, str, int]], chosen: dict[str, Any], random: Any
) -> None:
    before = [(f"{user}", f"{item}") for user, item in pairs]
    config = PrepareConfig(min_rating=None, **chosen)
    nights = []
    for rows in (before, edited(before, edits, random)):
        try:
            tables = drain(prepare(interactions(rows), NO_ITEMS, config))
        except DataError:
            return  # Nothing was left.
        user, item = (tables["split"][side].to_numpy() for side in ("user", "item"))
        user_ids, item_ids = (tables[f"{side}_index"][f"{side}_id"].combine_chunks() for side in ("user", "item"))
        drawn = divided(Draws(user_ids, item_ids, config.seed).pairs("split", user, item), config.ratios)
        pairs_now = list(zip(user_ids.take(user).to_pylist(), item_ids.take(item).to_pylist(), strict=True))
        parts = dict(zip(pairs_now, tables["split"]["part"].to_pylist(), strict=True))
        repaired = {pair for pair, part in zip(pairs_now, drawn, strict=True) if parts[pair] != PARTS[part]}
        statistics = dict(zip(*(tables["statistics"][name].to_pylist() for name in ("name", "value")), strict=True))
        assert statistics["moved to another part for coverage"] == len(repaired)
        nights.append((parts, repaired))
    (first, repaired_then), (second, repaired_now) = nights
    moved = {pair for pair in first.keys() & second.keys() if first[pair] != second[pair]}
    assert moved <= repaired_then | repaired_now


def test_one_added_interaction_of_a_real_set_moves_none(shared_data: Path) -> None:
    tables = drain(ingest(IngestConfig(reader="movielens", path=str(shared_data / "movielens-small"))).tables)
    table, items = tables["interactions"], ds.dataset(tables["items"])
    added = table.slice(0, 1).set_column(1, "item_id", pa.array([table["item_id"][-1].as_py()]))
    then, now = (
        drain(prepare(ds.dataset(data), items, PrepareConfig()))["split"].select(["user", "item", "part"])
        for data in (table, pa.concat_tables([table, added.cast(table.schema)]))
    )
    assert set(map(tuple, (row.values() for row in then.to_pylist()))) <= {
        tuple(row.values()) for row in now.to_pylist()
    }
