"""Whether profiles are any good, as far as that can be counted: length, language, doubles, grounding."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.profiling.corpus import TrainCorpus
from rlmrec_core.profiling.sources import ItemSource, ProfileSource, Side, item_source, user_source

_SAMPLE = 500  # profiles whose words are looked up in their sources
_SHOWN = 5
_TERM = re.compile(r"[^\W\d_]{4,}")
_MARKERS = frozenset(
    ("the", "of", "and", "to", "a", "in", "is", "who", "for", "with", "that", "this", "or", "as", "by", "on")
)
_ENGLISH = 0.15  # share of such words from which a text passes for English


def audit(
    corpus: TrainCorpus,
    side: Side,
    profiles: pa.Table,
    item_profiles: Sequence[str | None] = (),
    *,
    max_reviews: int = 10,
    seed: int = 2023,
) -> dict[str, Any]:
    """Figures of one side's profiles, and a few of them to read; plain JSON.

    profiles: PROFILES. item_profiles: the summarization of each item, for the side of users. Shares are of all profiles
    that are there, those of language and grounding of at most 500 drawn ones. Grounding is the share of a profile's
    terms (words of four letters or more, common ones left out) that its source holds, by their first five letters.
    """
    there = profiles.filter(pc.is_valid(profiles["summarization"]))
    if not len(there):
        return {"profiles": 0, "share_none": 1.0}
    texts = there["summarization"]
    words = np.array([len(text.split()) for chunk in texts.chunks for text in chunk.to_pylist()])
    rng = np.random.default_rng(seed)
    drawn = there.take(np.sort(rng.choice(len(there), min(len(there), _SAMPLE), replace=False))).to_pylist()

    def source(row: dict[str, Any]) -> ProfileSource:
        if side == "item":
            return item_source(corpus, row["id"], max_reviews=max_reviews, seed=seed)
        return user_source(corpus, row["id"], item_profiles, max_items=max_reviews, seed=seed)

    grounding = [grounded(row["summarization"], _text(source(row))) for row in drawn]
    return {
        "profiles": len(there),
        "share_none": round(1 - len(there) / len(profiles), 4),
        "words": {f"p{q}": int(np.percentile(words, q)) for q in (5, 50, 95)} | {"most": int(words.max())},
        "share_double": round(1 - pc.count_distinct(texts).as_py() / len(there), 4),
        "share_english": round(float(np.mean([_is_english(row["summarization"]) for row in drawn])), 4),
        "grounding": {f"p{q}": round(float(np.percentile(grounding, q)), 4) for q in (5, 50, 95)},
        "sample": [{"id": row["id"], "profile": row["summarization"]} for row in drawn[:_SHOWN]],
    }


def grounded(profile: str, source: str) -> float:
    """Share of a profile's terms that its source holds; 1 for a profile without any."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # takes a second to load; only this needs it

    known = {_stem(term) for term in _TERM.findall(source.lower())}
    terms = [term for term in _TERM.findall(profile.lower()) if term not in ENGLISH_STOP_WORDS]
    return float(np.mean([_stem(term) in known for term in terms])) if terms else 1.0


def _stem(term: str) -> str:
    return term[:5]


def _is_english(text: str) -> bool:
    words = re.findall(r"[^\W\d_]+", text.lower())
    return bool(words) and sum(word in _MARKERS for word in words) / len(words) >= _ENGLISH


def _text(source: ProfileSource) -> str:
    if isinstance(source, ItemSource):
        facts = [f"{name} {value}" for name, value in source.attributes]
        return " ".join(filter(None, [source.title, source.description, *facts, *source.reviews]))
    parts = [(one.title, one.profile, one.review) for one in source.interactions]
    return " ".join(part for one in parts for part in one if part)
