"""Ask for orders in one process after another, each killed after a few answers, until one gets through.

Prints how many were killed. The arguments are the folder of the store, the keys of prepare and train, and the server.
"""

import os
import signal
import sys

from rlmrec_core.config import RerankConfig
from rlmrec_core.reranking import answers
from storage import ArtifactRef, StoreConfig
from tasks.rerank import rerank

_ANSWERS = 7


def settings(url: str) -> RerankConfig:
    llm = {"model": "m", "base_url": url, "price_in": 1.0, "price_out": 2.0, "budget_usd": 1.0, "concurrency": 3}
    return RerankConfig(n_users=9, candidates=(20, 25), llm=llm)


def die_after(n_answers: int) -> None:
    """Kill this process when it has read so many answers."""
    from rlmrec_core.reranking import asking

    left = iter(range(n_answers))

    def reading(*arguments, **options):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return answers.order_of(*arguments, **options)

    asking.order_of = reading


def main(store: StoreConfig, prepare: str, train: str, url: str) -> None:
    kills = 0
    while True:
        child = os.fork()
        if not child:
            die_after(_ANSWERS * (kills + 1))  # answers that are there already are read first
            split, model = (
                ArtifactRef(stage, key, store.url) for stage, key in (("prepare", prepare), ("train", train))
            )
            rerank.fn(settings(url), store, split, model)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(kills)
            sys.exit(os.waitstatus_to_exitcode(status))
        kills += 1


if __name__ == "__main__":
    main(StoreConfig(url=sys.argv[1]), *sys.argv[2:])
