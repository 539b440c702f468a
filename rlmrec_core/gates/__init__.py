"""Gates: the figures of a run, how its data drifted, and whether it may be put to use."""

from rlmrec_core.gates.drift import population_stability, vector_shift
from rlmrec_core.gates.figures import Figure, of_data, of_lists, of_model, of_profiles, of_raw_data, of_vectors
from rlmrec_core.gates.verdicts import Verdict, judge

__all__ = [
    "Figure",
    "Verdict",
    "judge",
    "of_data",
    "of_lists",
    "of_model",
    "of_profiles",
    "of_raw_data",
    "of_vectors",
    "population_stability",
    "vector_shift",
]
