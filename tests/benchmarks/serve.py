"""Load on the service: requests per second and how long they take, beside the same products by Faiss.

Usage: python -m tests.benchmarks.serve [--users N --items N --size d --seconds s --callers n]
       python -m tests.benchmarks.serve --switch [--seconds s --callers n]

The service is a process of its own with one thread for arithmetic, the callers another process. Vectors are random:
what they are makes no difference to the work. With --switch two runs of the sample are put to use in turn under the
load, by a process that is killed every few seconds wherever it is.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from itertools import count
from typing import Any

import aiohttp
import numpy as np
import psutil

from flows.services import free_port
from rlmrec_core.config import RecommendConfig
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.recommender import Recommender
from rlmrec_core.split import Edges
from rlmrec_core.vectors import Vectors
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import promotion
from tasks.results import Results
from tasks.served import Served
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny

PER_USER = 20


def made_up(n_users: int, n_items: int, size: int) -> Results:
    """Results of these sizes."""
    rng = np.random.default_rng(1)
    vectors = Vectors(*(rng.normal(size=(n, size)).astype(np.float32) for n in (n_users, n_items)))
    user = np.repeat(np.arange(n_users, dtype=np.int32), PER_USER)
    known = Edges(user, rng.integers(0, n_items, len(user)).astype(np.int32))
    users, items = ([str(number) for number in range(n)] for n in (n_users, n_items))
    lists = ArtifactRef("recommend", "0" * 64, "nowhere")
    return Results(
        *("made-up", lists, lists, RecommendConfig(), ModelId("lightgcn", "base", 1), "2026-01-01T00:00:00+00:00"),
        *(users, items, [f"Title of item {item}" for item in items], vectors, Recommender(vectors, known)),
    )


def two_runs(store: StoreConfig) -> list[dict[str, Any]]:
    """What last-run.json would say of two runs of the sample in this store."""
    runs = []
    for seed in (1, 2):
        done = run_by_hand(tiny(train={"variants": ["base"], "seeds": [seed]}), store)
        stages = [{"stage": stage, "key": one.ref.key} for stage, made in done.items() for one in made]
        runs.append({"stages": stages, "recommendations": f"seed {seed}", "gates": [], "config": {}})
    return runs


def promote_in_turn(store: StoreConfig) -> None:
    """Put one run to use and then the other, until the process is killed."""
    artifacts, runs = ArtifactStore.open(store), two_runs(store)
    for number in count():
        promotion.promote(artifacts, "shop", runs[number % 2], "under load")
        if not number:
            print("begun", flush=True)


def switch(arguments: argparse.Namespace) -> None:
    """Load a service while what it serves changes, and whoever changes it is killed; print what became of it."""
    artifacts = ArtifactStore(arguments.store)
    promotion.promote(artifacts, "shop", two_runs(StoreConfig(url=arguments.store))[0], "before the load")
    arguments.users = Results.open(artifacts, "shop").user_ids
    stop, killed = threading.Event(), list[int]()

    def promote_and_kill() -> None:
        chance = np.random.default_rng(4)
        while not stop.is_set():
            promoter = start(arguments, "--promote")
            assert promoter.stdout and promoter.stdout.readline() == b"begun\n"
            time.sleep(chance.uniform(0, 2))
            promoter.kill()
            promoter.wait()
            killed.append(promotion.current(artifacts, "shop")["number"])

    service, promoting = start(arguments), threading.Thread(target=promote_and_kill)
    try:
        asyncio.run(load(arguments, 0.5))
        promoting.start()
        taken = np.sort(asyncio.run(load(arguments, arguments.seconds)))
        with urllib.request.urlopen(f"http://127.0.0.1:{arguments.port}/metrics") as response:
            switches = next(
                line for line in response.read().decode().splitlines() if line.startswith("rlmrec_switches")
            )
    finally:
        stop.set()
        promoting.join()
        service.terminate()
        service.wait()
    print(f"{len(taken):,} requests, every one answered 200, p99 {1e3 * np.quantile(taken, 0.99):.2f} ms; {switches}")
    print(f"the process that promotes was killed {len(killed)} times, after promotions {killed}")


class _Fixed:
    """Results that are never exchanged."""

    switches = 0

    def __init__(self, results: Results) -> None:
        self.results = results

    async def follow(self) -> None:
        await asyncio.Event().wait()


def serve(arguments: argparse.Namespace) -> None:
    """The service's process."""
    import uvicorn

    from flows.serve import create_app

    if arguments.store:
        served: Any = Served(ArtifactStore(arguments.store), "shop", every=0.05)
    else:
        served = _Fixed(made_up(arguments.users, arguments.items, arguments.size))
    uvicorn.run(create_app(served), port=arguments.port, log_level="error", access_log=False)


def start(arguments: argparse.Namespace, *more: str) -> "subprocess.Popen[bytes]":
    """This file as a process of its own."""
    names = ("items", "size", "port", "store") if arguments.store else ("users", "items", "size", "port")
    chosen = [part for name in names for part in (f"--{name}", str(getattr(arguments, name)))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    output = subprocess.PIPE if more else None
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.serve", *chosen, *more], env=environment, stdout=output
    )


async def load(arguments: argparse.Namespace, seconds: float) -> list[float]:
    """Seconds that each request took."""
    rng, taken = np.random.default_rng(2), list[float]()
    users = arguments.users if arguments.store else range(arguments.users)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{arguments.port}") as session:
        for _ in range(600):
            try:
                await (await session.get("/health")).read()
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        stop = time.perf_counter() + seconds

        async def call() -> None:
            while (begun := time.perf_counter()) < stop:
                async with session.get(f"/users/{users[rng.integers(len(users))]}") as response:
                    assert response.status == 200
                    await response.read()
                taken.append(time.perf_counter() - begun)

        await asyncio.gather(*(call() for _ in range(arguments.callers)))
    return taken


def beside(arguments: argparse.Namespace) -> str:
    """Milliseconds of one list alone, ours and by an exact index of Faiss, which leaves nothing out."""
    results = made_up(arguments.users, arguments.items, arguments.size)
    users = np.random.default_rng(3).integers(arguments.users, size=50)
    begun = time.perf_counter()
    for user in users:
        results.recommender.for_user(int(user), 20)
    ours = (time.perf_counter() - begun) / len(users)
    try:
        import faiss
    except ImportError:
        return f"{ours * 1e3:.2f} ms; faiss-cpu is not installed"
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(arguments.size)
    index.add(results.vectors.items)
    begun = time.perf_counter()
    for user in users:
        index.search(results.vectors.users[user : user + 1], 20 + PER_USER)
    theirs = (time.perf_counter() - begun) / len(users)
    return f"{ours * 1e3:.2f} ms ours, {theirs * 1e3:.2f} ms Faiss (exact, {20 + PER_USER} of which known ones go)"


def main() -> None:
    """Start the service, load it, and print a line of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("users", 11_000), ("items", 9_332), ("size", 32), ("callers", 4), ("port", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--store", default="")
    for name in ("switch", "promote"):
        parser.add_argument(f"--{name}", action="store_true")
    arguments = parser.parse_args()
    if arguments.promote:
        return promote_in_turn(StoreConfig(url=arguments.store))
    if arguments.port:
        return serve(arguments)
    arguments.port = free_port(8000)
    if arguments.switch:
        with tempfile.TemporaryDirectory() as arguments.store:
            return switch(arguments)
    service = start(arguments)
    try:
        asyncio.run(load(arguments, 1.0))
        before = psutil.Process(service.pid).cpu_times()
        taken = np.sort(asyncio.run(load(arguments, arguments.seconds)))
        after = psutil.Process(service.pid).cpu_times()
    finally:
        service.terminate()
        service.wait()
    p50, p99 = (1e3 * np.quantile(taken, share) for share in (0.5, 0.99))
    busy = 1e3 * (sum(after[:2]) - sum(before[:2])) / len(taken)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")
    print(f"{arguments.users:,} users, {arguments.items:,} items, d = {arguments.size}, {arguments.callers} callers:")
    rate = len(taken) / arguments.seconds
    print(f"{rate:,.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {busy:.2f} ms of CPU for each")
    print(f"one list alone: {beside(arguments)}")


if __name__ == "__main__":
    main()
