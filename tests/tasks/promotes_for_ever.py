"""Put two runs to use in turn, for ever; the argument is the address of the store. Says a word after the first."""

import sys
from itertools import count

from storage import ArtifactStore
from tasks.promotion import promote


def run(letter: str) -> dict:
    """What last-run.json says of a run with these keys."""
    filler = {"filler": letter * 200_000}  # long enough to be met half written, if that could be
    stages = [{"stage": "recommend", "key": letter * 64}]
    return {"stages": stages, "recommendations": f"{letter}.parquet", "gates": [], "config": filler}


if __name__ == "__main__":
    artifacts = ArtifactStore(sys.argv[1])
    for number in count():
        promote(artifacts, "shop", run("ab"[number % 2]), "passed the gates")
        if number == 1:
            print("two promotions", flush=True)
