"""Weft: texts woven into an id table. This project's own recommender."""

from typing import ClassVar

import torch
from torch import Tensor

from rlmrec_core.models.graph.backbones.alpharec import AlphaRec, AlphaRecSettings
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.vectors import SemanticEmbeddings


class WeftSettings(AlphaRecSettings):
    """Hyper-parameters of Weft."""


class Weft(AlphaRec):
    r"""AlphaRec with ids as a residual: E_0 = f(S) + T with a free table T.

    What people do and no text tells is T's to learn. A node without train interactions has no residual: it stands where
    its text puts it.
    """

    Settings = WeftSettings
    has_table: ClassVar[bool] = True

    def __init__(
        self,
        graph: Graph,
        size: int,
        generator: torch.Generator,
        settings: WeftSettings,
        semantic: SemanticEmbeddings,
    ) -> None:
        super().__init__(graph, size, generator, settings, semantic)
        degrees = graph.pattern.row_sums(torch.ones_like(graph.values))
        with torch.no_grad():
            self.table[degrees == 0] = 0

    def initial(self) -> Tensor:
        return super().initial() + self.table


BACKBONE = Weft
