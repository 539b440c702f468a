import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from rlmrec_core.models.cllm4rec.embedded import embedded_trunk, train_tokenizer
from rlmrec_core.models.cllm4rec.packing import pack
from rlmrec_core.models.cllm4rec.trunk import Gpt2Trunk, UnusableTrunk, digest_of, load_trunk


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small GPT-2 with its tokenizer, as transformers saves it."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(train_tokenizer(["some words"])))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_layer=1, n_embd=16, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_saved_model_is_loaded_from_its_folder(saved):
    trunk = load_trunk(str(saved))
    assert isinstance(trunk, Gpt2Trunk)
    assert (trunk.width, trunk.max_positions, trunk.words.shape[0]) == (16, 64, trunk.tokenizer.size)
    assert trunk.digest == load_trunk(str(saved)).digest


def test_a_head_of_its_own_is_the_vocabulary_head(tmp_path, saved):
    for file in saved.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = GPT2Config(vocab_size=300, n_layer=1, n_embd=16, n_head=2, n_positions=64, tie_word_embeddings=False)
    model = GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path)
    trunk = load_trunk(str(tmp_path))
    assert isinstance(trunk, Gpt2Trunk)
    assert torch.equal(trunk.head, model.lm_head.weight)
    assert torch.equal(trunk.words, model.transformer.wte.weight)


@pytest.mark.parametrize(("trunk", "same"), [("own", True), ("random", False)])
def test_one_layer_of_the_own_trunk_reads_a_history_as_a_set(build, trunk, same):
    other = build(n_layers=1)
    model = build(embedded_trunk(other.settings.model_copy(update={"trunk": trunk}), other.documents.texts))
    history, none = np.array([3, 1, 4, 15]), np.zeros(0, np.int64)
    read = [model.documents.recommendation(2, items, none) for items in (history, history[::-1])]
    forwards, backwards = (model.hidden(model.collaborative, pack([one]), 0.0) for one in read)
    assert torch.allclose(forwards, backwards, atol=1e-9) == same


def test_a_digest_follows_the_weights(saved):
    trunk = load_trunk(str(saved))
    trunk.requires_grad_(False)
    trunk.words[0, 0] += 1
    assert digest_of(trunk) != trunk.digest


def test_pickled_weights_are_refused(saved, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    with pytest.raises(UnusableTrunk, match="no weights"):
        load_trunk(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UnusableTrunk, match=r"only pickled weights \(pytorch_model.bin\).*safetensors"):
        load_trunk(str(tmp_path))


def test_a_folder_that_is_not_there_is_no_hub_name(tmp_path):
    with pytest.raises(UnusableTrunk, match="no folder"):
        load_trunk(str(tmp_path / "nothing"))
    with pytest.raises(UnusableTrunk, match=r"no config.json"):
        load_trunk(str(tmp_path))


def test_code_beside_a_model_is_not_run(saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    trap = tmp_path / "ran"
    (tmp_path / "modeling_own.py").write_text(f"open({str(trap)!r}, 'w')\n")
    config = (tmp_path / "config.json").read_text()
    own = config.replace('"model_type": "gpt2"', '"model_type": "own"').replace(
        "{", '{"auto_map": {"AutoConfig": "modeling_own.Own", "AutoModelForCausalLM": "modeling_own.Own"},', 1
    )
    assert own != config
    (tmp_path / "config.json").write_text(own)
    with pytest.raises(UnusableTrunk):
        load_trunk(str(tmp_path))
    assert not trap.exists()


def test_the_same_texts_give_the_same_trunk(build, texts):
    settings = build().settings
    assert digest_of(embedded_trunk(settings, texts)) == digest_of(embedded_trunk(settings, texts))
