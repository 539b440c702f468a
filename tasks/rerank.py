"""Have a language model put a model's best items in order, for a sample of users."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect import State, task

from rlmrec_core.config import RerankConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.config.text import MissingSetting
from rlmrec_core.llm.budget import Budget
from rlmrec_core.llm.server import Server
from rlmrec_core.models import learnt_from
from rlmrec_core.profiling import ProfileResult, SplitLeakage, TrainCorpus
from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.ranking.top_k import top_k
from rlmrec_core.reranking import Question, check_titles, questions, rerank_job, rerank_prompt_digest, sampled_users
from rlmrec_core.split import Int32Array, Split
from rlmrec_core.tables import ORDERS
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.models import check_made_of, embed_of, load_split, load_vectors, model_settings
from tasks.profiles import accounted, final, lacking, train_corpus, workplace
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 1
_BATCH = 256
_TOLD = ORDERS.names[ORDERS.get_field_index("error") :]


class NotAsked(MissingSetting):
    """Nothing was asked, since the settings do not allow it: says what it would cost, and how to go on."""


def rerank_stage(config: RerankConfig, prepare: ArtifactRef, model: ArtifactRef) -> Stage:
    """The stage under resolved settings; its key covers the text of the prompt template."""
    settings = {**key_fields(config), "prompt": rerank_prompt_digest(config)}
    return Stage("rerank", VERSION, ("orders",), settings, {"prepare": prepare.key, "train": model.key})


@task(name="rerank", **UNCACHED)
def rerank(
    config: RerankConfig, store: StoreConfig, prepare: ArtifactRef, model: ArtifactRef, force: bool = False
) -> StageResult | State[StageResult]:
    """The language model's order of the candidates of every user of the sample."""
    artifacts, config = ArtifactStore.open(store), config.resolved()
    stage, asked = rerank_stage(config, prepare, model), _Asked(artifacts, config, prepare, model)

    def write(out: ArtifactWriter) -> None:
        place = workplace(stage, artifacts, stage.name)
        job = rerank_job(asked.questions, config, place.ledger, place.account)
        total = len(asked.users) * len(config.candidates)
        result = ProfileResult(map(final, job.rows()), "", total, place.progress, job.report)
        with accounted(stage.name, result, out):
            out.batches("orders", ORDERS, asked.with_answers(row for rows in result.rows() for row in rows))

    result = stage.run(artifacts, write, force=force)
    table = artifacts.table(result.ref, "orders", ["status", "error", "again"])
    if result.unfinished:
        without = table.filter(pc.equal(table["status"], "unanswered"))
        told = lacking(without["error"].to_pylist(), len(table), "orders")
        result = replace(result, unfinished=told, asked_again_by="the same command")
    report.log().info("rerank: %s", audit(table))
    return as_state(result)


def check_can_rerank(store: StoreConfig, prepare: ArtifactRef) -> None:
    """Raise NoTitles where the data have no names to show to a language model."""
    artifacts = ArtifactStore.open(store)
    check_titles(_corpus(artifacts, prepare))


def cost_of_rerank(
    config: RerankConfig, store: StoreConfig, prepare: ArtifactRef, model: ArtifactRef
) -> dict[str, Any] | None:
    """What the orders would cost, in the form of `Plan`; None where they are there already. Sends nothing.

    Raises NotAsked if what it takes to ask is missing: a model, its price, a key, or a budget, without which nothing is
    asked; and MissingSetting as `LlmConfig.resolved`.
    """
    artifacts = ArtifactStore.open(store)
    missing = []
    if config.llm.model or os.environ.get("RLMREC_LLM_MODEL"):
        config = config.resolved()
        if artifacts.find("rerank", rerank_stage(config, prepare, model).key):
            return None
    else:
        missing.append("no model: set rerank.llm.model, or the variable RLMREC_LLM_MODEL")
        config = config.model_copy(update={"llm": config.llm.model_copy(update={"model": "an unnamed model"})})
    unbound = config.llm.model_copy(update={"budget_usd": None})
    try:
        Server.require_key()
    except MissingSetting as error:
        missing.append(str(error))
    if Budget.of(unbound, "plan").price is None:
        missing.append(
            "no price: set rerank.llm.price_in and price_out, dollars per million tokens (0 for a server of your own)"
        )
    if config.llm.budget_usd is None:
        missing.append("no budget: set rerank.llm.budget_usd, the most that the answers may cost")
    asked = _Asked(artifacts, config.model_copy(update={"llm": unbound}), prepare, model)
    plan = rerank_job(asked.questions, asked.config, artifacts.ledger_path, "plan").plan().to_json()
    told = in_words(plan, config)
    report.show_table("rerank-plan", [plan], "What the language model would be asked, and what it would cost")
    report.log().info("rerank: %s", told)
    if missing:
        raise NotAsked(
            f"{told}; nothing was asked and nothing is spent; {'; '.join(missing)}; then run the same command again, "
            "which finds the trained model (rerank.n_users and rerank.candidates ask less)"
        )
    return plan


def in_words(plan: dict[str, Any], config: RerankConfig) -> str:
    """A plan in a sentence."""
    usd = plan["usd_likely"], plan["usd_high"]
    price = "at an unknown price" if None in usd else f"likely ${usd[0]:.4f}, at most ${usd[1]:.4f}"
    answered = f", {plan['cached']:,} answered already" if plan["cached"] else ""
    return (
        f"{plan['requests']:,} requests to {config.llm.model} with {plan['tokens']:,} tokens to read ({plan['count']})"
        f"{answered}, {price}"
    )


def audit(table: pa.Table) -> str:
    """How many answers there are and what they are like, in a sentence. table: of ORDERS, status and again."""
    status = Counter(table["status"].to_pylist())
    again = sum(table["again"].to_pylist())
    return (
        f"{status['listed']:,} of {len(table):,} questions are answered with a list; without one: {again:,} first "
        f"answers, {status['unlisted']:,} in the end; not answered: {status['unanswered']:,}"
    )


@dataclass(frozen=True)
class _Asked:
    """What is asked about a model's lists."""

    artifacts: ArtifactStore
    config: RerankConfig
    prepare: ArtifactRef
    model: ArtifactRef

    def questions(self) -> Iterator[Question]:
        """All of them, by user and number of candidates."""
        return questions(self._corpus, self._ranked, self.users, self.config)

    @cached_property
    def users(self) -> list[int]:
        return sampled_users(self._corpus, self._split.test, self.config)

    def with_answers(self, answers: Iterable[ProfileRow]) -> Iterator[pa.RecordBatch]:
        """Rows of ORDERS."""
        rows: list[dict[str, Any]] = []
        for question, answer in zip(self.questions(), answers, strict=True):
            said = json.loads(answer.summarization) if answer.summarization else {"items": None, "again": True}
            listed = said["items"] is not None
            came = answer.status != "missing" and not answer.worth_retrying
            rows.append(
                {
                    "user": question.user,
                    "user_id": self._corpus.user_ids[question.user].as_py(),
                    "n_candidates": question.n_candidates,
                    "candidates": question.candidates,
                    "items": said["items"],
                    "status": "listed" if listed else "unlisted" if came else "unanswered",
                    "again": said["again"] and came,
                    "reasoning": answer.reasoning or None,
                    **{name: getattr(answer, name) for name in _TOLD},
                }
            )
            if len(rows) == _BATCH:
                yield pa.RecordBatch.from_pylist(rows, ORDERS)
                rows = []
        yield pa.RecordBatch.from_pylist(rows, ORDERS)

    @cached_property
    def _corpus(self) -> TrainCorpus:
        return _corpus(self.artifacts, self.prepare)

    @cached_property
    def _split(self) -> Split:
        return load_split(self.artifacts, self.prepare)

    @cached_property
    def _ranked(self) -> Int32Array:
        """The model's lists. Raises SplitLeakage if it has seen what is held out."""
        settings = model_settings(self.artifacts, self.model)
        if settings.fit_on == "all":
            raise SplitLeakage(f"{self.model} has learnt from validation and test: its lists cannot be measured")
        if embed := embed_of(self.artifacts, [self.model]):
            check_made_of(self.artifacts, embed, self.prepare)
        vectors = load_vectors(self.artifacts, self.model)
        return top_k(learnt_from(self._split, settings), *vectors, max(self.config.candidates)).items


def _corpus(artifacts: ArtifactStore, prepare: ArtifactRef) -> TrainCorpus:
    ingest = ArtifactRef("ingest", artifacts.manifest(prepare).content.inputs["ingest"], artifacts.url)
    return train_corpus(artifacts, ingest, prepare)
