"""Run the tiny pipeline in one process after another, each killed when it has written the files of a stage.

The first process dies in the first stage; each later one finishes what its predecessor died in and dies in the next
stage, until one gets through. Prints the stages in which they died. The argument is the folder of the store.
"""

import os
import signal
import sys
from contextlib import contextmanager

from storage import ArtifactStore, StoreConfig
from tests.tasks.by_hand import run_by_hand, tiny

_write = ArtifactStore.writer


def die_after(n_stages: int) -> None:
    """Kill this process when it has written the files of one stage more, before they are published."""
    left = n_stages

    @contextmanager
    def writer(self, stage, key, **parts):
        nonlocal left
        with _write(self, stage, key, **parts) as out:
            yield out
            if not left:
                print(stage, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    ArtifactStore.writer = writer


def main(store: StoreConfig) -> None:
    finishes = 0
    while True:
        child = os.fork()
        if not child:
            die_after(finishes)
            run_by_hand(tiny(), store)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        finishes = 1


if __name__ == "__main__":
    main(StoreConfig(url=sys.argv[1]))
