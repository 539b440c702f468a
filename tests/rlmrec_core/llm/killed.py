"""One run over n items, in a process that tests end again and again."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.profiling.job import ProfileJob
from rlmrec_core.profiling.sources import ItemSource


def sources(n: int) -> Iterable[ItemSource]:
    return (ItemSource(i, f"Title {i}", f"What number {i} is about.", (), ()) for i in range(n))


def main(
    url: str, ledger: Path, n: int, mode: str, report: Path, step: int = 1, together: Barrier | None = None
) -> None:
    """Run, and write what became of it into a file.

    step: -1 asks about the items backwards. together: is waited at before the first request.
    """
    os.environ["OPENAI_API_KEY"] = "sk-test"
    llm = LlmConfig(
        model="m", base_url=url, mode=mode, concurrency=48, timeout_seconds=20, price_in=1.0, price_out=2.0,
        batch_poll_seconds=0.05,
    )  # fmt: skip
    config = ProfileConfig(generator="llm", domain="books", llm=llm)

    def ordered() -> Iterable[ItemSource]:
        if together:
            together.wait(60)
        return list(sources(n))[::step]

    job = ProfileJob(ordered, "item", config, ledger, "kill")
    status = Counter(row.status for rows in job.rows() for row in rows)
    report.write_text(json.dumps({"status": status} | job.report()))
