"""A search or an experiment in one process after another, each killed after a few epochs, until one gets through.

Prints how many were killed. The arguments are the folder of the store, and the name of a recipe for an experiment.
"""

import os
import signal
import sys

from storage import StoreConfig
from tasks import train
from tasks.experiment import experiment_by_hand
from tasks.search import search_by_hand
from tests.tasks.experiments import small
from tests.tasks.searches import settings

_EPOCHS = 7


def die_after(n_epochs: int) -> None:
    """Kill this process after so many epochs of whatever models it trains."""
    tell, left = train.Narrator.__call__, iter(range(n_epochs))

    def telling(self: train.Narrator, record: train.EpochRecord) -> None:
        tell(self, record)
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    train.Narrator.__call__ = telling  # type: ignore[method-assign]


def work(store: StoreConfig, recipe: str | None) -> None:
    if recipe:
        experiment_by_hand(recipe, small(), store, 1)  # type: ignore[arg-type]
    else:
        search_by_hand(settings(), store)


def main(store: StoreConfig, recipe: str | None) -> None:
    kills = 0
    while True:
        # A fork of a process that has computed nothing yet: threads of a parent are not in its child.
        child = os.fork()
        if not child:
            die_after(_EPOCHS)
            work(store, recipe)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(kills)
            sys.exit(os.waitstatus_to_exitcode(status))
        kills += 1


if __name__ == "__main__":
    main(StoreConfig(url=sys.argv[1]), *(sys.argv[2:] or [None]))
