"""One value of each metric for each user: what means, intervals, groups and tests are made of."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rlmrec_core.config.ranking import MetricName
from rlmrec_core.ranking.metrics import (
    Float64Array,
    Hits,
    average_popularity,
    average_precision,
    capped_recall,
    diversity,
    find_hits,
    hit_rate,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)
from rlmrec_core.split import Edges, Int32Array, Int64Array
from rlmrec_core.vectors import Float32Array

OF_HITS: dict[MetricName, Callable[[Hits, int], Float64Array]] = {
    "recall": recall,
    "ndcg": ndcg,
    "capped_recall": capped_recall,
    "precision": precision,
    "hit_rate": hit_rate,
    "mrr": reciprocal_rank,
    "map": average_precision,
}
"""Measures of how well lists meet what was held out."""

Columns = dict[tuple[MetricName, int], Float64Array]
"""By metric and k, one value for each user, (n,); NaN where a user has none."""


class Ranked(NamedTuple):
    """The lists of one model with what is said of them.

    items: (n_users, k), best first; popularity: (n_items,) train interactions; unit: (n_items, d) semantic vectors of
    length one, None where there are none.
    """

    items: Int32Array
    popularity: Int64Array
    unit: Float32Array | None

    def against(self, held_out: Edges) -> Hits:
        """Which places hold what was held out, for the users who have any."""
        return find_hits(self.items, held_out, len(self.popularity))


def by_user(ranked: Ranked, hits: Hits, names: Iterable[MetricName], ks: Iterable[int]) -> Columns:
    """The metrics among `names` that every user has a value of, for the users of `hits`."""
    lists, wanted = ranked.items[hits.users], list(names)
    found: Columns = {}
    for k in ks:
        for name in wanted:
            if name in OF_HITS:
                found[name, k] = OF_HITS[name](hits, k)
            elif name == "average_popularity":
                found[name, k] = average_popularity(lists, k, ranked.popularity)
            elif name == "diversity" and ranked.unit is not None:
                found[name, k] = diversity(lists, k, ranked.unit)
    return found
