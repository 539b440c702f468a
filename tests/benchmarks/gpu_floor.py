"""The least that an epoch must compute and move, by the formulas of backbones and alignments.

Operations are those of dense products, forward and backward, with each distinct node of a batch computed once. Bytes
are what a step must read or write once, as if logits and whatever else passes through were never stored: edges and
their dropout, the table at every product, the batch's vectors, weights and Adam's moments.
"""

from typing import Any

import numpy as np

from rlmrec_core.config.training import RunSettings
from rlmrec_core.split import Split

FLOAT = 4


def epoch_floor(split: Split, settings: RunSettings, semantic_size: int) -> tuple[float, float]:
    """Operations and bytes of an epoch."""
    n_steps = -(-len(split.train.user) // settings.batch_size)
    operations, moved = _Step(split, settings, semantic_size).floor()
    return n_steps * operations, n_steps * moved


class _Step:
    def __init__(self, split: Split, settings: RunSettings, semantic_size: int) -> None:
        rng, batch = np.random.default_rng(0), min(settings.batch_size, len(split.train.user))
        rows = rng.choice(len(split.train.user), batch, replace=False)
        negatives = rng.integers(split.n_items, size=batch)
        self.settings, self.batch, self.semantic_size = settings, batch, semantic_size
        self.n_users, self.n_items = split.n_users, split.n_items
        self.n_nodes, self.n_edges = split.n_users + split.n_items, 2 * len(split.train.user)
        self.users, self.positives = (len(np.unique(side[rows])) for side in split.train)
        self.negatives = len(np.unique(negatives))
        self.items = len(np.unique(np.concatenate([split.train.item[rows], negatives])))
        self.own: Any = settings.backbone_settings
        layers = self.own.n_layers
        self.width = settings.embedding_size * (layers + 1 if settings.backbone == "gccf" else 1)

    def floor(self) -> tuple[float, float]:
        table = FLOAT * self.n_nodes * self.settings.embedding_size
        operations, n_products, n_dropouts = self._backbone()
        aligned, moved_there = self._alignment()
        # A product reads values and columns, reads the table and writes another; Adam reads and writes three tables and
        # reads the gradient; BPR reads three vectors of each pair and adds their gradients.
        moved = n_products * (2 * FLOAT * self.n_edges + 2 * table) + n_dropouts * 2 * FLOAT * self.n_edges
        moved += 7 * table + 9 * FLOAT * self.batch * self.width + moved_there
        return operations + aligned, moved

    def _backbone(self) -> tuple[float, int, int]:
        """Operations, sparse products and draws of edge dropout."""
        layers, size = self.own.n_layers, self.settings.embedding_size
        if self.settings.backbone == "sgl":
            among = self._contrast(self.users, self.n_users, size) + self._contrast(self.items, self.n_items, size)
            return among, 6 * layers, 2
        if self.settings.backbone == "simgcl":
            among = self._contrast(self.users, self.n_users, size) + self._contrast(self.positives, self.n_items, size)
            return among, 4 * layers, 0
        if self.settings.backbone == "dccf":
            intents = 6 * 2 * self.n_nodes * size * self.own.n_intents
            among = 3 * (
                self._contrast(self.users, self.users, size) + self._contrast(self.positives, self.positives, size)
            )
            return layers * (intents + among), 14 * layers, 0
        if self.settings.backbone == "autocf":
            projections = 3 * 3 * 2 * self.n_nodes * size * size
            among = self._contrast(self.users, self.n_users, size) + self._contrast(self.positives, self.n_items, size)
            return projections + among + self._contrast(self.users, self.n_items, size), 2 * layers + 3 * 6, 0
        return 0.0, 2 * layers, int(self.settings.backbone == "lightgcn")

    def _alignment(self) -> tuple[float, float]:
        """Operations, and bytes: semantic vectors, read forward and backward, and weights with their moments."""
        hidden = (self.semantic_size + self.width) // 2
        weights = 7 * FLOAT * hidden * (self.semantic_size + self.width)
        if self.settings.variant == "con":
            # The first layer needs no gradient in what it reads.
            mapped = (self.n_users + self.items) * hidden * (2 * self.semantic_size + 3 * self.width) * 2
            among = self._contrast(self.users, self.n_users, self.width)
            terms = (self.positives, self.negatives) if self.settings.backbone != "autocf" else (self.positives,)
            read = 2 * FLOAT * (self.n_users + self.items) * self.semantic_size
            return mapped + among + sum(self._contrast(n, n, self.width) for n in terms), weights + read
        if self.settings.variant == "gen":
            alignment: Any = self.settings.alignment
            masked = int(alignment.mask_ratio * self.n_nodes)
            # The keys are given: a contrast without their gradient is two products in place of three.
            among = self._contrast(masked, masked, self.semantic_size) * 2 / 3
            return 3 * 2 * masked * hidden * (
                self.semantic_size + self.width
            ) + among, weights + 2 * FLOAT * masked * self.semantic_size
        return 0.0, 0.0

    @staticmethod
    def _contrast(n_anchors: int, n_keys: int, size: int) -> float:
        """Logits and both gradients."""
        return 3 * 2.0 * n_anchors * n_keys * size
