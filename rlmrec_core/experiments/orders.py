"""What a language model's order of candidates is worth: the table and the picture of the paper's figure 1."""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from rlmrec_core.experiments.sheet import Sheet
from rlmrec_core.tables import ORDER_SCORES

ORDER_ROWS = pa.schema([pa.field("label", pa.string(), nullable=False), pa.field("llm", pa.string()), *ORDER_SCORES])
"""ORDER_SCORES with the names of the model and of the language model."""

_MEASURES = (("recall", 10), ("recall", 20), ("ndcg", 10), ("ndcg", 20))
_SHOWN = _MEASURES[1]
_AXIS = "recall and NDCG on test by the number of candidates; the band is the 95 % interval of the repaired order"
_FAULTS = ("invented", "repeated", "missing", "unparseable")
_ORDERS = {"model": "the model's order", "repaired": "repaired", "strict": "strict"}
_NO_NAME, _LONGEST = re.compile(r"[^\w ,.:+-]|(?<=:)[^\w]|www\."), 80
_COLOURS = {"model": "C7", "repaired": "C0", "strict": "C1"}
_Rows = Mapping[tuple[int, str], Mapping[tuple[str, int], Mapping[str, Any]]]


def rows_of(scores: pa.Table, label: str, llm: str | None) -> pa.Table:
    """Rows of ORDER_ROWS from those of ORDER_SCORES."""
    names = [pa.repeat(label, len(scores)), pa.array([llm] * len(scores), pa.string())]
    return pa.Table.from_arrays([*names, *scores.columns], schema=ORDER_ROWS)


def sheet(rows: pa.Table) -> Sheet:
    """One line for each number of candidates and order; what is wrong with the answers stands beside the strict one."""
    found = _by_order(rows)
    lines = []
    for (n, order), measured in found.items():
        if order not in _ORDERS:
            continue
        shown = measured[_SHOWN]
        cells = [_mean(measured[measure]) for measure in _MEASURES]
        gain = "" if shown["gain"] is None else f"{shown['gain']:+.1%}"
        p = "" if shown["p_wilcoxon_holm"] is None else f"{shown['p_wilcoxon_holm']:.2g}"
        answers = found[n, "answers"] if order == "strict" else {}
        faults = [f"{answers[name, 20]['value']:.1%}" if (name, 20) in answers else "" for name in _FAULTS]
        lines.append([f"{n}: {_ORDERS[order]}", str(shown["n_users"]), *cells, gain, p, *faults])
    header = ["candidates", "users", *(f"{name}@{k}" for name, k in _MEASURES)]
    header += ["gain", "p", *_FAULTS]
    return Sheet(header, lines, _AXIS, (), _notes(rows, found), draw=lambda figure: _draw(figure, found))


def _by_order(rows: pa.Table) -> _Rows:
    found: dict[tuple[int, str], dict[tuple[str, int], Mapping[str, Any]]] = {}
    for row in rows.to_pylist():
        found.setdefault((row["n_candidates"], row["list"]), {})[row["metric"], row["k"]] = row
    return found


def _mean(row: Mapping[str, Any]) -> str:
    significant = row["p_wilcoxon_holm"] is not None and row["p_wilcoxon_holm"] < 0.05
    return f"{row['value']:.4f}" + ("*" if significant else "")


def _notes(rows: pa.Table, found: _Rows) -> list[str]:
    if not len(rows):
        return ["Nobody was answered."]
    (first, *_) = rows.to_pylist()
    without = [own["without_list", 20]["value"] for (_, order), own in found.items() if order == "answers"]
    return [
        f"{_named(first['llm'])} puts the best items of {first['label']} in order, for a sample of users "
        "with a held-out item in test. All lines of a number of candidates are about the same users.",
        "Strict: an invented or repeated index leaves its place empty. Repaired: it is dropped, and the model's own "
        f"order fills up. Up to {max(without):.1%} of the users had no list at all: nothing when strict, the model's "
        "order when repaired.",
        f"Gain and p: {_SHOWN[0]}@{_SHOWN[1]} against the model's own order, by Wilcoxon's test over users, corrected "
        "for all that is compared (Holm); a star stands for p < 0.05. Invented, repeated, missing: shares of "
        "the places that were asked for; unparseable: share of first answers without a list of indices.",
    ]


def _named(llm: str | None) -> str:
    """The name that a server gives its model, without what a page would take for markup or a link."""
    return _NO_NAME.sub("?", llm)[:_LONGEST] if llm else "A language model"


def _draw(figure: Figure, found: _Rows) -> None:
    """A panel for each measure: its mean by the number of candidates; of the repaired order with its interval."""
    figure.set_size_inches(9, 6)
    panels = figure.subplots(2, 2, sharex=True).flat
    for axes, measure in zip(panels, _MEASURES, strict=True):
        for order, name in _ORDERS.items():
            shown = [(n, own[measure]) for (n, whose), own in found.items() if whose == order]
            xs, values = [n for n, _ in shown], [row["value"] for _, row in shown]
            axes.plot(xs, values, marker="o", label=name, color=_COLOURS[order])
            if order == "repaired":
                lows, highs = ([row[end] for _, row in shown] for end in ("low", "high"))
                band = {"alpha": 0.12, "linewidth": 0, "color": _COLOURS[order]}
                axes.fill_between(xs, lows, highs, label=f"{name}, 95 % over users", **band)
        axes.set_title(f"{measure[0]}@{measure[1]}", fontsize="medium")
        axes.set_xticks(sorted({n for n, _ in found}))
        axes.grid(alpha=0.3)
    figure.supxlabel("candidates")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="small")
