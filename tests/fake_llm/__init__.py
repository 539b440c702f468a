"""A server that speaks OpenAI's protocol over a real socket, with faults on demand; `python -m tests.fake_llm`."""

from tests.fake_llm.faults import Fault
from tests.fake_llm.limits import Limits
from tests.fake_llm.server import FakeLLM

__all__ = ["FakeLLM", "Fault", "Limits"]
