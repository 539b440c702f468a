"""Whether vectors make sense: do the nearest neighbours of items have more in common than items drawn at random?"""

from typing import TYPE_CHECKING

import numpy as np

from rlmrec_core.vectors import Float32Array

if TYPE_CHECKING:  # it brings the clients of model servers, which no encoder of one's own needs
    from rlmrec_core.profiling.corpus import TrainCorpus

_SAMPLE = 500


def neighbours(corpus: "TrainCorpus", items: Float32Array, seed: int = 2023) -> dict[str, float | int]:
    """Share of items that have an attribute in common with their nearest neighbour, and with an item drawn at random.

    items: (n_items, d), unit rows, zero where there is no text. At most 500 items that have attributes are compared.
    """
    known = [item for item in range(len(items)) if items[item].any() and corpus.attributes(item)]
    if len(known) < 3:
        return {"compared": 0}
    rng = np.random.default_rng(seed)
    compared = np.sort(rng.choice(known, min(len(known), _SAMPLE), replace=False))
    likeness = items[compared] @ items[known].T
    likeness[np.arange(len(compared)), np.searchsorted(known, compared)] = -np.inf
    nearest = np.asarray(known)[likeness.argmax(axis=1)]
    drawn = rng.choice(known, len(compared))
    return {
        "compared": len(compared),
        "nearest_share_an_attribute": _sharing(corpus, compared, nearest),
        "random_share_an_attribute": _sharing(corpus, compared, drawn),
    }


def _sharing(
    corpus: "TrainCorpus", ones: "np.typing.NDArray[np.int64]", others: "np.typing.NDArray[np.int64]"
) -> float:
    pairs = zip(ones, others, strict=True)
    common = [bool(set(corpus.attributes(int(a))) & set(corpus.attributes(int(b)))) for a, b in pairs if a != b]
    return round(float(np.mean(common)), 4) if common else 0.0
