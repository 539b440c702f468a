"""Settings of the stage that puts reasons into the words of a language model."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field

from rlmrec_core.config.section import NOT_IN_KEY, Section
from rlmrec_core.config.text import LlmConfig


class ReasonsConfig(Section):
    """In whose words a list says why an item stands in it."""

    generator: Literal["extractive", "llm"] = Field(
        "extractive",
        description="extractive makes every sentence of its evidence by a fixed pattern and needs no key; llm asks a "
        "server for it, and keeps the extractive sentence where the answer is of no use",
    )
    # The template enters the key by its digest, wherever it lies.
    prompts_dir: Annotated[str | None, NOT_IN_KEY] = Field(
        None, description="Folder with your own reasons/sentence.toml; none takes the one shipped"
    )
    max_words: int = Field(40, ge=10, le=200, description="llm: limit of a sentence, in words")
    places: int | None = Field(
        None, ge=1, le=1000, description="llm: how many places of each list get such a sentence; none means all"
    )
    llm: LlmConfig = Field(LlmConfig(max_output_tokens=150), description="The model server (generator llm)")

    def resolved(self, environment: Mapping[str, str] = os.environ) -> Self:
        """These settings with what the environment adds, and without what this generator does not read.

        Take a stage's key from these. Raises MissingSetting as `LlmConfig.resolved`.
        """
        if self.generator == "llm":
            return self.model_copy(update={"llm": self.llm.resolved(environment)})
        return type(self)()
