"""The statistics of a prepared data set on one page."""

from datetime import UTC, datetime

import pyarrow as pa
from matplotlib.figure import Figure

from tasks import report

_OF_INTERACTIONS = ("rating", "review", "time")
_OF_ITEMS = ("title", "description", "attributes", "reviews")


def dataset_statistics(statistics: pa.Table, histograms: pa.Table) -> str:
    """Markdown: counts and shares, a table of the distributions, and a picture of each (STATISTICS, HISTOGRAMS)."""
    values = dict(zip(statistics["name"].to_pylist(), statistics["value"].to_pylist(), strict=True))
    names = list(dict.fromkeys(histograms["name"].to_pylist()))
    pieces = [
        "# Dataset statistics",
        report.markdown_table([{"": name, "value": value} for name, value in facts(values).items()]),
        "## Distributions",
        report.markdown_table([_distribution(name, values) for name in names]),
        report.picture(_histograms(histograms, names)),
    ]
    return "\n\n".join(pieces)


def facts(values: dict[str, float]) -> dict[str, str]:
    """Counts and shares for people, by name (STATISTICS)."""
    counts = ("users", "items", "interactions", "train", "validation", "test")
    facts = {name: f"{values[name]:,.0f}" for name in counts}
    facts["density"] = f"{values['density']:.3g}"
    for side, names in (("interactions", _OF_INTERACTIONS), ("items", _OF_ITEMS)):
        facts |= {f"{side} with {name}": f"{values[f'{side} with {name}'] / values[side]:.1%}" for name in names}
    ends = [values[name] for name in ("first time", "last time") if name in values]
    facts["time range"] = " to ".join(f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}" for end in ends) or "unknown"
    return facts


def _distribution(name: str, values: dict[str, float]) -> dict[str, str]:
    labels = ("smallest", "median", "mean", "largest")
    return {"of": name, **{label: f"{values[f'{name}, {label}']:,.1f}" for label in labels}}


def _histograms(histograms: pa.Table, names: list[str]) -> Figure:
    """One picture for each name; both axes logarithmic, as the bins are."""
    width = 5.0 * len(names)
    figure = Figure(figsize=(width, 3.2))
    # Fixed margins, since a layout engine draws everything several times to find them.
    figure.subplots_adjust(left=0.7 / width, right=1 - 0.15 / width, bottom=0.18, top=0.95, wspace=0.2)
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        bins = [row for row in histograms.to_pylist() if row["name"] == name]
        widths = [row["high"] - row["low"] for row in bins]
        axes.bar([row["low"] for row in bins], [row["count"] for row in bins], widths, align="edge", edgecolor="white")
        axes.set(
            xscale="log", yscale="log", xlabel=name, ylabel="reviews" if "review" in name else name.split()[-1] + "s"
        )
    return figure
