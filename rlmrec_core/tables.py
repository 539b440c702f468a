"""Schemas of the tables that stages hand each other, and the check made on entry."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Tables = dict[str, tuple[pa.Schema, Iterator[pa.RecordBatch]]]
"""Named tables as streams: each with its schema, to be drained once."""

PARTS = ("train", "validation", "test")
"""What an interaction may be used for."""

ATTRIBUTES = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))

INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rating", pa.float32()),
        pa.field("timestamp", pa.timestamp("us")),
        pa.field("review", pa.string()),
        # Set by ready-made splits only; null where prepare is to divide.
        pa.field("part", pa.string()),
    ]
)
ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("attributes", ATTRIBUTES),
    ]
)
IMPORTED_PROFILES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("summarization", pa.string(), nullable=False),
        pa.field("reasoning", pa.string()),
    ]
)
IMPORTED_VECTORS = pa.schema(
    [pa.field("id", pa.string(), nullable=False), pa.field("vector", pa.list_(pa.float32()), nullable=False)]
)
SPLIT = pa.schema(
    [
        pa.field("user", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("rating", pa.float32()),
        pa.field("timestamp", pa.timestamp("us")),
        pa.field("review", pa.string()),
    ]
)
USER_INDEX = pa.schema([pa.field("user", pa.int32(), nullable=False), pa.field("user_id", pa.string(), nullable=False)])
ITEM_INDEX = pa.schema([pa.field("item", pa.int32(), nullable=False), pa.field("item_id", pa.string(), nullable=False)])
STATISTICS = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.float64(), nullable=False)])
MALFORMED = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        # The number of the data row, where the file has a header or cells of several lines.
        pa.field("row", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("problem", pa.string(), nullable=False),
        # The beginning of the line, or of what the cell holds.
        pa.field("text", pa.string(), nullable=False),
        pa.field("way_out", pa.string()),
    ]
)
HISTOGRAMS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        # The bin holds values from `low` to below `high`.
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)
COLD_START = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        # Which end train does not know: user, item or both.
        pa.field("cold", pa.string(), nullable=False),
        pa.field("rating", pa.float32()),
        pa.field("timestamp", pa.timestamp("us")),
        pa.field("review", pa.string()),
    ]
)
FILTER_REPORT = pa.schema(
    [
        pa.field("step", pa.string(), nullable=False),
        # What remained after the step, and how many interactions it removed.
        pa.field("users", pa.int64(), nullable=False),
        pa.field("items", pa.int64(), nullable=False),
        pa.field("interactions", pa.int64(), nullable=False),
        pa.field("removed", pa.int64(), nullable=False),
        # What the step did, where that is not plain from its name and settings.
        pa.field("note", pa.string()),
    ]
)
PROFILES = pa.schema(
    [
        pa.field("id", pa.int32(), nullable=False),
        pa.field("summarization", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("generator", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("model", pa.string()),
        pa.field("prompt_version", pa.string()),
        pa.field("prompt_hash", pa.string()),
        pa.field("tokens_in", pa.int64()),
        pa.field("tokens_out", pa.int64()),
        pa.field("cost_usd", pa.float64()),
        pa.field("finish_reason", pa.string()),
        pa.field("attempts", pa.int32()),
        pa.field("source_hash", pa.string()),
        # What each piece of the source hashes to (generator llm): a refresh sees how much of it changed.
        pa.field("source_parts", pa.list_(pa.int64())),
        # Hashes of the train pairs (user, item) whose reviews or ratings it was written from, be it by way of an item's
        # profile: a refresh keeps a profile only if all of them are train still.
        pa.field("source_pairs", pa.list_(pa.int64())),
    ]
)
METRICS = pa.schema(
    [
        pa.field("prepare", pa.string(), nullable=False),
        pa.field("backbone", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("settings", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("k", pa.int32(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        # The 95 % interval over users, where the metric has one.
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        # How much more than popularity, of metrics that are means over users, with the interval of that.
        pa.field("gain", pa.float64()),
        pa.field("gain_low", pa.float64()),
        pa.field("gain_high", pa.float64()),
    ]
)
GROUP_METRICS = pa.schema(
    [
        *(METRICS.field(name) for name in ("backbone", "variant", "seed", "settings", "label", "part")),
        # user_activity or item_popularity; a group, and the train interactions of its users or items.
        pa.field("by", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("at_least", pa.int64(), nullable=False),
        pa.field("at_most", pa.int64(), nullable=False),
        # Users over whom it is the mean.
        pa.field("users", pa.int64(), nullable=False),
        *(METRICS.field(name) for name in ("metric", "k", "value", "low", "high")),
    ]
)
COLD_METRICS = pa.schema(
    [
        # What was held out of the training: items, ranked among themselves, or users, folded in from half their items.
        pa.field("cold", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("k", pa.int32(), nullable=False),
        pa.field("recall", pa.float64(), nullable=False),
        # Users over whom it is the mean; that of a model also over its seeds.
        pa.field("users", pa.int32(), nullable=False),
    ]
)
SIGNIFICANCE = pa.schema(
    [
        pa.field("backbone", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("settings", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("base", pa.string()),
        pa.field("base_label", pa.string()),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("k", pa.int32(), nullable=False),
        pa.field("n_seeds", pa.int32(), nullable=False),
        pa.field("mean", pa.float64(), nullable=False),
        pa.field("std", pa.float64()),
        pa.field("gain", pa.float64()),
        # The gain's 95 % interval: over the seeds, or over users where there is one seed.
        pa.field("gain_low", pa.float64()),
        pa.field("gain_high", pa.float64()),
        pa.field("n_users", pa.int32()),
        pa.field("p", pa.float64()),
        pa.field("p_holm", pa.float64()),
        # Of the paired bootstrap over users, where there is one seed.
        pa.field("p_bootstrap", pa.float64()),
        pa.field("p_bootstrap_holm", pa.float64()),
        # Of Wilcoxon's signed-rank test over users.
        pa.field("p_wilcoxon", pa.float64()),
        pa.field("p_wilcoxon_holm", pa.float64()),
    ]
)
RECOMMENDATIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
REASONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        # The user's own item that is nearest to it by the learnt vectors, and by the text's; with the cosine.
        pa.field("behaviour_item_id", pa.string()),
        pa.field("behaviour_cosine", pa.float32()),
        pa.field("text_item_id", pa.string()),
        pa.field("text_cosine", pa.float32()),
        # What the profiles of the user and of the item have in common.
        pa.field("words", pa.list_(pa.string()), nullable=False),
        pa.field("sentence", pa.string(), nullable=False),
    ]
)
WRITTEN_REASONS = pa.schema(
    [
        *REASONS,
        # Who wrote the sentence: llm or extractive; then, where the model was asked, why it is not the model's.
        pa.field("generator", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("model", pa.string()),
        pa.field("prompt_version", pa.string()),
        pa.field("prompt_hash", pa.string()),
        pa.field("tokens_in", pa.int64()),
        pa.field("tokens_out", pa.int64()),
        pa.field("cost_usd", pa.float64()),
        pa.field("finish_reason", pa.string()),
        pa.field("attempts", pa.int32()),
    ]
)
ORDERS = pa.schema(
    [
        pa.field("user", pa.int32(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        # How many of the model's best items were to be put in order, and their numbers, best first.
        pa.field("n_candidates", pa.int32(), nullable=False),
        pa.field("candidates", pa.list_(pa.int32()), nullable=False),
        # The language model's answer as it came, also what stands for no candidate; null where there is no list.
        pa.field("items", pa.list_(pa.int32())),
        # listed; unlisted, where no answer held a list; or unanswered, where none came.
        pa.field("status", pa.string(), nullable=False),
        # Whether the first answer held no list.
        pa.field("again", pa.bool_(), nullable=False),
        pa.field("reasoning", pa.string()),
        *(WRITTEN_REASONS.field(name) for name in ("error", "model", "prompt_version", "prompt_hash", "tokens_in")),
        *(WRITTEN_REASONS.field(name) for name in ("tokens_out", "cost_usd", "finish_reason", "attempts")),
    ]
)
ORDER_SCORES = pa.schema(
    [
        pa.field("n_candidates", pa.int32(), nullable=False),
        # Whose order it is a score of: model, repaired, strict; or answers, of which invented, repeated and missing are
        # shares of places, unparseable and without_list shares of users.
        pa.field("list", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("k", pa.int32(), nullable=False),
        pa.field("n_users", pa.int32(), nullable=False),
        *(METRICS.field(name) for name in ("value", "low", "high")),
        # Over the model's own order, and Wilcoxon's signed-rank test over users.
        *(SIGNIFICANCE.field(name) for name in ("gain", "p_wilcoxon", "p_wilcoxon_holm")),
    ]
)


class TableError(ValueError):
    """A table that a stage cannot use: says which column, and the way out."""


def embeddings_schema(size: int) -> pa.Schema:
    """Schema of a table of semantic vectors with `size` components each."""
    return pa.schema(
        [pa.field("id", pa.int32(), nullable=False), pa.field("vector", pa.list_(pa.float32(), size), nullable=False)]
    )


def shown_k(ks: Iterable[int]) -> int:
    """The length of lists whose metrics speak for the others: 20, or the longest of `ks`."""
    lengths = set(ks)
    return 20 if 20 in lengths else max(lengths, default=0)


def user_metrics_schema(columns: Sequence[str]) -> pa.Schema:
    """Schema of a table of metrics by user: which model, which part, which user, and a column such as recall@20 for
    each of `columns`, null where a user has no value.
    """
    model = [METRICS.field(name) for name in ("backbone", "variant", "seed", "settings", "part")]
    of_user = [pa.field(name, pa.int32(), nullable=False) for name in ("user", "n_train", "n_held_out")]
    return pa.schema([*model, *of_user, *(pa.field(name, pa.float64()) for name in columns)])


def vectors_table(vectors: npt.NDArray[np.float32], ids: Sequence[int] | None = None) -> pa.Table:
    """(n, d) float32 as a table of `embeddings_schema(d)`, one row for each id: from 0 to n - 1, or those given."""
    n, size = vectors.shape
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns = [pa.array(range(n) if ids is None else ids, pa.int32()), pa.FixedSizeListArray.from_arrays(flat, size)]
    return pa.table(columns, schema=embeddings_schema(size))


def item_vectors_table(item_ids: Sequence[str], vectors: npt.NDArray[np.float32]) -> pa.Table:
    """(n, d) float32 as a table of item_id and vector: items that prepare gave no number."""
    return pa.table([pa.array(item_ids, pa.string()), vectors_table(vectors)["vector"]], names=["item_id", "vector"])


def vectors_of(table: pa.Table) -> npt.NDArray[np.float32]:
    """A copy of the vectors of a table of `embeddings_schema(d)`, (n, d) float32, in the order of its rows."""
    flat = np.array(table["vector"].combine_chunks().flatten(), dtype=np.float32)
    return flat.reshape(len(table), table["vector"].type.list_size)


def check(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """`table` restricted to `schema`'s columns, in its order.

    Raises TableError if a column is missing, has another type, or holds nulls where none may be.
    """
    for field in schema:
        if field.name not in table.column_names:
            raise TableError(f"{where}: column {field.name!r} is missing; rebuild the stage that wrote it (force)")
        column = table[field.name]
        if column.type != field.type:
            raise TableError(
                f"{where}: column {field.name!r} is {column.type}, expected {field.type}; "
                "rebuild the stage that wrote it (force)"
            )
        if not field.nullable and column.null_count:
            raise TableError(f"{where}: column {field.name!r} holds {column.null_count} nulls, none are allowed")
    return table.select(schema.names).cast(schema)
