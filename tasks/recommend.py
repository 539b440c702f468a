"""Write the top-K list of every user."""

from typing import Any

import pyarrow.compute as pc
from prefect import State, task

from rlmrec_core.config import RecommendConfig
from rlmrec_core.config.device import settled
from rlmrec_core.config.section import key_fields
from rlmrec_core.explain import evidence
from rlmrec_core.export import write_csv
from rlmrec_core.model_id import ModelId
from rlmrec_core.models import STOPPING_METRIC
from rlmrec_core.ranking.top_k import as_table, known_pairs, top_k
from rlmrec_core.tables import REASONS
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig, StoreError
from tasks import report
from tasks.cold_start import NEW_ITEMS, lists_of_new
from tasks.evidence import meaning, reasons_batches
from tasks.metrics import best_model
from tasks.models import embed_of, load_split, load_vectors, model_settings, titles_of
from tasks.prepare import DIVIDED
from tasks.stage import UNCACHED, Stage, StageResult, as_state, result_of
from tasks.texts import TEXT_MAP, text_map

VERSION = 8


@task(name="recommend", **UNCACHED)
def recommend(
    config: RecommendConfig,
    store: StoreConfig,
    prepare: ArtifactRef,
    evaluate: ArtifactRef,
    embed: ArtifactRef | None = None,
    force: bool = False,
) -> StageResult | State[StageResult]:
    """Lists with the original ids, from one of the models that evaluate measured.

    embed: semantic vectors made of all interactions (config.profiles = rebuild), for a model that reads any.
    """
    artifacts = ArtifactStore.open(store)
    chosen, model = chosen_model(artifacts, evaluate, config.variant)
    sources = measured_models(artifacts, evaluate)
    if config.fit_on == "all":
        read = embed_of(artifacts, [model])
        if config.rebuilds and read:
            read = _rebuilt(artifacts, prepare, embed)
        model = refitted(store, prepare, model, read)
        sources = [model] if config.rebuilds and read else sources
    inputs = {"prepare": prepare.key, "evaluate": evaluate.key, "train": model.key}
    stage = Stage("recommend", VERSION, ("recommendations",), key_fields(config), inputs)

    def write(out: ArtifactWriter) -> None:
        split, vectors = load_split(artifacts, prepare), load_vectors(artifacts, model)
        ranking = top_k(split, *vectors, config.k, config.left_out, device=settled(config.device))
        user_ids = artifacts.table(prepare, "user_index")["user_id"]
        item_ids = artifacts.table(prepare, "item_index")["item_id"]
        titles = titles_of(artifacts, prepare, item_ids)
        lists = as_table(ranking, user_ids, item_ids, titles)
        out.table("recommendations", lists)
        with out.stream("recommendations.csv") as file:
            write_csv(lists, file)
        # Evidence is what the model has learnt from: a held-out interaction is shown to nobody.
        known = known_pairs(split, config.fit_on)
        found = evidence(ranking, known, vectors, **meaning(artifacts, sources))
        named = (ids.to_pylist() for ids in (user_ids, item_ids, titles))
        out.batches("reasons", REASONS, reasons_batches(found, *named))
        embedded = embed_of(artifacts, sources)
        out.table(NEW_ITEMS, lists_of_new(artifacts, prepare, embedded, split, vectors, config))
        out.table(TEXT_MAP, text_map(artifacts, embedded, split, vectors))

    result = stage.run(artifacts, write, force=force)
    _show(artifacts, result, chosen, config.fit_on)
    return as_state(result)


def chosen_model(artifacts: ArtifactStore, evaluate: ArtifactRef, variant: str) -> tuple[ModelId, ArtifactRef]:
    """The model of this variant that measured best (`best_model`), with its artifact."""
    trained = {model_settings(artifacts, ref).model_id: ref for ref in measured_models(artifacts, evaluate)}
    metrics = artifacts.table(evaluate, "metrics")
    chosen = best_model(metrics, variant, list(trained))
    if "validation" not in metrics["part"].to_pylist() and len(trained) > 1:
        report.log().warning("no validation part to choose a model by: taking %s", " ".join(map(str, chosen)))
    return chosen, trained[chosen]


def measured_models(artifacts: ArtifactStore, evaluate: ArtifactRef) -> list[ArtifactRef]:
    """The models that evaluate measured."""
    inputs = artifacts.manifest(evaluate).content.inputs
    return [ArtifactRef("train", key, artifacts.url) for role, key in inputs.items() if role.startswith("train/")]


def _rebuilt(artifacts: ArtifactStore, prepare: ArtifactRef, embed: ArtifactRef | None) -> ArtifactRef:
    """The vectors, if they were made of all interactions of this data. Raises StoreError if not."""
    if embed:
        made_of = ArtifactRef("prepare", artifacts.manifest(embed).content.inputs["prepare"], artifacts.url)
        if artifacts.manifest(made_of).content.inputs.get(DIVIDED) == prepare.key:
            return embed
    raise StoreError(
        f"no vectors made of all interactions of {prepare} are in {artifacts.url}, which recommend.profiles = rebuild "
        "needs: run the full pipeline, which makes them, or set it to keep"
    )


def refitted(store: StoreConfig, prepare: ArtifactRef, model: ArtifactRef, embed: ArtifactRef | None) -> ArtifactRef:
    """The model trained once more, on the interactions of every part, for the epochs after which it was best.

    Nothing else changes: its settings and its seed stay what they were when it was measured, and so do its semantic
    vectors `embed`, unless these are to be rebuilt; None if it reads none.
    """
    from tasks.train import train

    artifacts = ArtifactStore.open(store)
    settings, history = model_settings(artifacts, model), artifacts.table(model, "history")
    epochs = settings.fixed_epochs
    if STOPPING_METRIC in history.column_names:
        best = pc.index(history[STOPPING_METRIC], pc.max(history[STOPPING_METRIC])).as_py()
        epochs = history["epoch"][best].as_py() + 1
    settings = settings.model_copy(update={"fit_on": "all", "fixed_epochs": epochs})
    report.log().info("training %s once more, on all interactions, for %d epochs", settings.model_id.label, epochs)
    return result_of(train.fn(settings, store, prepare, embed)).ref


def titled_lists(artifacts: ArtifactStore, recommend: ArtifactRef, n_users: int = 3, k: int = 5) -> str:
    """The beginnings of the first lists, as markdown."""
    rows = artifacts.dataset(recommend, "recommendations").head(1000 * n_users).to_pylist()
    users = list(dict.fromkeys(row["user_id"] for row in rows))[:n_users]
    shown = [_shown(row) for row in rows if row["user_id"] in users and row["rank"] <= k]
    texts = ("user_id", "item_id", "title")
    return report.markdown_table([row | {name: report.as_text(row[name]) for name in texts} for row in shown])


def _show(artifacts: ArtifactStore, result: StageResult, chosen: ModelId, fit_on: str) -> None:
    rows = artifacts.dataset(result.ref, "recommendations").head(20).to_pylist()
    address = artifacts.address(result.ref, "recommendations.parquet")
    learnt = "; it was measured on train, and has learnt from all interactions for these lists"
    report.show_table(
        "recommendations",
        [_shown(row) for row in rows],
        f"First lists of {chosen.label}, seed {chosen.seed}; rank 1 is best{learnt if fit_on == 'all' else ''}; "
        f"all are in {address}",
    )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"title": row["title"] or "", "score": round(row["score"], 4)}
