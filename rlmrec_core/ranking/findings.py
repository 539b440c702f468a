"""What a comparison says, in words: whether a variant is better than Base, and how sure that is."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from rlmrec_core.tables import SIGNIFICANCE, shown_k

_SURE = 0.05
_NAMES = {"recall": "Recall", "ndcg": "NDCG"}
_FIVE_SEEDS = "train.seeds=[2023,2024,2025,2026,2027]"

_Row = Mapping[str, Any]


def findings(significance: pa.Table) -> list[str]:
    """One sentence for each model that was compared with a Base, on Recall@20 (without 20, on the longest lists).

    A difference is told as one where p, after Holm's correction, is below .05. Nothing is said where there was nothing
    to compare. significance: SIGNIFICANCE.
    """
    if not set(SIGNIFICANCE.names) <= set(significance.column_names):
        return []  # written by an earlier version
    rows = [row for row in significance.to_pylist() if row["metric"] == "recall"]
    k = shown_k(row["k"] for row in rows)
    compared = [row for row in rows if row["k"] == k and row["gain"] is not None and row["base"] != row["settings"]]
    # One backbone needs no name.
    backbone = {row["backbone"] for row in rows if row["base"]}
    prefix = f"{backbone.pop()} " if len(backbone) == 1 else ""
    return [_sentence(row, prefix, len(compared)) for row in compared]


def _sentence(row: _Row, prefix: str, n_compared: int) -> str:
    model, base = (row[name].removeprefix(prefix) for name in ("label", "base_label"))
    measure = f"{_NAMES[row['metric']]}@{row['k']}"
    p = row["p_holm"] if row["p_bootstrap"] is None else row["p_bootstrap_holm"]
    known = "" if p is None else f"p {_in_words(p)}{' after Holm' if n_compared > 1 else ''}, "
    if p is not None and p < _SURE:
        kind = "better" if row["gain"] > 0 else "worse"
        return f"{model} is {abs(row['gain']):.1%} {kind} than {base} on {measure} ({known}{_sample(row)})"
    between = "" if row["gain_low"] is None else f", 95 % between {row['gain_low']:+.1%} and {row['gain_high']:+.1%}"
    told = f"({row['gain']:+.1%}{between}; {known}{_sample(row)})"
    return (
        f"no difference between {model} and {base} on {measure} that {_shown_by(row)} can show {told}; {_advice(row)}"
    )


def _sample(row: _Row) -> str:
    """What the test was made on."""
    if row["p_bootstrap"] is not None:
        return f"one seed: bootstrap over {row['n_users']:,} users"
    return "one seed" if row["n_seeds"] == 1 else f"{row['n_seeds']} seeds"


def _shown_by(row: _Row) -> str:
    users = "these users" if row["n_users"] is None else f"{row['n_users']:,} users"
    return f"{users} and {row['n_seeds']} seeds" if row["n_seeds"] > 1 else users


def _advice(row: _Row) -> str:
    if row["n_seeds"] < 5:
        return f"five seeds show smaller ones: set {_FIVE_SEEDS}"
    return "try richer texts (item_profiles.generator=llm), another encoder (embed.encoder), or more weight on them"


def _in_words(p: float) -> str:
    """A p-value as papers print it: "= .002", "< .001"."""
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".") if p < 0.1 else f"= {p:.2f}".replace("0.", ".")
