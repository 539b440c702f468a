import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from rlmrec_core.models.cllm4rec.packing import Document, pack, packs
from rlmrec_core.models.cllm4rec.trunk import AnyTrunk, Gpt2Trunk
from tests.rlmrec_core.models.cllm4rec.twin import plain_step


def document(length, rows=(0,)):
    rows = np.array(rows, np.int64)
    nothing = np.zeros(0, np.int64)
    return Document(np.arange(length), rows, nothing, np.zeros(len(rows), np.int64), nothing)


def test_documents_of_one_length_stand_together_shortest_first():
    found = pack([document(3, (0, 2)), document(1), document(3, (1,))])
    assert found.spans == ((0, 1, 1), (1, 2, 3))
    assert found.positions.tolist() == [0, 0, 1, 2, 0, 1, 2]
    assert found.rows.tolist() == [0, 1, 3, 5]


def test_packs_hold_so_many_tokens_or_one_document():
    found = list(packs([document(length) for length in (3, 3, 9, 2, 2, 2)], 6))
    assert [len(one.tokens) for one in found] == [6, 9, 6]


def batches(model, rng):
    """A batch for each kind of step."""
    documents = model.documents
    users = rng.permutation(40)[:9].tolist()
    histories = [rng.permutation(documents.history(user))[: 4 + user % 3] for user in users]
    return {
        "interactions": [documents.interactions(*one) for one in zip(users, histories, strict=True)],
        "recommendation": [documents.recommendation(u, h[2:], h[:2]) for u, h in zip(users, histories, strict=True)],
        "texts": [documents.content[place] for place in rng.permutation(len(documents.content))[:9]],
    }


@pytest.mark.parametrize("protocol", ["paper", "code"])
@pytest.mark.parametrize("name", ["interactions", "recommendation", "texts"])
def test_a_step_is_that_of_padded_batches_with_full_logits(build, name, protocol):
    model = build(protocol=protocol, prior_weight=0.3, mutual_weight=0.7, user_weight=5.0, batch_tokens=64)
    side = "content" if name == "texts" else "collaborative"
    documents = batches(model, np.random.default_rng(0))[name]
    found = model.backward(side, documents, regularised=True)
    grad = getattr(model, side).grad.clone()
    model.zero_grad()
    nll, mutual, prior = plain_step(model, side, documents, regularised=True)
    norm = found.n_targets if protocol == "paper" else 0.5
    assert found.nll / found.n_targets == pytest.approx(nll, abs=1e-9)
    assert found.mutual / norm == pytest.approx(mutual, abs=1e-9)
    assert found.prior / norm == pytest.approx(prior if protocol == "paper" else 0, abs=1e-9)
    torch.testing.assert_close(grad, getattr(model, side).grad, rtol=0, atol=1e-9)


def any_llama(tokenizer):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=tokenizer.size, num_key_value_heads=2, **sizes))
    return AnyTrunk(model.eval(), tokenizer, "llama")


def test_another_architecture_sees_no_document_but_its_own(build):
    model = build(trunk=any_llama(build().trunk.tokenizer))
    documents = batches(model, np.random.default_rng(1))["interactions"]
    found = model.backward("collaborative", documents, regularised=False)
    grad = model.collaborative.grad.clone()
    model.zero_grad()
    nll, *_ = plain_step(model, "collaborative", documents, regularised=False)
    assert found.nll / found.n_targets == pytest.approx(nll, abs=1e-9)
    torch.testing.assert_close(grad, model.collaborative.grad, rtol=0, atol=1e-9)


def test_a_full_sized_gpt2_takes_the_step_of_its_twin(build):
    tokenizer = build().trunk.tokenizer
    torch.manual_seed(0)
    sizes = {"n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 32}
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=tokenizer.size, **sizes)).eval()
    model = build(trunk=Gpt2Trunk(gpt2, tokenizer, "gpt2"), dtype=torch.float32)
    documents = batches(model, np.random.default_rng(2))["recommendation"][:3]
    found = model.backward("collaborative", documents, regularised=True)
    grad = model.collaborative.grad.clone()
    model.zero_grad()
    nll, *_ = plain_step(model, "collaborative", documents, regularised=True, dtype=torch.float32)
    assert found.nll / found.n_targets == pytest.approx(nll, abs=1e-5)
    torch.testing.assert_close(grad, model.collaborative.grad, rtol=0, atol=1e-5)
