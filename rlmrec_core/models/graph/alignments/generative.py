"""RLMRec-Gen: generative alignment."""

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rlmrec_core.config.search import SearchRange
from rlmrec_core.models.graph.adapter import Adapter
from rlmrec_core.models.graph.alignments.base import Alignment, AlignmentSettings, Entry, product_dtype
from rlmrec_core.models.graph.backbones.base import Batch
from rlmrec_core.models.graph.losses import info_nce
from rlmrec_core.models.graph.rows import take
from rlmrec_core.vectors import SemanticEmbeddings


class GenerativeSettings(AlignmentSettings):
    """Settings of RLMRec-Gen."""

    weight: Annotated[float, SearchRange(1e-3, 1.0, log=True)] = Field(
        0.1, ge=0, description="Weight of the alignment loss"
    )
    mask_ratio: Annotated[float, SearchRange(0.01, 0.3, log=True)] = Field(
        0.1, gt=0, lt=1, description="Share of nodes whose embedding is masked"
    )


class GenerativeAlignment(Alignment):
    """Mask nodes on the way in and rebuild their semantic vectors from what comes out (RLMRec, eq. 17 and 18).

    A random share `mask_ratio` of the rows is replaced by one learned token, zero at the start; every view of the step
    propagates the masked table. loss = nce(f(e_m), s_m; masked nodes), users and items together. Inference is unmasked.
    """

    semantic: Tensor
    known: Tensor

    def __init__(
        self,
        semantic: SemanticEmbeddings,
        size: int,
        table_size: int,
        settings: GenerativeSettings,
        generator: torch.Generator,
    ) -> None:
        """size: width D of the backbone's nodes; table_size: width d of its initial table."""
        super().__init__()
        self.weight, self.tau, self.mask_ratio = settings.weight, settings.tau, settings.mask_ratio
        self.dtype = product_dtype(settings)
        vectors = np.concatenate([semantic.users, semantic.items])
        # Not persistent: input data has no place among the model's weights.
        self.register_buffer("semantic", F.normalize(torch.from_numpy(vectors), dim=1), persistent=False)
        self.register_buffer("known", torch.from_numpy(np.flatnonzero(vectors.any(axis=1))), persistent=False)
        self.token = nn.Parameter(torch.zeros(1, table_size))
        self.adapter = Adapter(size, vectors.shape[1], generator, self.dtype)

    def enter(self, table: Tensor, generator: torch.Generator) -> Entry:
        n_masked = max(1, int(self.mask_ratio * len(self.known)))
        drawn = torch.randperm(len(self.known), generator=generator, device=table.device)[:n_masked]
        masked = self.known[drawn]
        return Entry(table.index_copy(0, masked, self.token.expand(n_masked, -1)), masked)

    def losses(self, nodes: Tensor, batch: Batch, entry: Entry) -> dict[str, Tensor]:
        assert entry.masked is not None
        rebuilt = self.adapter(take(nodes, entry.masked))
        keys = self.semantic.index_select(0, entry.masked)
        # As wide as the semantic vectors, these products cost more than the MLP: they share its precision.
        loss = info_nce(rebuilt, keys, None, tau=self.tau, unit_keys=True, dtype=self.dtype)
        return {"align": self.weight * loss}
