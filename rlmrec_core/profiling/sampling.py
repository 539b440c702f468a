"""Seeded choice of the reviews or interactions that one prompt holds."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from rlmrec_core.profiling.corpus import Rows, TrainCorpus

Side = Literal["item", "user"]


def sample_rows(corpus: TrainCorpus, side: Side, rows: Rows, size: int, seed: int) -> Sequence[int]:
    """At most `size` of one item's or user's train rows, uniformly, in the order of the draw.

    Every row is ranked by a hash of the seed and its own ids, and the lowest ranks win (bottom-k sampling): a row's
    rank depends on no other row, so that a new review or item changes at most one place in the samples it belongs to.
    """
    if len(rows) <= size:
        return [int(row) for row in rows]
    ranks = [(_rank(corpus, side, int(row), seed), int(row)) for row in rows]
    return [row for _, row in sorted(ranks)[:size]]


def _rank(corpus: TrainCorpus, side: Side, row: int, seed: int) -> bytes:
    user, item = corpus.user_ids[int(corpus.users[row])].as_py(), corpus.item_ids[int(corpus.items[row])].as_py()
    return hashlib.blake2b(f"{seed}\x1f{side}\x1f{user}\x1f{item}".encode(), digest_size=16).digest()
