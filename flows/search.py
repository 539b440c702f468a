"""The search for hyper-parameters as a flow."""

from prefect import State, flow

from flows.engine import run_tasks
from flows.full_pipeline import end_stages, gated, run_stages
from rlmrec_core.config import PipelineConfig, SearchConfig
from storage import ArtifactStore, StoreConfig
from tasks.datasets import chosen
from tasks.gates import Gates
from tasks.last_run import last_config
from tasks.stages import for_this_data


@flow(name="search", persist_result=False, on_crashed=[end_stages])
def search(
    config: PipelineConfig | None = None,
    store: StoreConfig = StoreConfig(),
    search: SearchConfig | None = None,
    name: str | None = None,
) -> State[None]:
    """Look for better settings of every backbone and variant of the section train, on validation alone.

    The stages before are run as in the full pipeline. Every trial is found that was trained before; nothing that is in
    use changes. The artifact holds the trials, a page and best.toml, with which the full pipeline is run next.

    Args:
        config: Settings of every stage; none takes those that the data set's lists in use were made with.
        store: Where artifacts are kept.
        search: What is searched, and for how long; none takes the section search of the settings.
        name: Data set to search on, where `config` is none; none takes the only one in the store, the sample aside.
    """
    artifacts = ArtifactStore.open(store)
    wanted = config or last_config(artifacts, chosen(artifacts, name))
    if search:
        wanted = wanted.model_copy(update={"search": search})

    def work(settings: PipelineConfig, gates: Gates) -> None:
        from tasks.search import search as search_models  # loads torch, which takes seconds
        from tasks.trial import trial

        done = run_stages(settings, store, last="embed", gates=gates)
        prepare, embed = done["prepare"][0].ref, done["embed"][0].ref if "embed" in done else None
        search_models(
            for_this_data(settings, store, done), store, prepare, embed,
            lambda calls: run_tasks(settings.engine, trial, calls),
        )  # fmt: skip

    return gated(wanted, store, work)
