"""Draws by hash: whether an id or a pair is chosen depends on itself and the seed, not on what else there is.

So what is drawn stays drawn while interactions, users and items come and go, whatever dense numbers they have.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.integer]

_BIT_PATTERNS = 2**64


@dataclass(frozen=True)
class Draws:
    """Hashes of the ids of one data set under one seed, each use of them with a salt of its own.

    user_ids, item_ids: (n_users,), (n_items,) strings.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    seed: int

    def users(self, use: str) -> Hashes:
        """(n_users,) hashes for one use of them."""
        return self._ids(self.user_ids, f"{use} user")

    def items(self, use: str) -> Hashes:
        """(n_items,) hashes for one use of them."""
        return self._ids(self.item_ids, f"{use} item")

    def pairs(self, use: str, user: Codes, item: Codes) -> Hashes:
        """(n,) hashes of pairs, given by the positions of their ids."""
        users, items = self.users(use), _mixed(self.items(use))
        return _mixed(users[user] ^ items[item])

    def _ids(self, ids: pa.Array, salt: str) -> Hashes:
        key = blake2b(f"{self.seed} {salt}".encode(), digest_size=32).digest()
        digests = (blake2b(name, digest_size=8, key=key).digest() for name in ids.cast(pa.binary()).to_pylist())
        return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def below(hashes: Hashes, share: float) -> npt.NDArray[np.bool_]:
    """True for the hashes in the lowest `share` of all there could be: a draw with this probability."""
    threshold = int(share * _BIT_PATTERNS)
    return np.ones(len(hashes), bool) if threshold >= _BIT_PATTERNS else hashes < np.uint64(threshold)


def divided(hashes: Hashes, ratios: tuple[int, ...]) -> npt.NDArray[np.int8]:
    """The part that each hash falls into, where part p has ratios[p] of sum(ratios) of all possible hashes."""
    part = np.zeros(len(hashes), np.int8)
    for end in np.cumsum(ratios)[:-1].tolist():
        threshold = end * _BIT_PATTERNS // sum(ratios)
        if threshold < _BIT_PATTERNS:
            part += hashes >= np.uint64(threshold)
    return part


def lowest(codes: Codes, hashes: Hashes, among: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.bool_]:
    """True where a hash is the lowest of its code; with `among`, of those of its code that are among them."""
    ranked = hashes if among is None else np.where(among, hashes, np.uint64(_BIT_PATTERNS - 1))
    least = np.full(int(codes.max(initial=-1)) + 1, _BIT_PATTERNS - 1, np.uint64)
    np.minimum.at(least, codes, ranked)
    is_lowest: npt.NDArray[np.bool_] = least[codes] == ranked
    return is_lowest if among is None else is_lowest & among


def _mixed(values: Hashes) -> Hashes:
    """Every bit of a value spread over all of them: the finalizer of SplitMix64 (Steele et al., OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = values ^ (values >> np.uint64(31))
    return mixed
