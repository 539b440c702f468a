"""Measure every model, with the baselines beside them: popularity, and the text alone."""

from collections.abc import Sequence

from prefect import State, task

from rlmrec_core import ranking
from rlmrec_core.config import EvaluateConfig
from rlmrec_core.config.section import key_fields
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.metrics import comparison, mean_over_seeds, shown_part
from tasks.models import load_split, load_vectors, model_name, role_of, semantic_of
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 3


@task(name="evaluate", **UNCACHED)
def evaluate(
    config: EvaluateConfig, store: StoreConfig, prepare: ArtifactRef, models: Sequence[ArtifactRef], force: bool = False
) -> StageResult | State[StageResult]:
    """All-rank metrics on validation and test."""
    artifacts = ArtifactStore.open(store)
    inputs = {"prepare": prepare.key} | {role_of(model_name(artifacts, model)): model.key for model in models}
    stage = Stage("evaluate", VERSION, ("metrics",), key_fields(config), inputs)

    def write(out: ArtifactWriter) -> None:
        vectors = {model_name(artifacts, model): load_vectors(artifacts, model) for model in models}
        semantic = semantic_of(artifacts, models)
        if semantic:
            vectors[ranking.SEMANTIC_ONLY] = ranking.semantic_only(semantic)
        measured = ranking.evaluate(load_split(artifacts, prepare), vectors, config)
        out.table("metrics", measured)
        out.table("significance", ranking.significance(measured))

    result = stage.run(artifacts, write, force=force)
    metrics = mean_over_seeds(artifacts.table(result.ref, "metrics"))
    part = shown_part(metrics)
    report.show_table("metrics", comparison(metrics, part), f"Accuracy on the {part} part, one row for each model")
    tested = artifacts.table(result.ref, "significance").to_pylist()
    report.show_table("significance", tested, "Test metrics over seeds, and paired t-tests against Base")
    return as_state(result)
