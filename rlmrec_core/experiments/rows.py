"""The rows of an experiment, beside the paper's where the data are the paper's, as tables for people and for papers."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from rlmrec_core.tables import SIGNIFICANCE

EXPERIMENT = pa.schema(
    [
        *SIGNIFICANCE,
        # The paper's figure, a mean of five seeds on its own vectors.
        pa.field("paper", pa.float64()),
    ]
)
"""SIGNIFICANCE with the paper's figure."""

_SIZES = {(11_000, 9_332): 0, (11_091, 11_010): 1, (23_310, 5_237): 2}
"""Users and items of Amazon-book, Yelp and Steam as the authors publish them."""

_RECALL_20: Mapping[tuple[str, str], tuple[float | None, ...]] = {
    ("gccf", "base"): (0.1343, 0.1084, 0.1313),
    ("gccf", "con"): (0.1395, 0.1144, 0.1398),
    ("gccf", "gen"): (0.1372, 0.1074, 0.1385),
    ("lightgcn", "base"): (0.1411, 0.1157, 0.1348),
    ("lightgcn", "con"): (0.1483, 0.1230, 0.1421),
    ("lightgcn", "gen"): (0.1446, 0.1209, 0.1433),
    ("lightgcn", "kar"): (0.1416, 0.1194, None),
    ("sgl", "base"): (0.1473, 0.1197, 0.1444),
    ("sgl", "con"): (0.1528, 0.1248, 0.1489),
    ("sgl", "gen"): (0.1537, 0.1263, 0.1476),
    ("sgl", "kar"): (0.1372, 0.1208, None),
    ("simgcl", "base"): (0.1512, 0.1254, 0.1436),
    ("simgcl", "con"): (0.1552, 0.1292, 0.1482),
    ("simgcl", "gen"): (0.1524, 0.1267, 0.1456),
    ("dccf", "base"): (0.1517, 0.1249, 0.1437),
    ("dccf", "con"): (0.1563, 0.1321, 0.1459),
    ("dccf", "gen"): (0.1559, 0.1281, 0.1430),
    ("autocf", "base"): (0.1536, 0.1280, 0.1358),
    ("autocf", "con"): (0.1586, 0.1319, 0.1372),
    ("autocf", "gen"): (0.1581, 0.1330, 0.1410),
}
"""Test Recall@20 on Amazon-book, Yelp and Steam (RLMRec, tables 1 and 2)."""


def rows_of(significance: pa.Table, n_users: int, n_items: int) -> pa.Table:
    """Rows of EXPERIMENT from those of SIGNIFICANCE; the sizes tell whether the data are the paper's.

    The paper's figures stand beside models without noise or another departure alone: one label for each pair.
    """
    place = _SIZES.get((n_users, n_items))
    rows = significance.to_pylist()
    for row in rows:
        plain = row["label"] == f"{row['backbone']} {row['variant']}"
        known = place is not None and plain and (row["metric"], row["k"]) == ("recall", 20)
        found = _RECALL_20.get((row["backbone"], row["variant"])) if known else None
        row["paper"] = None if found is None or place is None else found[place]
    return pa.Table.from_pylist(rows, schema=EXPERIMENT)


def markdown(rows: pa.Table) -> str:
    """One line for each model: means over seeds with their deviation, the gain over Base, a star at p < 0.05."""
    header, lines = _table(rows, "±", "*")
    text = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*text, *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def latex(rows: pa.Table) -> str:
    """The same as a LaTeX tabular."""
    header, lines = _table(rows, r"$\pm$", r"$^{*}$")
    first, *others = (" & ".join(map(_escaped, line)) + r" \\" for line in [header, *lines])
    begin = rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}"
    return "\n".join([begin, r"\hline", first, r"\hline", *others, r"\hline", r"\end{tabular}", ""])


def _table(rows: pa.Table, around: str, star: str) -> tuple[list[str], list[list[str]]]:
    models: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows.to_pylist():
        models.setdefault((row["label"], row["settings"]), {})[f"{row['metric']}@{row['k']}"] = row
    names = list(dict.fromkeys(name for measured in models.values() for name in measured))
    has_paper = any(row["paper"] is not None for measured in models.values() for row in measured.values())
    header = [
        "model",
        *names,
        "gain",
        "p (t, Holm)",
        "p (Wilcoxon, Holm)",
        *(["recall@20 in the paper"] if has_paper else []),
    ]
    lines = []
    for (label, _), measured in models.items():
        shown = measured.get("recall@20") or next(iter(measured.values()))
        cells = [_mean(measured.get(name), around, star) for name in names]
        gain = "" if shown["gain"] is None else f"{shown['gain']:+.1%}"
        tests = [_shown(shown[name], "{:.2g}".format) for name in ("p_holm", "p_wilcoxon_holm")]
        paper = [_shown(shown["paper"], "{:.4f}".format)] if has_paper else []
        lines.append([label, *cells, gain, *tests, *paper])
    return header, lines


def _mean(row: Mapping[str, Any] | None, around: str, star: str) -> str:
    if row is None:
        return ""
    spread = f" {around} {row['std']:.4f}" if row["std"] is not None else ""
    return f"{row['mean']:.4f}{spread}" + (star if row["p_holm"] is not None and row["p_holm"] < 0.05 else "")


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)


def _escaped(cell: str) -> str:
    return cell.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")
