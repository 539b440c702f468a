"""The page that describes a prepared data set."""

from datetime import datetime

import pyarrow as pa
import pyarrow.dataset as ds

from rlmrec_core.config import PrepareConfig
from rlmrec_core.data import prepare
from rlmrec_core.tables import INTERACTIONS, ITEMS
from tasks.dataset_statistics import dataset_statistics


def page_of(rows: list[dict[str, object]]) -> str:
    interactions = ds.dataset(pa.Table.from_pylist(rows, schema=INTERACTIONS))
    items = ds.dataset(pa.Table.from_pylist([{"item_id": "i", "title": "T"}], schema=ITEMS))
    streams = prepare(interactions, items, PrepareConfig(min_rating=None, k_core=1))
    tables = {name: pa.Table.from_batches(batches, schema) for name, (schema, batches) in streams.items()}
    return dataset_statistics(tables["statistics"], tables["histograms"])


def test_counts_shares_times_and_pictures() -> None:
    times = [datetime(2020, 1, 1), datetime(2021, 6, 30)]
    reviewed = [{"user_id": f"u{n}", "item_id": "i", "timestamp": times[n], "review": "fine"} for n in range(2)]
    page = page_of([*reviewed, {"user_id": "u0", "item_id": "j"}])
    for line in (
        "| users | 2 |",
        "| density | 0.75 |",
        "| interactions with review | 66.7% |",
        "| items with title | 50.0% |",
    ):
        assert line in page
    assert "| time range | 2020-01-01 to 2021-06-30 |" in page
    assert "| interactions per user | 1.0 | 1.5 | 1.5 | 2.0 |" in page
    assert page.count("data:image/png;base64,") == 1


def test_nothing_is_drawn_of_what_is_not_there() -> None:
    page = page_of([{"user_id": "u", "item_id": "i"}])
    assert "characters per review" not in page and "| time range | unknown |" in page
