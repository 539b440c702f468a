"""How good the models of a store are, in Markdown: every run with its best epoch and minutes, then the seeds together.

python -m tests.benchmarks.accuracy STORE [EVALUATE_KEY ...] [--paper amazon-book]

Reads what `evaluate` measured, of the latest run or of the artifacts named. With --paper the figures of RLMRec's
table 1 stand beside ours (test, mean of the authors' five seeds; NDCG as far as it is known).
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from rlmrec_core.experiments import paper as printed
from rlmrec_core.model_id import ModelId
from rlmrec_core.models import STOPPING_METRIC
from rlmrec_core.ranking import BASELINES
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import report
from tasks.models import role_of

SIZES = {"amazon-book": (11_000, 9_332), "yelp": (11_091, 11_010)}
Row = dict[str, Any]


def runs(artifacts: ArtifactStore, evaluated: Sequence[ArtifactRef], paper: str | None) -> list[Row]:
    """One row for every model and seed, baselines last."""
    rows = {}
    for ref in evaluated:
        trained = artifacts.manifest(ref).content.inputs
        for name, values in _measured(artifacts, ref).items():
            fit = _training(artifacts, trained[role_of(name)]) if name not in BASELINES else {}
            rows[name] = (
                {"model": _model(name), "seed": str(name.seed or "-")} | fit | values | _beside(name, values, paper)
            )
    return [rows[name] for name in sorted(rows, key=lambda name: name in BASELINES)]


def _model(name: ModelId) -> str:
    return " ".join(dict.fromkeys((name.backbone, name.variant)))


def _measured(artifacts: ArtifactStore, ref: ArtifactRef) -> dict[ModelId, dict[str, str]]:
    values = {}
    for row in artifacts.table(ref, "metrics").to_pylist():
        name = ModelId(*(row[field] for field in ModelId._fields))
        values[name, row["part"], row["metric"], row["k"]] = row["value"]
    columns = list(product(("validation", "test"), ("recall", "ndcg")))
    names = dict.fromkeys(key[0] for key in values)
    return {
        name: {f"{part} {metric}@20": f"{values[name, part, metric, 20]:.4f}" for part, metric in columns}
        for name in names
    }


def _training(artifacts: ArtifactStore, key: str) -> dict[str, str]:
    ref = ArtifactRef("train", key, artifacts.url)
    history = artifacts.table(ref, "history").to_pandas()
    best = history.loc[history[STOPPING_METRIC].idxmax(), "epoch"]
    return {"best epoch": f"{best}", "minutes": f"{artifacts.manifest(ref).run.seconds / 60:.1f}"}


def _beside(name: ModelId, values: dict[str, str], paper: str | None) -> dict[str, str]:
    """The paper's figures, and ours in per cent of them."""
    if paper is None:
        return {}
    theirs = {
        metric: target
        for metric in ("recall", "ndcg")
        if (target := printed.accuracy(*SIZES[paper], name.backbone, name.variant, metric))
    }
    return {
        f"paper's {metric}@20": f"{target:.4f} ({float(values[f'test {metric}@20']) / target - 1:+.1%})"
        for metric, target in theirs.items()
    }


def seeds(artifacts: ArtifactStore, evaluated: Sequence[ArtifactRef]) -> Iterator[Row]:
    """Mean, standard deviation, gain over Base and p-values of the models with several seeds, at 20."""
    for row in (row for ref in evaluated for row in artifacts.table(ref, "significance").to_pylist()):
        if row["k"] == 20 and row["n_seeds"] > 1:
            yield {
                "model": f"{row['backbone']} {row['variant']}",
                "metric": f"{row['metric']}@20",
                "seeds": row["n_seeds"],
                "mean": f"{row['mean']:.4f}",
                "deviation": f"{row['std']:.4f}",
                "gain over Base": _shown(row["gain"], "+.1%") if row["variant"] != "base" else "-",
                "p": _shown(row["p"], ".3g"),
                "p, Holm": _shown(row["p_holm"], ".3g"),
            }


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _filled(rows: Sequence[Row]) -> list[Row]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "-") for name in columns} for row in rows]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="where the artifacts are")
    parser.add_argument("keys", nargs="*", help="evaluate artifacts; the latest by default")
    parser.add_argument("--paper", choices=sorted(SIZES), help="put the figures of this data set beside ours")
    options = parser.parse_args()
    artifacts = ArtifactStore.open(StoreConfig(url=options.store))
    evaluated = [ref for ref in artifacts.refs("evaluate") if ref.key.startswith(tuple(options.keys))]
    evaluated = evaluated if options.keys else evaluated[:1]
    print(report.markdown_table(_filled(runs(artifacts, evaluated, options.paper))))
    together = list(seeds(artifacts, evaluated))
    if together:
        print(f"\n{report.markdown_table(together)}")


if __name__ == "__main__":
    main()
