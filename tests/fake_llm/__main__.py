"""Serve until interrupted: a model server for trying the llm generator without a key."""

import argparse
import time

from tests.fake_llm.server import FakeLLM


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_llm", description=__doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    with FakeLLM(latency=options.latency, port=options.port) as server:
        print(f"OPENAI_BASE_URL={server.url} OPENAI_API_KEY=none RLMREC_LLM_MODEL=fake", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
