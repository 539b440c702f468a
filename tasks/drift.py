"""How the data changed since the promoted run, as a page with a picture."""

from collections.abc import Sequence

import pyarrow as pa
from matplotlib.figure import Figure as Picture

from rlmrec_core.gates import Figure
from rlmrec_core.gates.drift import aligned, histograms
from tasks import report

_LEGEND = (
    "The population stability index compares the shares of two runs in the same groups: below 0.1 the data are as they "
    "were, up to 0.25 they moved, above that they are another population. Groups of the first ones are the bars of the "
    "picture; of the last one, tenths of the promoted run's interactions, from the most popular items down, and new "
    "items."
)


def show_drift(before: pa.Table, after: pa.Table, figures: Sequence[Figure]) -> None:
    """Show the indices, and the distributions of both runs above each other. before, after: HISTOGRAMS."""
    if not report.in_run():
        return  # nobody would see the picture, which takes a while to draw
    rows = [{"what": figure.what, "index": figure.value} for figure in figures]
    page = "\n\n".join([report.markdown_table(rows), _LEGEND, report.picture(_drawn(before, after))])
    report.show_markdown("drift", page, "How the data changed since the run that is in use")


def _drawn(before: pa.Table, after: pa.Table) -> Picture:
    """Shares by bin: lines for the promoted run, bars for this one."""
    old, new = histograms(before), histograms(after)
    names = [name for name in new if name in old]
    picture = Picture(figsize=(5.0 * len(names), 3.4))
    # Fixed margins, since a layout engine draws everything several times to find them.
    picture.subplots_adjust(left=0.04, right=0.99, bottom=0.17, top=0.95, wspace=0.15)
    for name, axes in zip(names, picture.subplots(1, len(names), squeeze=False)[0], strict=True):
        lows = sorted(old[name].keys() | new[name].keys())
        in_use, now = ([count / max(sum(counts), 1) for count in counts] for counts in aligned(old[name], new[name]))
        axes.bar(range(len(lows)), now, width=0.9, label="this run")
        axes.step(range(len(lows)), in_use, where="mid", color="black", label="in use")
        axes.set_xticks(range(len(lows)), [f"{low:,.0f}" for low in lows], fontsize=8)
        axes.set(xlabel=f"{name}, from", ylabel="share")
        axes.legend()
    return picture
