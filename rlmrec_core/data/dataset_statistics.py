"""Numbers and histograms that say what a prepared data set looks like."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from rlmrec_core.data.edges import NO_TIME, Edges, Ints
from rlmrec_core.data.texts import Lengths
from rlmrec_core.tables import HISTOGRAMS, PARTS, STATISTICS


def statistics(
    edges: Edges, review_lengths: Lengths, item_ids: pa.Array, items: ds.Dataset, repairs: int = 0
) -> pa.Table:
    """Counts, density, degrees, what is known of the interactions and items, and the time range (STATISTICS).

    edges: with dense codes; review_lengths: (n_edges,) in characters; item_ids: of the items kept; items: all of them;
    repairs: how many edges are in another part than drawn, so that no user, item or part goes without.
    Times are in seconds since 1970.
    """
    per_user, per_item = np.bincount(edges.user), np.bincount(edges.item)
    n_users, n_items = len(per_user), len(per_item)
    reviewed = review_lengths > 0
    values: dict[str, float] = {
        "users": n_users,
        "items": n_items,
        "interactions": len(edges),
        "density": len(edges) / (n_users * n_items),
        **{part: int((edges.part == index).sum()) for index, part in enumerate(PARTS)},
        "moved to another part for coverage": repairs,
        **_described("interactions per user", per_user),
        **_described("interactions per item", per_item),
        "interactions with rating": int((~np.isnan(edges.rating)).sum()),
        "interactions with review": int(reviewed.sum()),
        **_described("characters per review", review_lengths[reviewed]),
        **_items_with(items, item_ids),
        "items with reviews": len(np.unique(edges.item[reviewed])),
        **_time_range(edges.time),
    }
    return pa.table({"name": list(values), "value": [float(value) for value in values.values()]}, schema=STATISTICS)


def histograms(edges: Edges, review_lengths: Lengths) -> pa.Table:
    """Interactions per user and per item, characters per review; each bin is twice as wide as the one before it."""
    counted: dict[str, Ints] = {
        "interactions per user": np.bincount(edges.user),
        "interactions per item": np.bincount(edges.item),
        "characters per review": review_lengths[review_lengths > 0],
    }
    return pa.concat_tables([_histogram(name, values) for name, values in counted.items()])


def _histogram(name: str, values: Ints) -> pa.Table:
    counts = np.bincount(np.frexp(values.astype(np.float64))[1] - 1)
    low = 2.0 ** np.arange(len(counts))
    return pa.table([[name] * len(counts), low, 2 * low, counts], schema=HISTOGRAMS)


def _described(name: str, values: Ints) -> dict[str, float]:
    if not len(values):
        return {}
    numbers = {
        "smallest": values.min(),
        "median": np.median(values),
        "mean": values.mean(),
        "largest": values.max(),
    }
    return {f"{name}, {label}": float(number) for label, number in numbers.items()}


def _items_with(items: ds.Dataset, item_ids: pa.Array) -> dict[str, float]:
    """How many of the items kept have a title, a description, attributes."""
    present = dict.fromkeys(("title", "description", "attributes"), 0)
    for batch in items.to_batches(columns=list(present), filter=ds.field("item_id").isin(item_ids)):
        for name in present:
            present[name] += batch.num_rows - batch.column(name).null_count
    return {f"items with {name}": count for name, count in present.items()}


def _time_range(times: npt.NDArray[np.int64]) -> dict[str, float]:
    known = times[times != NO_TIME]
    ends = {"first time": int(known.min()) / 1e6, "last time": int(known.max()) / 1e6} if len(known) else {}
    return {"interactions with time": len(known), **ends}
