"""KAR: the semantic vectors as a second half of every node's initial embedding."""

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rlmrec_core.models.graph.alignments.base import Alignment, Entry, VariantSettings, product_dtype
from rlmrec_core.vectors import Float32Array, SemanticEmbeddings


class KnowledgeSettings(VariantSettings):
    """Settings of KAR."""

    n_shared: int = Field(2, ge=0, le=64, description="Experts that users and items share")
    n_own: int = Field(5, ge=1, le=64, description="Experts of each side alone")
    hidden: int = Field(128, ge=1, le=4096, description="Width of an expert's hidden layer")
    size: int = Field(32, ge=1, le=4096, description="Width of an expert's result, beside the id embedding")


class KnowledgeAugmentation(Alignment):
    """Feed the backbone with what experts make of the text (Xi et al., RecSys 2024; RLMRec, table 2).

    Each side sends its semantic vectors s through experts, MLPs d_s -> hidden -> size with ReLU after both layers, some
    of them shared by the sides, and weighs what they give by a gate, softmax of a linear map of s. The result stands
    beside the id embedding, (n_nodes, d + size), and the backbone propagates both, in training and inference; there is
    no loss of its own. A node without a semantic vector has zeros there.
    """

    def __init__(self, semantic: SemanticEmbeddings, settings: KnowledgeSettings, generator: torch.Generator) -> None:
        super().__init__()
        width = semantic.users.shape[1]
        self.shared = Experts(settings.n_shared, width, settings, generator)
        n_experts = settings.n_shared + settings.n_own
        self.users, self.items = (
            _Tower(vectors, Experts(settings.n_own, width, settings, generator), n_experts, generator)
            for vectors in (semantic.users, semantic.items)
        )
        self.dtype = product_dtype(settings)

    def enter(self, table: Tensor, generator: torch.Generator) -> Entry:
        return Entry(self.whole(table), None)

    def whole(self, table: Tensor) -> Tensor:
        with torch.autocast(table.device.type, self.dtype, enabled=self.dtype != torch.float32):
            knowledge = torch.cat([tower(self.shared) for tower in (self.users, self.items)])
        return torch.cat([table, knowledge.float()], dim=1)


class Experts(nn.Module):
    """MLPs of one shape: their first layers side by side as one matrix, so that they are one product.

    first: (E * hidden, d_s), second: (E, hidden, size); biases start at zero, weights by Xavier's normal, each expert's
    on its own.
    """

    def __init__(self, n: int, width: int, settings: KnowledgeSettings, generator: torch.Generator) -> None:
        super().__init__()
        first, second = torch.empty(n, settings.hidden, width), torch.empty(n, settings.hidden, settings.size)
        for weight in (*first, *second):
            nn.init.xavier_normal_(weight, generator=generator)
        self.first, self.second = nn.Parameter(first.flatten(0, 1)), nn.Parameter(second)
        self.first_bias = nn.Parameter(torch.zeros(n * settings.hidden))
        self.second_bias = nn.Parameter(torch.zeros(n, 1, settings.size))


class _Tower(nn.Module):
    """One side: its vectors, its own experts, and the gate over these and the shared ones."""

    vectors: Tensor
    known: Tensor

    def __init__(self, vectors: Float32Array, experts: Experts, n_experts: int, generator: torch.Generator) -> None:
        super().__init__()
        known = np.flatnonzero(vectors.any(axis=1))
        # Not persistent: input data has no place among the model's weights.
        self.register_buffer("vectors", torch.from_numpy(vectors[known]), persistent=False)
        self.register_buffer("known", torch.from_numpy(known), persistent=False)
        self.n_nodes, self.experts = len(vectors), experts
        self.gate = nn.Linear(vectors.shape[1], n_experts)
        nn.init.xavier_normal_(self.gate.weight, generator=generator)
        nn.init.zeros_(self.gate.bias)

    def forward(self, shared: Experts) -> Tensor:
        """(n_nodes, size)."""
        both = (shared, self.experts)
        second = torch.cat([experts.second for experts in both])
        # The inputs of all first layers and of the gate are the same: together they are one product.
        weight = torch.cat([*(experts.first for experts in both), self.gate.weight])
        bias = torch.cat([*(experts.first_bias for experts in both), self.gate.bias])
        n_experts, hidden, size = second.shape
        made, logits = F.linear(self.vectors, weight, bias).split([n_experts * hidden, n_experts], dim=1)
        inner = made.relu().unflatten(1, (n_experts, hidden)).transpose(0, 1)
        answers = torch.baddbmm(torch.cat([experts.second_bias for experts in both]), inner, second).relu()
        weighed = torch.einsum("ens,ne->ns", answers, logits.softmax(dim=1))
        if len(self.known) == self.n_nodes:
            return weighed
        return weighed.new_zeros(self.n_nodes, size).index_copy(0, self.known, weighed)
