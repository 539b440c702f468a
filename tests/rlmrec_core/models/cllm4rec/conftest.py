"""A small world with texts, and trunks of a few thousand weights."""

import pytest
import torch

from rlmrec_core.models.cllm4rec import Texts
from rlmrec_core.models.cllm4rec.documents import Documents
from rlmrec_core.models.cllm4rec.embedded import embedded_trunk
from rlmrec_core.models.cllm4rec.model import CLLM4Rec
from rlmrec_core.models.cllm4rec.settings import CLLM4RecRun

TINY = {"width": 16, "n_heads": 2, "n_layers": 2, "batch_size": 16, "trunk_epochs": 1, "max_text_tokens": 24}
TINY |= {"seed": 2023, "fixed_epochs": 100, "validate_every": 1, "patience": 10, "device": "cpu", "threads": 1}


@pytest.fixture(scope="session")
def texts():
    """Texts of the checkerboard's colours; one user and one item have none."""
    users = [f"A reader of {('black', 'white')[user % 2]} books, number {user}." for user in range(40)]
    items = [f"A {('black', 'white')[item % 2]} book about chess." for item in range(60)]
    return Texts(
        [None, *users[1:]], [*items[:-1], None], [(3, 5, "Black and gripping."), (4, 6, "White, a little dull.")]
    )


@pytest.fixture
def build(checkerboard, texts):
    """A model on the checkerboard under these settings, in float64 and without dropout unless they say otherwise."""

    def build(trunk=None, dtype=torch.float64, **changes):
        settings = CLLM4RecRun(**(TINY | {"trunk": "random", "initial": "normal"} | changes))
        trunk = trunk or embedded_trunk(settings, texts)
        trunk.requires_grad_(False)
        most = min(trunk.max_positions or 1024, 1024)
        documents = Documents(
            checkerboard, texts, trunk.tokenizer, max_positions=most, max_text_tokens=settings.max_text_tokens
        )
        return CLLM4Rec(settings, trunk, documents).to(dtype)

    return build
