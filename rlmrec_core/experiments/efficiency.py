"""How long an epoch takes: rows for the paper's table 4."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from rlmrec_core.experiments import paper
from rlmrec_core.experiments.sheet import Bar, Sheet

SECONDS = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("backbone", "variant", "label")),
        # Of one training epoch without evaluation: the median and the least of those measured.
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("least", pa.float64(), nullable=False),
        pa.field("epochs", pa.int32(), nullable=False),
        pa.field("pairs", pa.int64(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in ("machine", "device")),
        pa.field("threads", pa.int32(), nullable=False),
        # The paper's seconds on its own data and machine.
        pa.field("paper_amazon", pa.float64()),
        pa.field("paper_yelp", pa.float64()),
    ]
)
"""How long an epoch of a model takes, and where that was measured."""

_THEIRS = "GeForce RTX 3090, Xeon Silver 4314"


def rows_of(timed: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of SECONDS; timed: the same without the paper's figures."""
    names = ("paper_amazon", "paper_yelp")
    rows = [
        one | dict(zip(names, paper.seconds(one["backbone"], one["variant"]), strict=True))
        if one["label"] == f"{one['backbone']} {one['variant']}"
        else one
        for one in timed
    ]
    return pa.Table.from_pylist(rows, schema=SECONDS)


def sheet(rows: pa.Table) -> Sheet:
    """One line for each model: seconds, and how many times Base's, beside the paper's."""
    found = rows.to_pylist()
    base = {row["backbone"]: row for row in reversed(found) if row["variant"] == "base"}
    lines, bars = [], []
    for row in found:
        own = base.get(row["backbone"])
        cells = [f"{row['seconds']:.3g}", _times(row, own, "seconds")]
        for name in ("paper_amazon", "paper_yelp"):
            cells += ["" if row[name] is None else f"{row[name]:.2f}", _times(row, own, name)]
        lines.append([row["label"], *cells])
        bars.append(Bar(row["label"], row["seconds"], is_reference=row["variant"] == "base"))
    theirs = [part for name in ("Amazon-book", "Yelp") for part in (f"paper, {name}", "of Base")]
    return Sheet(["model", "seconds", "of Base", *theirs], lines, "seconds of a training epoch", bars, _notes(found))


def _times(row: dict[str, Any], base: dict[str, Any] | None, name: str) -> str:
    return f"{row[name] / base[name]:.2f}x" if base and row[name] and base[name] else ""


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    where = {(row["machine"], row["device"], row["threads"]) for row in rows}
    told = "; ".join(f"{machine}, {device}, {n} thread{'s' * (n != 1)}" for machine, device, n in sorted(where))
    pairs = ", ".join(f"{n:,}" for n in sorted({row["pairs"] for row in rows}))
    return (
        [
            f"Ours: {pairs} train pairs an epoch, without evaluation, median of {rows[0]['epochs']} epochs on {told}.",
            f"The paper's: 120,464 and 166,620 train pairs, {_THEIRS}.",
        ]
        if rows
        else []
    )
