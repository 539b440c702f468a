"""Settings of the stage that has a language model order a model's candidates."""

import os
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field

from rlmrec_core.config.section import NOT_IN_KEY, Section
from rlmrec_core.config.text import LlmConfig

PLACES = 20
"""How many items a language model is asked to put in order."""


class RerankConfig(Section):
    """Which candidates of which users a language model puts in order (RLMRec, figure 1)."""

    candidates: tuple[Annotated[int, Field(ge=PLACES, le=500)], ...] = Field(
        (30, 35, 40, 45, 50),
        min_length=1,
        description="How many of the model's best items are shown; every user is asked about once with each number",
    )
    n_users: int = Field(
        200, ge=1, description="How many of the users with a held-out item are asked about, drawn by the seed"
    )
    max_history: int = Field(
        40, ge=1, le=500, description="How many titles of a user's train items are shown, drawn by the seed"
    )
    seed: int = Field(2023, ge=0, description="Seed of these draws")
    shuffle: bool = Field(
        False, description="Control: show the candidates in an order drawn by the seed, not best first"
    )
    max_words: int = Field(60, ge=10, le=500, description="Limit of the reasoning that is asked for, in words")
    max_prompt_tokens: int = Field(
        6000, ge=500, le=200_000, description="Limit of one prompt, in tokens; the history is shortened first"
    )
    # The template enters the key by its digest, wherever it lies.
    prompts_dir: Annotated[str | None, NOT_IN_KEY] = Field(
        None, description="Folder with your own rerank/order.toml; none takes the one shipped"
    )
    llm: LlmConfig = Field(
        LlmConfig(max_output_tokens=500), description="The model server; nothing is asked without llm.budget_usd"
    )

    def resolved(self, environment: Mapping[str, str] = os.environ) -> Self:
        """These settings with model and address from the environment where they are left open.

        Take the stage's key from these. Raises MissingSetting as `LlmConfig.resolved`.
        """
        return self.model_copy(update={"llm": self.llm.resolved(environment)})
