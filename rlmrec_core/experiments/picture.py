"""The rows of an experiment as a picture."""

from io import BytesIO
from typing import Literal

import matplotlib
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

_SHOWN = "recall"


def picture(rows: pa.Table, form: Literal["svg", "png"]) -> bytes:
    """Recall of every model at 20, or at the longest list that was measured, with the deviation over seeds.

    rows: EXPERIMENT. The same rows give the same bytes.
    """
    recalls = rows.filter(pc.field("metric") == _SHOWN)
    ks = recalls["k"].to_pylist()
    k = 20 if 20 in ks else max(ks, default=20)
    shown = recalls.filter(pc.field("k") == k).to_pylist()[::-1]  # bars are drawn from below
    with matplotlib.rc_context({"svg.hashsalt": "rlmrec", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 1 + 0.25 * len(shown)), layout="constrained")
        axes = figure.subplots()
        places, means = range(len(shown)), [row["mean"] for row in shown]
        colours = ["C7" if row["variant"] in ("base", row["backbone"]) else "C0" for row in shown]
        axes.barh(places, means, xerr=[row["std"] or 0.0 for row in shown], color=colours)
        axes.set_yticks(places, [row["label"] for row in shown])
        axes.set_xlabel(f"{_SHOWN}@{k} on test, mean and deviation over seeds")
        written = BytesIO()
        figure.savefig(written, format=form, dpi=120, metadata={"Date": None} if form == "svg" else {"Software": None})
    return written.getvalue()
