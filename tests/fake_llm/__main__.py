"""Serve until interrupted: a model server for trying the llm generator without a key."""

import argparse
import random
import time

from tests.fake_llm.faults import MIXED, Fault
from tests.fake_llm.limits import Limits
from tests.fake_llm.server import FakeLLM, Plan


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_llm", description=__doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--limit", type=float, help="requests a minute; what comes above is answered 429")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that go wrong, such as 0.1")
    parser.add_argument("--seed", type=int, default=0, help="which requests go wrong, and how")
    options = parser.parse_args()
    limits = Limits(options.limit) if options.limit else None
    plan = at_random(options.faults, options.seed)
    with FakeLLM(plan, latency=options.latency, port=options.port, limits=limits, record=False) as server:
        print(f"OPENAI_BASE_URL={server.url} OPENAI_API_KEY=none RLMREC_LLM_MODEL=fake", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            billed = server.billed
            print(f"{server.n_requests} requests, {billed.total()} billed, {len(billed)} different ones", flush=True)


def at_random(share: float, seed: int) -> Plan:
    """A plan by which that share of the requests goes wrong in one of many ways."""
    rng = random.Random(seed)

    def plan(n: int, body: object) -> Fault | None:
        return rng.choice(MIXED) if rng.random() < share else None

    return plan


if __name__ == "__main__":
    main()
