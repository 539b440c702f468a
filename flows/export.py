"""Lists and vectors for other systems: as a flow."""

from prefect import flow

from rlmrec_core.config.export import ExportConfig
from storage import ArtifactStore, StoreConfig
from tasks import report
from tasks.datasets import chosen


@flow(name="export", persist_result=False)
def export(
    config: ExportConfig = ExportConfig(), store: StoreConfig = StoreConfig(), name: str | None = None
) -> dict[str, str]:
    """Export the lists and vectors of a data set's last run, with the original ids.

    Args:
        config: Where to, and in which form.
        store: Where artifacts are kept.
        name: Data set to export; none takes the only one in the store, the sample aside.
    """
    from tasks.export import export as export_task

    with report.about(chosen(ArtifactStore.open(store), name)):
        return export_task(config, store, name)
