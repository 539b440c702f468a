"""How fast the bulk client is, and how much memory it needs: `make bench-llm`.

The server runs in a process of its own, on the same machine. Prints a table for docs/benchmarks/llm.md.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from rlmrec_core.config import LlmConfig, ProfileConfig
from rlmrec_core.profiling.job import ProfileJob
from rlmrec_core.profiling.sources import ItemSource

_WORDS = ("harbour", "detective", "fog", "ferry", "garden", "mars", "greenhouse", "winter", "letter", "train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the run under a limit")
    parser.add_argument("--requests", type=int, default=6000, help="requests to the unlimited server")
    parser.add_argument("--memory", type=int, nargs="*", default=[10_000, 100_000], help="numbers of items")
    options = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "none"
    if options.seconds:
        limited(options.seconds)
    if options.requests:
        unlimited(options.requests)
    for size in options.memory:
        subprocess.run([sys.executable, "-c", f"from tests.benchmarks.llm import memory; memory({size})"], check=True)


def limited(seconds: float, per_minute: int = 3000, latency: float = 0.3) -> None:
    """A server with 300 ms latency and 3,000 requests a minute; what counts begins after 5 seconds of warm-up."""
    warm, n = 5.0, int((seconds + 5.0) * per_minute / 60 * 1.05)
    with serving("--latency", str(latency), "--limit", str(per_minute)) as url, asking(url, n, 64) as job:
        times, started, throttled = [], time.monotonic(), 0
        for rows in job.rows():
            now = time.monotonic()
            if now - started < warm:
                throttled = job.report()["faults"].get("http 429", 0)
            times += [now] * len(rows)
            if now - started > warm + seconds:
                break
        # Rows come in bundles: what the first one brought was answered before the time it is counted from.
        first = next(t for t in times if t - started >= warm)
        counted = [t for t in times if t > first]
        span = counted[-1] - first
        rate, refused = len(counted) / span * 60, job.report()["faults"].get("http 429", 0) - throttled
    print(f"limited server: {rate:,.0f} requests/min, {100 * rate / per_minute:.1f} % of the limit; "
          f"{refused} answers 429, {100 * refused / len(counted):.2f} %, over {span:.0f} s after warm-up")  # fmt: skip


def unlimited(n: int) -> None:
    """A server without limit and with 100 ms latency."""
    with serving("--latency", "0.1") as url, asking(url, n, 256) as job:
        started, cpu = time.monotonic(), time.process_time()
        rows = sum(len(batch) for batch in job.rows())
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    print(f"unlimited server: {rows / seconds:,.0f} requests/s from one process, "
          f"{1000 * cpu / rows:.2f} ms of CPU per request, {rows} requests")  # fmt: skip


def memory(n: int) -> None:
    """Peak memory of a run over n items, all answered by the server."""
    with serving() as url, asking(url, n, 64) as job:
        before = psutil.Process().memory_info().rss
        rows = sum(len(batch) for batch in job.rows())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory: {rows:,} items, {before / 2**20:.0f} MiB before, {peak:.0f} MiB at the peak")


@contextmanager
def asking(url: str, n: int, concurrency: int) -> Iterator[ProfileJob]:
    """Profiles of n made-up items, with a ledger of their own."""
    llm = LlmConfig(model="fake", base_url=url, concurrency=concurrency)
    config = ProfileConfig(generator="llm", domain="books", llm=llm)
    with tempfile.TemporaryDirectory() as folder:
        yield ProfileJob(sources(n), "item", config, Path(folder) / "ledger.sqlite", "bench")


def sources(n: int) -> Callable[[], Iterable[ItemSource]]:
    def made() -> Iterator[ItemSource]:
        for i in range(n):
            words = " ".join(_WORDS[(i + j) % len(_WORDS)] for j in range(60))
            yield ItemSource(i, f"Title {i}", f"Number {i}. {words}.", (), ())

    return made


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """The address of a fake server in a process of its own."""
    command = [sys.executable, "-m", "tests.fake_llm", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        found = re.search(r"OPENAI_BASE_URL=(\S+)", process.stdout.readline())
        assert found
        try:
            yield found[1]
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
