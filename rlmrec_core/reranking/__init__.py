"""A model's best items in the order of a language model (RLMRec, section 1, figure 1, and appendix A.3)."""

from rlmrec_core.reranking.answers import Order, order_of
from rlmrec_core.reranking.asking import rerank_job, rerank_prompt_digest
from rlmrec_core.reranking.questions import NoTitles, Question, check_titles, questions, sampled_users
from rlmrec_core.reranking.scores import repaired, scores, strict

__all__ = [
    "NoTitles",
    "Order",
    "Question",
    "check_titles",
    "order_of",
    "questions",
    "repaired",
    "rerank_job",
    "rerank_prompt_digest",
    "sampled_users",
    "scores",
    "strict",
]
