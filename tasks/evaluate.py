"""Measure every model, with the baselines beside them: popularity, ItemKNN, EASE, and the text alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from prefect import State, task

from rlmrec_core import ranking
from rlmrec_core.config import EvaluateConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.config.training import RunSettings
from rlmrec_core.model_id import ModelId, base_of, labels
from rlmrec_core.models import learnt_from
from rlmrec_core.profiling import SplitLeakage
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.cold_start import measure_cold
from tasks.metrics import by_group, comparison, mean_over_seeds, shown_part
from tasks.models import (
    check_made_of,
    embed_of,
    load_split,
    load_vectors,
    model_settings,
    role_of,
    semantic_of,
    with_earlier,
)
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 12


@task(name="evaluate", **UNCACHED)
def evaluate(
    config: EvaluateConfig, store: StoreConfig, prepare: ArtifactRef, models: Sequence[ArtifactRef], force: bool = False
) -> StageResult | State[StageResult]:
    """All-rank metrics on validation and test."""
    artifacts = ArtifactStore.open(store)
    named = _named(artifacts, prepare, models)
    inputs = {"prepare": prepare.key} | {role_of(name): ref.key for name, (ref, _) in named.items()}
    stage = Stage("evaluate", VERSION, ("metrics",), key_fields(config), inputs)

    def write(out: ArtifactWriter) -> None:
        vectors = {name: load_vectors(artifacts, ref) for name, (ref, _) in named.items()}
        semantic = semantic_of(artifacts, models)
        if semantic:
            vectors[ranking.SEMANTIC_ONLY] = ranking.semantic_only(semantic)
        split = load_split(artifacts, prepare)
        if why := ranking.ease_left_out(split, config):
            report.log().warning(why)
        settings = {name: run.flat() for name, (_, run) in named.items()}
        shown = labels(settings)
        embed, every = embed_of(artifacts, models), list(dict.fromkeys(models))
        cold = measure_cold(artifacts, prepare, embed, split, every, shown, semantic, config.ks)
        out.table("cold_start", cold)
        known = split
        if config.leave_out_earlier:
            known = with_earlier(artifacts, split, prepare, (run for _, run in named.values()))
        noisy = {name: learnt_from(split, run) for name, (_, run) in named.items() if run.noise}
        measured = ranking.measure(
            split,
            vectors,
            config,
            semantic=semantic,
            labels=shown,
            prepare=prepare.key,
            learnt_from={name: known.knowing(*own.train) for name, own in noisy.items()},
            known=known,
        )
        out.table("metrics", measured.metrics)
        out.table("user_metrics", _with_ids(artifacts, prepare, measured.by_user))
        out.table("group_metrics", measured.groups)
        readers = {name for name, (_, run) in named.items() if run.reads_semantics}
        bases = {(name.backbone, name.variant, name.settings): base_of(name, settings, readers) for name in settings}
        part = shown_part(measured.metrics.to_pylist())
        out.table("significance", ranking.significance(measured.metrics, part, bases=bases, by_user=measured.by_user))

    result = stage.run(artifacts, write, force=force)
    metrics = mean_over_seeds(artifacts.table(result.ref, "metrics"))
    part = shown_part(metrics)
    report.show_table("metrics", comparison(metrics, part), f"Accuracy on the {part} part, one row for each model")
    significance = artifacts.table(result.ref, "significance")
    tested = [_tested(row) for row in significance.to_pylist()]
    report.show_table("significance", tested, f"Metrics on the {part} part over seeds, and tests against Base")
    for finding in ranking.findings(significance):
        report.log().info(finding)
    groups = artifacts.table(result.ref, "group_metrics")
    report.show_table("groups", by_group(groups, part), f"Metrics of groups on the {part} part, mean over seeds")
    if rows := artifacts.table(result.ref, "cold_start").to_pylist():
        shown = [row | {"recall": round(row["recall"], 4)} for row in rows]
        report.show_table("cold-start", shown, "Recall for items and users that were held out of the training")
    return as_state(result)


_TESTED = ("mean", "std", "gain", "p_holm", "p_bootstrap_holm", "p_wilcoxon_holm")


def _tested(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of SIGNIFICANCE as people read it."""
    is_base = row["base"] == row["settings"]
    untested = "is Base" if is_base else "one seed: no test" if row["n_seeds"] < 2 else "no test"
    digits = {name: None if row[name] is None else round(row[name], 4) for name in _TESTED}
    return {
        "model": row["label"],
        "metric": f"{row['metric']}@{row['k']}",
        "seeds": row["n_seeds"],
        "mean": digits["mean"],
        "deviation": "one seed" if digits["std"] is None else digits["std"],
        "gain over Base": "" if digits["gain"] is None or is_base else f"{row['gain']:+.1%}",
        "p over seeds (t, Holm)": untested if digits["p_holm"] is None else digits["p_holm"],
        "p over users (bootstrap, Holm)": "" if digits["p_bootstrap_holm"] is None else digits["p_bootstrap_holm"],
        "p over users (Wilcoxon, Holm)": "" if digits["p_wilcoxon_holm"] is None else digits["p_wilcoxon_holm"],
    }


def _with_ids(artifacts: ArtifactStore, prepare: ArtifactRef, by_user: pa.Table) -> pa.Table:
    """The values of users with the ids of the data in place of numbers."""
    ids = artifacts.table(prepare, "user_index")["user_id"].take(by_user["user"])
    return by_user.set_column(by_user.schema.get_field_index("user"), "user_id", ids)


def _named(
    artifacts: ArtifactStore, prepare: ArtifactRef, models: Sequence[ArtifactRef]
) -> dict[ModelId, tuple[ArtifactRef, RunSettings]]:
    """The models by their identity. Raises ValueError on two of one identity, which only their inputs tell apart, and
    SplitLeakage on one that has seen what is held out."""
    named: dict[ModelId, tuple[ArtifactRef, RunSettings]] = {}
    for model in dict.fromkeys(models):
        settings = model_settings(artifacts, model)
        if settings.fit_on == "all":
            raise SplitLeakage(f"{model} has learnt from validation and test: it makes lists, and cannot be measured")
        if embed := embed_of(artifacts, [model]):
            check_made_of(artifacts, embed, prepare)
        if settings.model_id in named:
            first = named[settings.model_id][0]
            raise ValueError(
                f"{first} and {model} are the same {settings.model_id.label} with seed {settings.seed}, learnt from "
                "different inputs, such as other semantic vectors; evaluate them one after the other"
            )
        named[settings.model_id] = model, settings
    return named
