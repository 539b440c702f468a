"""Turn profiles into semantic vectors."""

from prefect import State, task

from rlmrec_core import embedding
from rlmrec_core.config import EmbedConfig
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.corpus import train_corpus
from tasks.profiles import account_of, show_costs
from tasks.stage import UNCACHED, Stage, StageResult, as_state, relevant

VERSION = 2


@task(name="embed", **UNCACHED)
def embed(
    config: EmbedConfig,
    store: StoreConfig,
    ingest: ArtifactRef,
    prepare: ArtifactRef,
    item_profiles: ArtifactRef,
    user_profiles: ArtifactRef,
    force: bool = False,
) -> StageResult | State[StageResult]:
    """One vector for every item and every user."""
    artifacts, config = ArtifactStore.open(store), config.resolved()
    refs = {"ingest": ingest, "prepare": prepare, "item_profiles": item_profiles, "user_profiles": user_profiles}
    inputs = {name: ref.key for name, ref in refs.items()}
    stage = Stage("embed", VERSION, ("items", "users"), relevant(config), inputs)

    def write(out: ArtifactWriter) -> None:
        result = embedding.embed(
            train_corpus(artifacts, ingest, prepare),
            artifacts.table(item_profiles, "profiles"),
            artifacts.table(user_profiles, "profiles"),
            config,
            ledger=artifacts.ledger_path,
            progress=report.Progress("embed-progress", "embedded texts"),
            account=account_of(stage.name, stage.key),
        )
        out.table("items", result.items)
        out.table("users", result.users)
        out.unfinished = result.unfinished
        show_costs(stage.name, result.report)

    return as_state(stage.run(artifacts, write, force=force))
