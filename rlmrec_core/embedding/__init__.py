"""Semantic vectors of items and users (RLMRec, section 3.2)."""

from rlmrec_core.embedding.embed import EmbedResult, embed, embed_new_items, embed_shard, open_encoder
from rlmrec_core.embedding.imported import embed_imported, new_imported

__all__ = [
    "EmbedResult",
    "embed",
    "embed_imported",
    "embed_new_items",
    "embed_shard",
    "new_imported",
    "open_encoder",
]
