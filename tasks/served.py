"""The results that a service answers from, exchanged for newer ones as soon as a run has made them."""

import asyncio
import logging

from storage import ArtifactStore
from tasks import datasets
from tasks.results import Results

_log = logging.getLogger(__name__)


class Served:
    """Results in memory. Whoever holds `results` for a request keeps the same ones until it is answered."""

    def __init__(self, artifacts: ArtifactStore, name: str | None = None, every: float = 5.0) -> None:
        """name: data set, None for the only one in the store; every: seconds between two looks for newer results.

        Raises StoreError if there are no results yet, and tasks.datasets.UnknownDataSet if None could mean several.
        """
        self._artifacts, self._every = artifacts, every
        self._name = datasets.chosen(artifacts, name)
        self.results = Results.open(artifacts, self._name).ready()
        self.switches = 0

    async def follow(self) -> None:
        """Look for newer results for ever. What cannot be read is told in the log, and the present ones stay."""
        while True:
            await asyncio.sleep(self._every)
            try:
                if await asyncio.to_thread(self.renew):
                    _log.info("serving the results of %s", self.results.written)
            except Exception:
                _log.exception("newer results cannot be read: still serving those of %s", self.results.written)

    def renew(self) -> bool:
        """Take newer results if there are any."""
        if self.results.lists.key in Results.newest(self._artifacts, self._name)["recommend"]:
            return False
        self.results = Results.open(self._artifacts, self._name).ready()
        self.switches += 1
        return True
