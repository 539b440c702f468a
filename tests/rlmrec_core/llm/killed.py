"""One run over 2,000 items, in a process that the kill test ends again and again: `killed.py URL LEDGER N [batch]`."""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.profiling.job import ProfileJob
from rlmrec_core.profiling.sources import ItemSource


def sources(n: int) -> Iterable[ItemSource]:
    return (ItemSource(i, f"Title {i}", f"What number {i} is about.", (), ()) for i in range(n))


def main(url: str, ledger: str, n: int, mode: str = "online") -> None:
    llm = LlmConfig(
        model="m", base_url=url, mode=mode, concurrency=48, timeout_seconds=20, price_in=1.0, price_out=2.0,
        batch_poll_seconds=0.05,
    )  # fmt: skip
    config = ProfileConfig(generator="llm", domain="books", llm=llm)
    job = ProfileJob(lambda: sources(n), "item", config, Path(ledger), "kill")
    status = Counter(row.status for rows in job.rows() for row in rows)
    print(json.dumps({"status": status} | job.report()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
