"""Profiles of items and users, written from train data only (RLMRec, section 3.2)."""

from rlmrec_core.profiling.corpus import SplitLeakage, TrainCorpus
from rlmrec_core.profiling.profiles import ProfileResult, profile_items, profile_users
from rlmrec_core.profiling.templates import prompt_digest

__all__ = ["ProfileResult", "SplitLeakage", "TrainCorpus", "profile_items", "profile_users", "prompt_digest"]
