"""How good the lists of an experiment's models are: the rows of several arms as one table."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.canonical import digest_of
from rlmrec_core.experiments import paper
from rlmrec_core.experiments.sheet import Bar, Sheet
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking import significance
from rlmrec_core.tables import SIGNIFICANCE, shown_k

EXPERIMENT = pa.schema(
    [
        # The arm of the recipe, and the model that its models started from.
        pa.field("arm", pa.string(), nullable=False),
        pa.field("started_from", pa.string()),
        *SIGNIFICANCE,
        # The paper's figure, a mean of five seeds on its own vectors.
        pa.field("paper", pa.float64()),
    ]
)
"""SIGNIFICANCE with where a model belongs, and the paper's figure."""

_SURE = 0.05


class Start(NamedTuple):
    """What a model started from. plain: digest of its own settings without that; label, settings, variant: of that."""

    plain: str
    label: str
    settings: str
    variant: str


@dataclass(frozen=True)
class Measured:
    """What evaluate measured of one arm.

    Attributes:
        arm: Its name.
        metrics: METRICS.
        by_user: Schema of `tables.user_metrics_schema`, with or without the users' ids.
        significance: SIGNIFICANCE.
        part: The part whose metrics are shown.
        own: Settings of the models that no earlier arm has.
        starts: What models started from, by their settings.
    """

    arm: str
    metrics: pa.Table
    by_user: pa.Table
    significance: pa.Table
    part: str
    own: Collection[str] = ()
    starts: Mapping[str, Start] = field(default_factory=dict)


def rows_of(measured: Sequence[Measured], n_users: int, n_items: int) -> pa.Table:
    """Rows of EXPERIMENT; the sizes tell whether the data are the paper's.

    Several arms, or models that other models started, are tested together: p-values are corrected over all of them. The
    paper's figures stand beside models without noise or another departure alone: one label for each pair. Those of
    models that others started are of other data, whatever the sizes.
    """
    is_started = any(one.starts for one in measured)
    is_plain = len(measured) == 1 and not measured[0].arm and not is_started
    tested = measured[0].significance if is_plain else _together(measured)
    known: dict[_Key, tuple[str, _Name]] = {}
    for one in measured:
        for name in _names(one).values():
            known.setdefault((name.backbone, name.settings), (one.arm, name))
    rows: list[dict[str, Any]] = []
    at: dict[str, int] = {}
    for row in tested.to_pylist():
        arm, name = known[row["backbone"], row["settings"]]
        figure = _pretrained(row, name) if is_started else _paper(row, name, n_users, n_items)
        started_from = name.start.label if name.start else None
        at[row["backbone"]] = at.get(row["backbone"], len(at))
        rows.append({"arm": arm, "started_from": started_from, **row, "paper": figure})
    # What is compared stands together: all of one backbone, in the order of the arms.
    return pa.Table.from_pylist(sorted(rows, key=lambda row: at[row["backbone"]]), schema=EXPERIMENT)


class _Name(NamedTuple):
    """What a model is called beside those of other arms."""

    backbone: str
    settings: str
    label: str
    start: Start | None


_Key = tuple[str, str]
"""Backbone and settings."""


def _names(one: Measured) -> dict[_Key, _Name]:
    found: dict[_Key, _Name] = {}
    labels = one.metrics.group_by(["backbone", "settings", "label"], use_threads=False).aggregate([]).to_pylist()
    for row in labels:
        backbone, settings, label = row["backbone"], row["settings"], row["label"]
        start = one.starts.get(settings)
        if one.starts and settings:
            # Keys of other models tell nothing, and there is one for each seed.
            label = " ".join(word for word in label.split() if not word.startswith("start_from="))
        if start:
            settings, label = digest_of([start.plain, start.settings])[:8], f"{label} from {start.label}"
        if one.arm and (row["settings"] in one.own or backbone == "semantic"):
            settings, label = f"{settings}@{one.arm}", f"{one.arm}: {label}"
        found[backbone, row["settings"]] = _Name(backbone, settings, label, start)
    return found


def _together(measured: Sequence[Measured]) -> pa.Table:
    tables: dict[str, list[pa.Table]] = {"metrics": [], "by_user": []}
    bases: dict[tuple[str, str, str], ModelId | None] = {}
    seen: set[_Key] = set()
    for one in measured:
        names = _names(one)
        fresh = {key: name for key, name in names.items() if (name.backbone, name.settings) not in seen}
        seen |= {(name.backbone, name.settings) for name in fresh.values()}
        tables["metrics"].append(_renamed(one.metrics, fresh))
        tables["by_user"].append(_renamed(one.by_user, fresh))
        bases |= _bases(one, names)
    metrics, by_user = (pa.concat_tables(found) for found in tables.values())
    return significance(metrics, measured[0].part, bases=bases, by_user=by_user)


def _bases(one: Measured, names: Mapping[_Key, _Name]) -> dict[tuple[str, str, str], ModelId | None]:
    """The Base that each model is compared with; where it was started from another, itself without that."""
    found: dict[tuple[str, str, str], ModelId | None] = {}
    backbone_of = {settings: backbone for backbone, settings in names}
    for row in one.significance.select(["backbone", "variant", "settings", "base"]).to_pylist():
        name = names[row["backbone"], row["settings"]]
        base = name.start.plain if name.start else row["base"]
        other = names.get((backbone_of.get(base, ""), base)) if base else None
        found[name.backbone, row["variant"], name.settings] = (
            ModelId(other.backbone, "base", 0, other.settings) if other else None
        )
    return found


def _renamed(table: pa.Table, names: Mapping[_Key, _Name]) -> pa.Table:
    """The rows of these models, under their other settings and labels."""
    keys = pc.binary_join_element_wise(table["backbone"], table["settings"], "\t")
    place = pc.index_in(keys, pa.array(["\t".join(key) for key in names], pa.string()))
    found, place = table.filter(place.is_valid()), place.drop_null()
    for column in {"settings", "label"} & set(table.column_names):
        values = pa.array([getattr(name, column) for name in names.values()], pa.string()).take(place)
        at = found.schema.get_field_index(column)
        found = found.set_column(at, found.schema.field(at), values)
    return found


def _paper(row: Mapping[str, Any], name: _Name, n_users: int, n_items: int) -> float | None:
    backbone, variant = row["backbone"], row["variant"]
    plain = row["k"] == 20 and name.label == f"{backbone} {variant}"
    return paper.accuracy(n_users, n_items, backbone, variant, row["metric"]) if plain else None


def _pretrained(row: Mapping[str, Any], name: _Name) -> float | None:
    plain = (row["backbone"], row["variant"], row["k"]) == ("lightgcn", "base", 20)
    return paper.pretrained(name.start.variant if name.start else None, row["metric"]) if plain else None


def sheet(rows: pa.Table, part: str = "test") -> Sheet:
    """One line for each model: means over seeds with their deviation, the gain over Base, a star at p < 0.05."""
    models: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows.to_pylist():
        models.setdefault((row["label"], row["settings"]), {})[f"{row['metric']}@{row['k']}"] = row
    names = list(dict.fromkeys(name for measured in models.values() for name in measured))
    in_paper = [name for name in names if any(_figure(measured.get(name)) for measured in models.values())]
    tests = ["p (t, Holm)", "p (Wilcoxon, Holm)"]
    # What is compared first, the paper's beside it; other lengths of lists last.
    first = [name for name in names if name.endswith(f"@{shown_k(rows['k'].to_pylist())}")]
    others = [name for name in names if name not in first]
    header = ["model", *first, *(f"{name} in the paper" for name in in_paper), "gain", *tests, *others]
    lines, bars, started = [], [], any(rows["started_from"].to_pylist())
    shown_as = f"recall@{shown_k(rows['k'].to_pylist())}"
    for (label, _), measured in models.items():
        shown = measured.get(shown_as) or next(iter(measured.values()))
        cells, beside = ([_mean(measured.get(name)) for name in chosen] for chosen in (first, others))
        gain = "" if shown["gain"] is None else f"{shown['gain']:+.1%}"
        p_values = [_shown(shown[name], "{:.2g}".format) for name in ("p_holm", "p_wilcoxon_holm")]
        figures = [_shown(_figure(measured.get(name)), "{:.4f}".format) for name in in_paper]
        lines.append([label, *cells, *figures, gain, *p_values, *beside])
        is_reference = shown["base"] == shown["settings"] or not shown["settings"]
        printed = None if started else shown["paper"]  # of other data: no bar to compare it with
        bars.append(Bar(label, shown["mean"], shown["std"], printed, is_reference))
    return Sheet(header, lines, f"{shown_as} on {part}, mean and deviation over seeds", bars, _notes(rows, started))


def _notes(rows: pa.Table, started: bool) -> list[str]:
    """Where the differences from Base on Recall, at the length of lists that speaks for the others, are sure."""
    k = shown_k(rows["k"].to_pylist())
    told: dict[str, list[str]] = {}
    for row in rows.to_pylist():
        compared = row["gain"] is not None and row["base"] is not None and row["base"] != row["settings"]
        if not compared or (row["metric"], row["k"]) != ("recall", k):
            continue
        p, test = row["p_holm"], f"t over {row['n_seeds']} seeds"
        if row["n_seeds"] == 1:
            p, test = row["p_bootstrap_holm"], "bootstrap over users, one seed"
        sure = p is not None and p < _SURE
        kind = (
            "No sure difference from Base" if not sure else "Better than Base" if row["gain"] > 0 else "Worse than Base"
        )
        told.setdefault(f"{kind} on Recall@{k} ({test}, Holm)", []).append(f"{row['label']} {row['gain']:+.1%}")
    other_data = ["The paper's figures are of Yelp's years 2018 and 2019, after 2012 to 2017."] if started else []
    return [*other_data, *(f"{kind}: {', '.join(models)}." for kind, models in told.items())]


def _figure(row: Mapping[str, Any] | None) -> float | None:
    return row["paper"] if row else None


def _mean(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    spread = f" ± {row['std']:.4f}" if row["std"] is not None else ""
    return f"{row['mean']:.4f}{spread}" + ("*" if row["p_holm"] is not None and row["p_holm"] < _SURE else "")


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)
