"""AutoCF: a masked graph autoencoder."""

from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.backbones.base import Backbone, Batch, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.losses import log_partition
from rlmrec_core.models.graph.rows import Distinct, take
from rlmrec_core.models.graph.sparse import Pattern, SparseMatrix

_LOGIT_BOUND = 10.0


class _Masked(NamedTuple):
    """What is left of the graph for the encoder, and where the decoder attends."""

    encoder: SparseMatrix
    decoder: Pattern


class AutoCFSettings(Section):
    """Hyper-parameters of AutoCF."""

    n_layers: Annotated[int, SearchRange(1, 4)] = Field(
        2, ge=1, le=8, description="Propagation layers L of the encoder"
    )
    n_heads: int = Field(4, ge=1, description="Heads of attention; they divide embedding_size")
    ssl_weight: Annotated[float, SearchRange(0.1, 10.0, log=True)] = Field(
        1.0, ge=0, description="Weight of the self-supervised loss"
    )
    n_seeds: int = Field(100, ge=1, description="Nodes whose neighbourhood is masked")
    mask_every: int = Field(10, ge=1, description="Steps between two masks")
    extra_nodes: float = Field(0.2, ge=0, le=1, description="Share of all nodes that the decoder counts as masked, too")


class AutoCF(Backbone):
    r"""Xia et al., "Automated Self-Supervised Learning for Recommendation", WWW 2023.

    Encoder: L propagations on a masked graph; decoder: one layer of attention with `n_heads` heads, its logits clamped;
    the sum of all layers is the result. Every `mask_every` steps of an epoch the graph is masked anew: each node scores
    log sigmoid(cos(self, mean of its 1- and 2-hop neighbourhood)) plus Gumbel noise, the best `n_seeds` are seeds, and
    every edge that touches a seed or a seed's neighbour goes. The decoder attends over the edges kept, to every node
    itself, and between as many random pairs of masked nodes as the graph has edges, both ways; a share `extra_nodes` of
    all nodes counts as masked, too. On those steps the mean score is maximised.

    Loss = -mean(u . i) + mean log sum over items of exp(u . i) + `ssl_weight` times the same log sum of the distinct
    users against all users and of the distinct items against all items. No negatives.
    """

    samples_negatives = False
    steps_alike = False

    Settings = AutoCFSettings

    def __init__(self, graph: Graph, size: int, generator: torch.Generator, settings: AutoCFSettings) -> None:
        """Raises ValueError if the heads do not divide `size`."""
        super().__init__(graph, size, generator)
        if size % settings.n_heads:
            raise ValueError(
                f"AutoCF: {settings.n_heads} heads do not divide an embedding size of {size}; change either"
            )
        self.n_layers, self.n_heads, self.ssl_weight = settings.n_layers, settings.n_heads, settings.ssl_weight
        self.mask_every, self.extra_nodes = settings.mask_every, settings.extra_nodes
        self.n_seeds = min(settings.n_seeds, graph.n_nodes)
        self.query, self.key, self.value = (nn.Parameter(torch.empty(size, size)) for _ in range(3))
        for weight in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(weight, generator=generator)
        self._masked: _Masked | None = None
        self._steps = 0

    def begin_epoch(self) -> None:
        self._masked, self._steps = None, 0

    def encode(self, table: Tensor) -> Tensor:
        return self._forward(table, _Masked(self.graph.adjacency, self.graph.pattern))

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        infomax = table.new_zeros(())
        if self._masked is None or self._steps % self.mask_every == 0:
            # The model's own table, also where the one handed in has masked rows.
            scores = self._scores(self.table)
            self._masked = self._mask(scores.detach(), generator)
            infomax = -scores.mean()
        self._steps += 1
        nodes = self._forward(table, self._masked)
        return Step(nodes, self._losses(*self.sides(nodes), batch) | {"infomax": infomax})

    def _forward(self, table: Tensor, masked: _Masked) -> Tensor:
        layer = total = table
        for _ in range(self.n_layers):
            layer = masked.encoder.matmul(layer)
            total = total + layer
        return total + self._attend(layer, masked.decoder)

    def _attend(self, nodes: Tensor, pattern: Pattern) -> Tensor:
        # The projections are of nodes, not of edges: there are thirty times fewer.
        queries, keys, values = (
            (nodes @ weight).chunk(self.n_heads, dim=1) for weight in (self.query, self.key, self.value)
        )
        heads = zip(queries, keys, values, strict=True)
        return torch.cat([self._head(query, key, value, pattern) for query, key, value in heads], dim=1)

    def _head(self, query: Tensor, key: Tensor, value: Tensor, pattern: Pattern) -> Tensor:
        logits = pattern.products(query.contiguous(), key.contiguous()).clamp(-_LOGIT_BOUND, _LOGIT_BOUND)
        return pattern.weighted_mean(logits.exp(), value.contiguous())

    def _losses(self, users: Tensor, items: Tensor, batch: Batch) -> dict[str, Tensor]:
        of_users = Distinct.of(batch.users, len(users), once=True)
        of_items = Distinct.of(batch.positives, len(items), once=True)
        anchors, positives = take(users, of_users.ids), take(items, of_items.ids)
        every = of_users.times is None  # then each pair has its row in both already
        own = anchors * positives if every else take(users, batch.users) * take(items, batch.positives)
        ssl = log_partition(anchors, users, of_users.once) + log_partition(positives, items, of_items.once)
        fit = log_partition(anchors, items, of_users.times) - own.sum(1).mean()
        return {"fit": fit, "ssl": self.ssl_weight * ssl}

    def _scores(self, table: Tensor) -> Tensor:
        """How well each node agrees with its neighbourhood, (n_nodes,), at most 0."""
        pattern = self.graph.pattern
        ones = torch.ones_like(self.graph.values)
        degree = pattern.row_sums(ones).unsqueeze(1)
        one_hop = pattern.weighted_sum(ones, table)
        # Of all walks of two steps, `degree` many lead back to where they began. The cosine makes the sum a mean.
        two_hops = pattern.weighted_sum(ones, one_hop) - degree * table
        return F.logsigmoid(F.cosine_similarity(table, one_hop + two_hops, dim=1))

    @torch.no_grad()
    def _mask(self, scores: Tensor, generator: torch.Generator) -> _Masked:
        graph, pattern = self.graph, self.graph.pattern
        uniform = torch.rand(scores.shape, generator=generator, device=scores.device).clamp_min(1e-8)
        seeds = (scores - (-uniform.log()).log()).topk(self.n_seeds).indices
        is_seed = torch.zeros_like(scores, dtype=torch.bool).index_fill(0, seeds, True)
        touched = is_seed.index_fill(0, pattern.row[is_seed[pattern.col]], True)
        kept = ~(touched[pattern.row] | touched[pattern.col])
        return _Masked(graph.keep_edges(kept), self._decoder_pattern(touched, graph.keys[kept], generator))

    def _decoder_pattern(self, touched: Tensor, kept_keys: Tensor, generator: torch.Generator) -> Pattern:
        n_nodes, device = self.graph.n_nodes, touched.device
        extra = torch.randint(n_nodes, (int(self.extra_nodes * n_nodes),), generator=generator, device=device)
        masked = touched.index_fill(0, extra, True).nonzero().squeeze(1)
        pairs = torch.randint(len(masked), (2, len(self.graph.values)), generator=generator, device=device)
        row, col = masked[pairs]
        loops = torch.arange(n_nodes, device=device) * (n_nodes + 1)
        keys = torch.cat([row * n_nodes + col, col * n_nodes + row, loops, kept_keys])
        return Pattern.from_keys(keys.unique(), n_nodes)


BACKBONE = AutoCF
