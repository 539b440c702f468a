"""CLLM4Rec's step written down plainly: padded batches, full logits, dense targets, everything through autograd.

What the fast one is compared with, for its values in the tests and for its speed in the benchmark.
"""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot
from torch.nn.utils.rnn import pad_sequence


def plain_step(model, side, documents, *, regularised, dtype=torch.float64):
    """The step's losses (nll, mutual, prior as divided and weighted) through transformers' own forward pass.

    Gradients are added to the table of `side`, as in CLLM4Rec.backward.
    """
    settings, n_users = model.settings, model.n_users
    table, other = (
        (model.collaborative, model.content) if side == "collaborative" else (model.content, model.collaborative)
    )
    tokens = pad_sequence([torch.from_numpy(one.tokens) for one in documents], batch_first=True)
    there = pad_sequence([torch.ones(len(one), dtype=torch.long) for one in documents], batch_first=True)
    everything = torch.cat([model.trunk.words.to(dtype), table])
    hidden = model.trunk.model(inputs_embeds=everything[tokens], attention_mask=there).last_hidden_state
    head = table[n_users:] if side == "collaborative" else model.trunk.head
    log_p = log_softmax(hidden @ head.T, dim=-1)
    dense = torch.zeros(*tokens.shape, len(head), dtype=dtype)
    for place, document in enumerate(documents):
        start = 0
        for row, count in zip(document.rows, document.counts, strict=True):
            targets = torch.from_numpy(document.targets[start : start + count])
            dense[place, row] = one_hot(targets, len(head)).sum(0).to(dtype)
            start += count
    n_targets = sum(len(one.targets) for one in documents)
    nll = -(dense * log_p).sum() / n_targets
    nodes = torch.cat([torch.from_numpy(one.nodes) for one in documents])
    norm = n_targets if settings.protocol == "paper" else 0.5
    weight = torch.where(nodes < n_users, settings.user_weight, 1.0).to(dtype).unsqueeze(1)
    mutual = settings.mutual_weight / 2 * (weight * (table[nodes] - other[nodes].detach()).square()).sum() / norm
    prior = settings.prior_weight / 2 * (weight * table[nodes].square()).sum() / norm
    total: Tensor = nll + (mutual if regularised else 0) + (prior if settings.protocol == "paper" else 0)
    total.backward()
    return float(nll), float(mutual), float(prior)
