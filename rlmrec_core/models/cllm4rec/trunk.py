"""The language model under CLLM4Rec: a frozen causal trunk that reads vectors and gives hidden states."""

import hashlib
import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import gelu, layer_norm
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedModel

from rlmrec_core.models.cllm4rec.packing import Pack, attention_mask, packed_attention
from rlmrec_core.models.cllm4rec.tokens import TextTokenizer


class UnusableTrunk(ValueError):
    """A language model that cannot be the trunk: says which, why, and the way out."""


class Trunk(nn.Module, ABC):
    """A causal language model between two tables of vectors.

    width: d; max_positions: the longest document, None where there is no limit; name: for people; digest: of what was
    loaded.
    """

    model: Any
    width: int
    max_positions: int | None
    tokenizer: TextTokenizer
    name: str
    digest: str = ""

    @property
    @abstractmethod
    def words(self) -> Tensor:
        """(N, d) word vectors of the input."""

    @property
    @abstractmethod
    def head(self) -> Tensor:
        """(N, d) of the vocabulary head; often the word vectors."""

    @abstractmethod
    def forward(self, inputs: Tensor, pack: Pack, dropout: float) -> Tensor:
        """Last hidden states (n, d) of the pack's n predicting rows, from its T input vectors (T, d)."""


class Gpt2Trunk(Trunk):
    """A GPT-2 of any size, over the modules of transformers (Radford et al., 2019).

    Linear layers, norms and the last block's own output are those of every token once; attention stays within each
    document; the last block makes queries, its MLP and its norm for predicting rows alone.
    """

    def __init__(self, model: GPT2LMHeadModel, tokenizer: TextTokenizer, name: str) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name = model.transformer.eval(), tokenizer, name
        config = model.config
        self.output = None if config.tie_word_embeddings else model.lm_head
        if config.activation_function not in ("gelu_new", "gelu_pytorch_tanh", "gelu"):
            raise UnusableTrunk(f"{name}: activation {config.activation_function!r} is not one of GPT-2's")
        self.width, self.n_heads, self.max_positions = config.n_embd, config.n_head, config.n_positions
        self._epsilon = config.layer_norm_epsilon
        self._gelu = "none" if config.activation_function == "gelu" else "tanh"

    @property
    def words(self) -> Tensor:
        table: Tensor = self.model.wte.weight
        return table

    @property
    def head(self) -> Tensor:
        table: Tensor = self.model.wte.weight if self.output is None else self.output.weight
        return table

    def forward(self, inputs: Tensor, pack: Pack, dropout: float) -> Tensor:
        states = drop(inputs + self.model.wpe.weight[pack.positions], dropout)
        *blocks, last = self.model.h
        for block in blocks:
            states = self._block(block, states, pack, None, dropout)
        states = self._block(last, states, pack, pack.rows, dropout)
        return self._norm(self.model.ln_f, states)

    def _block(self, block: Any, states: Tensor, pack: Pack, rows: Tensor | None, dropout: float) -> Tensor:
        attended = self._norm(block.ln_1, states)
        query, key, value = _affine(block.attn.c_attn, attended).split(self.width, -1)
        attended = packed_attention(query, key, value, pack, self.n_heads, dropout)
        if rows is not None:
            attended, states = attended[rows], states[rows]
        states = states + drop(_affine(block.attn.c_proj, attended), dropout)
        inner = gelu(_affine(block.mlp.c_fc, self._norm(block.ln_2, states)), approximate=self._gelu)
        output: Tensor = states + drop(_affine(block.mlp.c_proj, inner), dropout)
        return output

    def _norm(self, norm: Any, states: Tensor) -> Tensor:
        return layer_norm(states, (self.width,), norm.weight, norm.bias, self._epsilon)


def _affine(layer: Any, states: Tensor) -> Tensor:
    """GPT-2 keeps its weights (in, out)."""
    return torch.addmm(layer.bias, states, layer.weight)


class AnyTrunk(Trunk):
    """Any other causal language model of transformers that takes `inputs_embeds`, under a block-diagonal mask."""

    def __init__(self, model: PreTrainedModel, tokenizer: TextTokenizer, name: str) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name = model.base_model.eval(), tokenizer, name
        if "inputs_embeds" not in inspect.signature(self.model.forward).parameters:
            raise UnusableTrunk(f"{name}: {type(model).__name__} takes no inputs_embeds; choose a decoder that does")
        words: Any = model.get_input_embeddings()
        output: Any = model.get_output_embeddings()
        if output is None or output.weight.shape[1] != words.weight.shape[1]:
            raise UnusableTrunk(f"{name}: {type(model).__name__} has no vocabulary head as wide as its word vectors")
        # Only what the trunk does not hold already: a table under two names could not be written.
        self.output = None if output.weight is words.weight else output
        self.width = words.weight.shape[1]
        self.max_positions = getattr(model.config, "max_position_embeddings", None)

    @property
    def words(self) -> Tensor:
        table: Tensor = self.model.get_input_embeddings().weight
        return table

    @property
    def head(self) -> Tensor:
        return self.words if self.output is None else self.output.weight

    def forward(self, inputs: Tensor, pack: Pack, dropout: float) -> Tensor:
        states: Tensor = self.model(
            inputs_embeds=drop(inputs, dropout)[None],
            attention_mask=attention_mask(pack, inputs.dtype),
            position_ids=pack.positions[None],
            use_cache=False,
        ).last_hidden_state
        return states[0, pack.rows]


def load_trunk(model: str) -> Trunk:
    """The trunk that a local folder or a name on the hub holds; only a hub name uses the network.

    Weights are read from safetensors, and code that comes with a model is never run. Raises UnusableTrunk.
    """
    folder = Path(model).expanduser()
    local = folder.is_dir()
    if not local and (model.startswith((".", "/", "~")) or (model.count("/") != 1 and "/" in model)):
        raise UnusableTrunk(f"no folder {folder}: name a folder with config.json and *.safetensors, or a hub name")
    if local:
        _check_folder(folder)
    where: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    source = str(folder) if local else model
    try:
        config = AutoConfig.from_pretrained(source, **where)
        loaded: Any = AutoModelForCausalLM.from_pretrained(source, config=config, use_safetensors=True, **where)
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, **where)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UnusableTrunk(f"{model}: {error}") from error
    if not tokenizer.is_fast:
        raise UnusableTrunk(f"{model}: its tokenizer has no tokenizer.json; save it with a fast tokenizer")
    text = TextTokenizer(tokenizer, loaded.get_input_embeddings().weight.shape[0])
    plain = isinstance(loaded, GPT2LMHeadModel) and config.scale_attn_weights
    kind = Gpt2Trunk if plain and not config.scale_attn_by_inverse_layer_idx else AnyTrunk
    trunk: Trunk = kind(loaded.float(), text, model)
    trunk.digest = digest_of(trunk)
    return trunk


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UnusableTrunk(f"{folder}: no config.json; save a model there with save_pretrained()")
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(one.name for one in folder.iterdir() if one.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        found = f"only pickled weights ({', '.join(pickled)}), which run code when read" if pickled else "no weights"
        raise UnusableTrunk(
            f"{folder}: {found}; load it once where you trust it and save_pretrained() it as safetensors"
        )


def digest_of(trunk: Trunk) -> str:
    """sha256 over a trunk's weights, by name, type, shape and value."""
    digest = hashlib.sha256()
    for name, tensor in sorted(trunk.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
