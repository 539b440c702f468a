"""Write the top-K list of every user."""

import numpy as np
import pyarrow as pa
from prefect import State, task

from rlmrec_core.config import RecommendConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.top_k import PADDING, Ranking, top_k
from rlmrec_core.tables import RECOMMENDATIONS
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.metrics import best_model
from tasks.models import load_split, load_vectors, model_settings
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 1


@task(name="recommend", **UNCACHED)
def recommend(
    config: RecommendConfig, store: StoreConfig, prepare: ArtifactRef, evaluate: ArtifactRef, force: bool = False
) -> StageResult | State[StageResult]:
    """Lists with the original ids, from one of the models that evaluate measured."""
    artifacts = ArtifactStore.open(store)
    metrics, trained = artifacts.table(evaluate, "metrics"), _trained(artifacts, evaluate)
    chosen = best_model(metrics, config.variant, list(trained))
    if "validation" not in metrics["part"].to_pylist() and len(trained) > 1:
        report.log().warning("no validation part to choose a model by: taking %s", " ".join(map(str, chosen)))
    model = trained[chosen]
    inputs = {"prepare": prepare.key, "evaluate": evaluate.key, "train": model.key}
    stage = Stage("recommend", VERSION, ("recommendations",), key_fields(config), inputs)

    def write(out: ArtifactWriter) -> None:
        split, vectors = load_split(artifacts, prepare), load_vectors(artifacts, model)
        ranking = top_k(split, *vectors, config.k, config.exclude)
        indices = (artifacts.table(prepare, name) for name in ("user_index", "item_index"))
        out.table("recommendations", _with_ids(ranking, *indices))

    result = stage.run(artifacts, write, force=force)
    _show(artifacts, result, chosen)
    return as_state(result)


def _trained(artifacts: ArtifactStore, evaluate: ArtifactRef) -> dict[ModelId, ArtifactRef]:
    """The models that evaluate measured."""
    inputs = artifacts.manifest(evaluate).content.inputs
    refs = [ArtifactRef("train", key, artifacts.url) for role, key in inputs.items() if role.startswith("train/")]
    return {model_settings(artifacts, ref).model_id: ref for ref in refs}


def _with_ids(ranking: Ranking, user_index: pa.Table, item_index: pa.Table) -> pa.Table:
    """The ranking as rows of RECOMMENDATIONS, ranks from 1; padding left out."""
    user, place = np.nonzero(ranking.items != PADDING)
    columns = [
        user_index["user_id"].take(user),
        pa.array(place + 1, pa.int32()),
        item_index["item_id"].take(ranking.items[user, place]),
        pa.array(ranking.scores[user, place]),
    ]
    return pa.table(columns, schema=RECOMMENDATIONS)


def _show(artifacts: ArtifactStore, result: StageResult, chosen: ModelId) -> None:
    rows = artifacts.dataset(result.ref, "recommendations").head(20).to_pylist()
    head = [row | {"score": round(row["score"], 4)} for row in rows]
    address = artifacts.address(result.ref, "recommendations.parquet")
    report.show_table(
        "recommendations",
        head,
        f"First lists of {' '.join(map(str, chosen))}, rank 1 is best; all are in {address}",
    )
