"""Settings of CLLM4Rec."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlmrec_core.config.device import NamedDevice
from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section

TrunkName = Literal["own", "minilm", "random"]
Ablation = Literal["none", "no_content", "fixed_order", "no_mutual", "finetune_only", "train_everything"]


class CLLM4RecSettings(Section):
    """CLLM4Rec (Zhu et al., WWW 2024): a frozen language model with tokens of users and items."""

    model: str | None = Field(
        None,
        description="Causal language model of transformers: a local folder, or a hub name, which is downloaded. "
        "None takes the embedded trunk",
    )
    trunk: TrunkName = Field(
        "own",
        description="Embedded trunk: own takes the mean of what was read, minilm is pretrained, random is a control",
    )
    width: int = Field(64, ge=8, le=1024, description="Embedded trunk: width d of its vectors (minilm has its own)")
    n_layers: int = Field(1, ge=1, le=12, description="Embedded trunk: number of blocks")
    n_heads: int = Field(4, ge=1, le=16, description="Embedded trunk: attention heads")
    trunk_epochs: int = Field(0, ge=0, le=50, description="Embedded trunk: epochs of learning to write, own and minilm")
    initial: Literal["normal", "semantic"] = Field(
        "semantic",
        description="Vectors of users and items start random, or from a linear map of their semantic vectors",
    )
    initial_std: float = Field(0.1, gt=0, le=1, description="Standard deviation of the vectors at the start")
    ablation: Ablation = Field("none", description="One part of the method left out, to see what it is worth")
    protocol: Literal["paper", "code"] = Field(
        "paper", description="paper: the method as published; code: where its authors' code differs, as the code"
    )
    warmup_epochs: int = Field(1, ge=0, le=100, description="Epochs on texts alone before anything else")
    pretrain_epochs: int = Field(25, ge=0, le=1000, description="Epochs that alternate interactions and texts")
    finetune_epochs: int = Field(150, ge=1, le=3000, description="Upper bound of the epochs that learn to recommend")
    content_every: int = Field(25, ge=1, le=1000, description="Epochs between two on texts; the paper has 1")
    learning_rate: Annotated[float, SearchRange(3e-4, 1e-2, log=True)] = Field(
        1e-3, gt=0, le=1, description="Step size of Adam before fine-tuning"
    )
    finetune_learning_rate: Annotated[float, SearchRange(5e-5, 5e-3, log=True)] = Field(
        2e-4, gt=0, le=1, description="Step size of Adam in fine-tuning"
    )
    batch_size: int = Field(64, ge=1, description="Documents per step")
    batch_tokens: int = Field(4096, ge=64, description="Tokens in one pass; only memory depends on it")
    mutual_weight: Annotated[float, SearchRange(0.03, 3.0, log=True)] = Field(
        0.3, ge=0, description="lambda_c: weight of a user's or item's distance from its other side, per occurrence"
    )
    user_weight: float = Field(
        100.0, ge=0, description="How many times an item's occurrence that of a user weighs in both; the paper has 1"
    )
    prior_weight: float = Field(0.0, ge=0, description="lambda_l: weight of a vector's square, per occurrence")
    holdout_ratio: Annotated[float, SearchRange(0.2, 0.8)] = Field(
        0.5, gt=0, lt=1, description="Share of a history that is held out and predicted; the paper has 0.2"
    )
    dropout: Annotated[float, SearchRange(0.0, 0.3)] = Field(
        0.0, ge=0, lt=1, description="Dropout in the trunk while training; the paper has 0.1"
    )
    max_text_tokens: int = Field(64, ge=1, le=4096, description="Where a text is cut, in tokens")
    bf16: bool = Field(False, description="Trunk and heads in bfloat16; vectors and sums stay float32")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.n_heads:
            raise ValueError(f"width {self.width} is no multiple of n_heads {self.n_heads}")
        return self


class CLLM4RecRun(CLLM4RecSettings):
    """The settings of one run: the model's own, and what it reads of `RunSettings`, which describes and bounds it."""

    seed: int
    fixed_epochs: int
    validate_every: int
    patience: int
    device: NamedDevice
    threads: int


def folder_digest(model: str | None) -> str | None:
    """sha256 over the settings, the tokenizer and the weights in a model's folder; None for anything but a folder."""
    folder = Path(model).expanduser() if model else None
    if folder is None or not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.txt"), *folder.glob("*.safetensors")]):
        with file.open("rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
