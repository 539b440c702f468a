from pathlib import Path

import numpy as np
import pytest

from rlmrec_core.config import ProfileConfig
from rlmrec_core.embedding.neighbours import neighbours
from rlmrec_core.profiling import audit, profile_items
from rlmrec_core.profiling.audit import grounded
from rlmrec_core.shard import Workplace


def test_grounding_is_the_share_of_terms_that_the_source_holds():
    assert grounded("Detectives in foggy harbours enjoy submarines.", "a detective, a foggy harbour") == 0.6
    assert grounded("", "anything") == 1.0


def test_an_audit_of_extractive_profiles(corpus):
    table = profile_items(corpus, ProfileConfig(), Workplace(Path("unused.db"))).table
    figures = audit(corpus, "item", table)
    assert figures["profiles"] == 4 and figures["share_none"] == 0.2 and figures["share_double"] == 0.0
    assert figures["grounding"]["p5"] == 1.0  # they are made of their sources
    assert len(figures["sample"]) == 4 and "harbour" in figures["sample"][0]["profile"].lower()
    assert audit(corpus, "item", table.slice(3, 1)) == {"profiles": 0, "share_none": 1.0}


def test_neighbours_that_share_attributes_are_told_from_chance(corpus):
    """Items 0 and 2 are crime, 1 is science fiction, 4 something else; 0 and 2 point the same way."""
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0], [0, 0, 0], [0, 0, 1]], np.float32)
    figures = neighbours(corpus, vectors)
    assert figures["compared"] == 4
    assert figures["nearest_share_an_attribute"] == pytest.approx(0.5)
    assert neighbours(corpus, np.zeros((5, 3), np.float32)) == {"compared": 0}
