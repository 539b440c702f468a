"""Which lists of a data set are in use, changed from the UI."""

from prefect import flow

from storage import ArtifactStore, StoreConfig
from tasks import promotion, report
from tasks.datasets import chosen


@flow(name="promote", persist_result=False)
def promote(store: StoreConfig = StoreConfig(), name: str | None = None) -> None:
    """Put the last run's lists to use though a gate stopped them, or gates.promote is off.

    Args:
        store: Where artifacts are kept.
        name: Data set; none takes the only one in the store, the sample aside.
    """
    artifacts = ArtifactStore.open(store)
    name = chosen(artifacts, name)
    with report.about(name):
        report.log().info("%s", promotion.in_words(name, promotion.promote_last(artifacts, name)))


@flow(name="rollback", persist_result=False)
def rollback(store: StoreConfig = StoreConfig(), name: str | None = None, number: int | None = None) -> None:
    """Put an earlier promotion's lists to use again; every byte of theirs is checked first.

    Args:
        store: Where artifacts are kept.
        name: Data set; none takes the only one in the store, the sample aside.
        number: Of the promotion; none takes the one before.
    """
    artifacts = ArtifactStore.open(store)
    name = chosen(artifacts, name)
    with report.about(name):
        report.log().info("%s", promotion.in_words(name, promotion.rollback(artifacts, name, number)))
