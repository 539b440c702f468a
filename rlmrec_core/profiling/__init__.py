"""Profiles of items and users, written from train data only (RLMRec, section 3.2)."""

from rlmrec_core.profiling.audit import audit
from rlmrec_core.profiling.corpus import SplitLeakage, TrainCorpus
from rlmrec_core.profiling.plan import Plan, touched_users
from rlmrec_core.profiling.profiles import (
    plan_items,
    plan_users,
    profile_items,
    profile_users,
    summarizations,
)
from rlmrec_core.profiling.result import ProfileResult
from rlmrec_core.profiling.templates import prompt_digest

__all__ = [
    "Plan",
    "ProfileResult",
    "SplitLeakage",
    "TrainCorpus",
    "audit",
    "plan_items",
    "plan_users",
    "profile_items",
    "profile_users",
    "prompt_digest",
    "summarizations",
    "touched_users",
]
