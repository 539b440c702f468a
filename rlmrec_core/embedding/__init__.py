"""Semantic vectors of items and users (RLMRec, section 3.2)."""

from rlmrec_core.embedding.embed import EmbedResult, embed, embed_new_items, embed_shard, open_encoder

__all__ = ["EmbedResult", "embed", "embed_new_items", "embed_shard", "open_encoder"]
