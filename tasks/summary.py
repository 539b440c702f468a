"""What a run tells people: one page in the UI, which opens with what matters most."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlmrec_core.config import PipelineConfig
from rlmrec_core.gates.verdicts import Verdict
from rlmrec_core.gates.verdicts import in_words as value_in_words
from rlmrec_core.ranking import findings
from storage import ArtifactStore, StoreConfig
from tasks import datasets, last_run, report
from tasks.gates import Gates, written_by
from tasks.metrics import comparison, mean_over_seeds, shown_part
from tasks.recommend import titled_lists
from tasks.stage import StageResult
from tasks.stages import Done, hyper_parameters

_TITLE = "What this run made, how good it is, and whether it was put to use"
_ACCURACY = ("recall", "ndcg")
_MARKS = {"passed": "ok", "warned": "**warning**", "stopped": "**STOP**", "off": "off"}


def publish(store: StoreConfig, config: PipelineConfig, gates: Gates) -> None:
    """Note and show what a run made that went through every stage and every gate."""
    artifacts = ArtifactStore.open(store)
    run = last_run.note(artifacts, config, gates)
    _remember(artifacts, config, gates.done)
    _show(artifacts, config, gates, run["verdict"], run["message"])


def publish_stopped(store: StoreConfig, config: PipelineConfig, gates: Gates, stopped: str) -> None:
    """Note and show what a run made that a gate stopped. Latest inputs and what is in use stay as they are."""
    artifacts = ArtifactStore.open(store)
    run = last_run.note(artifacts, config, gates, stopped)
    _show(artifacts, config, gates, run["verdict"], stopped)


def show_stages(store: StoreConfig, config: PipelineConfig, gates: Gates) -> None:
    """Note and show what a run made that was not to train."""
    artifacts = ArtifactStore.open(store)
    _remember(artifacts, config, gates.done)
    _show(artifacts, config, gates, "passed", "nothing was trained, so that the lists in use stay as they are")


def _remember(artifacts: ArtifactStore, config: PipelineConfig, done: Done) -> None:
    keys = {stage: [result.ref.key for result in results] for stage, results in done.items()}
    datasets.remember(artifacts, config.data_name, keys)


def _show(artifacts: ArtifactStore, config: PipelineConfig, gates: Gates, verdict: str, message: str | None) -> None:
    done = gates.done
    parts = {
        f"Data set {report.as_text(config.data_name)}: {verdict}": _opening(artifacts, config, gates, message),
        "INCOMPLETE": _incomplete(done),
        "How good the models are": _metric_tables(artifacts, done),
        "First lists": titled_lists(artifacts, done["recommend"][0].ref) if "recommend" in done else "",
        "Gates": _gates(gates),
        "Stages": _stages(artifacts, done),
    }
    page = "\n\n".join(f"## {title}\n\n{body}" for title, body in parts.items() if body)
    report.show_markdown("summary", page, _TITLE)


def _opening(artifacts: ArtifactStore, config: PipelineConfig, gates: Gates, message: str | None) -> str:
    """Who wrote the profiles, which model wrote the lists, and the verdict in a sentence."""
    done = gates.done
    warnings = [verdict.reason for verdict in gates.verdicts if verdict.outcome == "warned"]
    facts = {
        "verdict": message or f"none of {len(gates.verdicts)} figures stopped the run",
        "found": "; ".join(_findings(artifacts, done)),
        "warnings": "; ".join(filter(None, warnings)),
        "read with": " ".join(filter(None, [config.ingest.reader, config.ingest.path])),
        "profiles written by": _authors(artifacts, done),
        "lists written by": _ranker(artifacts, done, gates),
        "hyper-parameters": _hyper_parameters(artifacts, config, done),
    }
    # No table: the UI cuts wide cells off. A block of code can be scrolled, and copied whole.
    told = "\n".join(f"- **{name}**: {report.as_text(value)}" for name, value in facts.items() if value)
    lists = artifacts.address(done["recommend"][0].ref, "recommendations.parquet") if "recommend" in done else ""
    return f"{told}\n\nEvery user's list:\n\n```\n{lists}\n```" if lists else told


def _hyper_parameters(artifacts: ArtifactStore, config: PipelineConfig, done: Done) -> str:
    if "train" not in done:
        return ""
    return hyper_parameters(config.train, artifacts, done["prepare"][0].ref).removeprefix("hyper-parameters: ")


def _authors(artifacts: ArtifactStore, done: Done) -> str:
    """Who wrote the profiles of either side, such as "items: model-x (130), taken from the texts (7)"."""
    sides = []
    for side in ("item", "user"):
        for result in done.get(f"{side}_profiles", ()):
            columns = artifacts.table(result.ref, "profiles", ["generator", "model", "status"])
            counts = columns.group_by(columns.column_names).aggregate([([], "count_all")]).to_pylist()
            ok = sorted((row for row in counts if row["status"] == "ok"), key=lambda row: -row["count_all"])
            sides.append(f"{side}s: " + (", ".join(f"{_author(row)} ({row['count_all']:,})" for row in ok) or "nobody"))
    return "; ".join(sides) or ("nobody, since no model reads text" if "train" in done else "")


def _author(row: Mapping[str, Any]) -> str:
    by = {"extractive": "taken from the texts, without a language model", "imported": "came with the data"}
    return by.get(row["generator"]) or f"the language model {row['model']}"


def _ranker(artifacts: ArtifactStore, done: Done, gates: Gates) -> str:
    if "recommend" not in done:
        return ""
    model = written_by(artifacts, done)
    recall = [verdict.figure for verdict in gates.verdicts if verdict.figure.check == "recall"]
    said = [f"{one.what} {one.value:.4f}, with 95 % in {one.low:.4f} to {one.high:.4f}" for one in recall]
    return ": ".join([f"{model.label}, seed {model.seed}", *said])


def _findings(artifacts: ArtifactStore, done: Done) -> list[str]:
    return findings(artifacts.table(done["evaluate"][0].ref, "significance")) if "evaluate" in done else []


def _incomplete(done: Done) -> str:
    lacking = [
        f"- **{result.title}**: {report.as_text(result.unfinished)}" for result in _all(done) if result.unfinished
    ]
    way_out = "The deployment `retry-failed` asks for these alone; the rest is in use."
    return "\n".join([*lacking, "", way_out]) if lacking else ""


def _metric_tables(artifacts: ArtifactStore, done: Done) -> str:
    """Accuracy on the part that is shown; then the rest."""
    if "evaluate" not in done:
        return ""
    metrics = mean_over_seeds(artifacts.table(done["evaluate"][0].ref, "metrics"))
    if not metrics:
        return "No interaction is held out for validation or test: nothing was measured."
    part = shown_part(metrics)
    accuracy, others = (
        [metric for metric in metrics if (metric["metric"] in _ACCURACY) == wanted] for wanted in (True, False)
    )
    return "\n\n".join(
        [
            f"{part.capitalize()} metrics, mean over seeds; higher is better, and bold is what is above all others "
            "by more than chance. Base is the recommender alone, con and gen align it with the text (RLMRec-Con, "
            "RLMRec-Gen), popularity recommends the same items to everybody, item_knn and ease go by who took what "
            "alone, semantic by the text alone.",
            _model_table(accuracy, part),
            "### Coverage and novelty",
            "Coverage is the share of all items that appear in anybody's list. Novelty grows as the items in the lists "
            "are less popular. Neither says whether the lists are any good.",
            _model_table(others, part, bold=False),
        ]
    )


def _model_table(metrics: Sequence[dict[str, Any]], part: str, *, bold: bool = True) -> str:
    rows = comparison(metrics, part)
    best = _clearly_best(metrics, part) if bold else set()
    names = list(rows[0])[1:] if rows else []
    shown = [
        {"model": row["model"]}
        | {name: f"**{row[name]:.4f}**" if (row["model"], name) in best else f"{row[name]:.4f}" for name in names}
        for row in rows
    ]
    return report.markdown_table(shown)


def _clearly_best(metrics: Iterable[dict[str, Any]], part: str) -> set[tuple[str, str]]:
    """Model and metric where the model's interval lies above the values of all others."""
    columns: dict[str, list[dict[str, Any]]] = {}
    for row in metrics:
        if row["part"] == part:
            columns.setdefault(f"{row['metric']}@{row['k']}", []).append(row)
    best = set()
    for name, rows in columns.items():
        first, *others = sorted(rows, key=lambda row: -row["value"])
        if others and first["low"] is not None and first["low"] > others[0]["value"]:
            best.add((first["label"], name))
    return best


def _gates(gates: Gates) -> str:
    """Every figure, its limits and the verdict; those outside first."""
    if not gates.verdicts:
        return ""
    order = ["stopped", "warned", "passed", "off"]
    rows = [_gate_row(verdict) for verdict in sorted(gates.verdicts, key=lambda one: order.index(one.outcome))]
    against = f"promotion {gates.promoted['number']} of {gates.promoted['promoted'][:16]}" if gates.promoted else None
    compared = f"Compared with {against}." if against else "Nothing was promoted before: there is nothing to compare."
    note = "± is half a 95 % interval, -30% the largest fall that is allowed. Limits are settings of `gates`."
    return f"{compared} {note}\n\n{report.markdown_table(rows)}"


def _gate_row(verdict: Verdict) -> dict[str, str]:
    figure, before = verdict.figure, verdict.before
    interval = "" if figure.low is None or figure.high is None else f" ± {(figure.high - figure.low) / 2:.4f}"
    return {
        "verdict": _MARKS[verdict.outcome],
        "figure": figure.what,
        "this run": value_in_words(figure.value, figure.unit) + interval,
        "in use": "" if before is None else value_in_words(before, figure.unit),
        "change": "" if not before else f"{(figure.value - before) / abs(before):+.1%}",
        "allowed": verdict.limits or "anything",
        "setting": f"`{figure.check}`",
    }


def _stages(artifacts: ArtifactStore, done: Done) -> str:
    rows = [
        {
            "stage": result.title,
            "status": result.status,
            "seconds": f"{result.seconds:.1f}",
            "rows": result.rows,
            "MB": f"{result.bytes / 1e6:.1f}",
            "artifact": f"`{artifacts.address(result.ref)}`",
        }
        for result in _all(done)
    ]
    legend = (
        "hit: found in the store, nothing was computed or paid. `rlmrec artifacts show KEY` tells what an artifact "
        "holds and what it was made from."
    )
    return f"{report.markdown_table(rows)}\n\n{legend}"


def _all(done: Done) -> Iterable[StageResult]:
    return (result for results in done.values() for result in results)
