"""Rankings that need no training, to be shown beside the trained ones."""

import numpy as np

from rlmrec_core.model_id import ModelId
from rlmrec_core.split import Split
from rlmrec_core.vectors import SemanticEmbeddings, Vectors, unit_rows

POPULARITY = ModelId("popularity", "popularity", 0)
SEMANTIC_ONLY = ModelId("semantic", "semantic", 0)
BASELINES = (POPULARITY, SEMANTIC_ONLY)


def popularity(split: Split) -> Vectors:
    """The baseline that ranks items by train interactions, the lower id first among equals."""
    order = np.argsort(-split.train_popularity(), kind="stable")
    scores = np.empty((split.n_items, 1), dtype=np.float32)
    scores[order, 0] = np.arange(split.n_items, 0, -1)
    return Vectors(np.ones((split.n_users, 1), dtype=np.float32), scores)


def semantic_only(semantic: SemanticEmbeddings) -> Vectors:
    """The control that ranks by the cosine of the semantic vectors; a missing vector scores 0 with everything."""
    return Vectors(unit_rows(semantic.users), unit_rows(semantic.items))
