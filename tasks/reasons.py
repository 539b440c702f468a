"""Put the reasons of lists into the words of a language model."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from prefect import State, task

from rlmrec_core.config import ReasonsConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.explain import OUTSIDE, Reason, reasons_job, reasons_prompt_digest
from rlmrec_core.llm.errors import NothingUsable
from rlmrec_core.profiling import Plan, ProfileResult
from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.tables import WRITTEN_REASONS
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.profiles import accounted, final, lacking, workplace
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 1
_BATCH = 4_096
_ASSUMED = 300
"""Reasons that a plan is made of where there are no lists yet."""
_TOLD = ("model", "prompt_version", "prompt_hash", "tokens_in", "tokens_out", "cost_usd", "finish_reason", "attempts")
_SHOWN = 5


def reasons_stage(config: ReasonsConfig, recommend: ArtifactRef) -> Stage:
    """The stage under resolved settings; its key covers the text of the prompt template."""
    settings = {**key_fields(config), "prompt": reasons_prompt_digest(config)}
    return Stage("reasons", VERSION, ("reasons",), settings, {"recommend": recommend.key})


@task(name="reasons", **UNCACHED)
def write_reasons(
    config: ReasonsConfig, store: StoreConfig, recommend: ArtifactRef, force: bool = False
) -> StageResult | State[StageResult]:
    """The reasons of lists, each with a sentence of the model's where that names nothing but its evidence."""
    artifacts, config = ArtifactStore.open(store), config.resolved()
    stage, lists = reasons_stage(config, recommend), _Lists(artifacts, recommend)

    def write(out: ArtifactWriter) -> None:
        place = workplace(stage, artifacts, stage.name)
        job = reasons_job(lambda: lists.reasons(config), lists.names(), config, place.ledger, place.account)
        total = sum(1 for _ in lists.reasons(config))
        result = ProfileResult(map(final, job.rows()), "", total, place.progress, job.report)
        with accounted(stage.name, result, out):
            written = _written(result, lists.reasons(config), config)
            out.batches("reasons", WRITTEN_REASONS, lists.with_sentences(written))

    result = stage.run(artifacts, write, force=force)
    table = artifacts.table(result.ref, "reasons", ["generator", "error", "model", "tokens_in", "sentence"])
    if result.unfinished:
        without_answer = table.filter(table["tokens_in"].is_null())["error"].drop_null()
        result = replace(result, unfinished=lacking(without_answer.to_pylist(), len(table), "sentences"))
    figures = audit(table)
    report.log().info("reasons: %s", figures)
    if result.status == "computed":
        report.show_markdown("reasons-audit", _page(figures, table), "Who wrote the reasons, and a few to read")
    return as_state(result)


def plan_of_reasons(config: ReasonsConfig, store: StoreConfig, recommend: ArtifactRef) -> dict[str, Any]:
    """What the sentences about these lists would cost."""
    artifacts = ArtifactStore.open(store)
    lists = _Lists(artifacts, recommend)
    plan = reasons_job(lambda: lists.reasons(config), (), config, artifacts.ledger_path, "plan").plan()
    return plan.to_json()


def assumed_plan_of_reasons(config: ReasonsConfig, store: StoreConfig, prepare: ArtifactRef, k: int) -> dict[str, Any]:
    """What they would cost about lists of k places that are not made yet: reckoned from the titles of the data."""
    artifacts = ArtifactStore.open(store)
    n_users = artifacts.dataset(prepare, "user_index").count_rows()
    total = n_users * min(k, config.places or k)
    names = list(_names(artifacts, prepare).values()) or [""]
    drawn = np.random.default_rng(0).choice(len(names), (max(min(total, _ASSUMED), 1), 3))
    words = ("something", "described", "similarly")
    reasons = [
        Reason(number, names[item], names[one], names[other], words, "")
        for number, (item, one, other) in enumerate(drawn.tolist())
    ]
    plan = reasons_job(lambda: iter(reasons), (), config, artifacts.ledger_path, "plan").plan()
    return _scaled(plan, total).to_json()


def _scaled(plan: Plan, total: int) -> Plan:
    asked = plan.requests + plan.cached + plan.duplicates
    share = total / max(asked, 1)
    dollars = {name: value and round(value * share, 6) for name, value in vars(plan).items() if name.startswith("usd")}
    return replace(
        plan,
        rows=total,
        requests=total,
        cached=0,
        duplicates=0,
        tokens=round(plan.tokens * share),
        count="estimated",
        note="lists are not made yet: every place is counted, with names drawn from the data",
        **dollars,
    )


def reasons_of(artifacts: ArtifactStore, lists: ArtifactRef, keys: Mapping[str, Any]) -> ArtifactRef:
    """The artifact with the reasons of these lists: a model's if there are any, else the lists' own.

    keys: of the artifacts that belong to the lists, by stage.
    """
    for key in keys.get("reasons", ()):
        found = artifacts.find("reasons", key)
        if found and artifacts.manifest(found).content.inputs.get("recommend") == lists.key:
            return found
    return lists


def audit(table: pa.Table) -> str:
    """Who wrote the sentences, and how many of the model's named what they must not: WRITTEN_REASONS in words."""
    asked = table.filter(table["model"].is_valid())
    errors = asked["error"].drop_null()
    outside = pc.sum(pc.match_substring(errors, f": {OUTSIDE} ")).as_py() or 0
    by = Counter(asked["generator"].to_pylist())
    models = ", ".join(sorted(set(asked["model"].to_pylist())))
    if not len(asked):
        return f"all {len(table):,} sentences are made of their evidence without a language model"
    return (
        f"{by['llm']:,} of {len(table):,} sentences are by {models}; of {len(asked):,} that it was asked for, "
        f"{outside:,} named an item outside of their evidence and were replaced, and {len(errors) - outside:,} were "
        "replaced for other reasons"
    )


def _page(figures: str, table: pa.Table) -> str:
    written = table.filter(pc.equal(table["generator"], "llm"))["sentence"].slice(0, _SHOWN).to_pylist()
    quoted = "\n\n".join(f"> {report.as_text(sentence)}" for sentence in written)
    reasons = Counter(error[:160] for error in table["error"].drop_null().to_pylist()).most_common(_SHOWN)
    rows = [{"replaced": number, "why": report.as_text(error)} for error, number in reasons]
    return "\n\n".join(filter(None, [report.as_text(figures), report.markdown_table(rows) if rows else "", quoted]))


def _written(result: ProfileResult, reasons: Iterator[Reason], config: ReasonsConfig) -> Iterator[ProfileRow]:
    """A row for every reason; extractive ones from where a model is given up."""
    try:
        for rows in result.rows():
            for row in rows:
                next(reasons)
                yield row
    except NothingUsable as error:
        report.log().warning("the model's sentences are of no use, so that the extractive ones stand: %s", error)
        given_up = "not written by the model: given up, since none of its first answers was of use"
        for reason in reasons:
            yield ProfileRow(reason.id, "extractive", "ok", reason.plain, error=given_up, model=config.llm.model)


@dataclass(frozen=True)
class _Lists:
    """The reasons beside lists, with the names of what they speak of."""

    artifacts: ArtifactStore
    ref: ArtifactRef

    def reasons(self, config: ReasonsConfig) -> Iterator[Reason]:
        """Those that a sentence is wanted for."""
        for number, row in enumerate(self._rows()):
            reason = Reason(
                number,
                self._named[row["item_id"]],
                self._name(row["behaviour_item_id"]),
                self._name(row["text_item_id"]),
                tuple(row["words"]),
                row["sentence"],
            )
            if not reason.is_empty and row["rank"] <= (config.places or row["rank"]):
                yield reason

    def names(self) -> Iterator[str]:
        """What every item of the raw data is called, those that prepare left out included."""
        yield from _names(self.artifacts, self._prepare, all_items=True).values()

    def with_sentences(self, written: Iterator[ProfileRow]) -> Iterator[pa.RecordBatch]:
        """Rows of WRITTEN_REASONS, which say of what was not written by the model why."""
        following = next(written, None)
        rows: list[dict[str, Any]] = []
        for number, row in enumerate(self._rows()):
            row |= {"generator": "extractive", "error": None, **dict.fromkeys(_TOLD)}
            if following is not None and following.id == number:
                told = {name: getattr(following, name) for name in _TOLD}
                row |= {"generator": following.generator, "error": following.error, **told}
                row["sentence"] = following.summarization or row["sentence"]
                following = next(written, None)
            rows.append(row)
            if len(rows) == _BATCH:
                yield pa.RecordBatch.from_pylist(rows, WRITTEN_REASONS)
                rows = []
        if rows:
            yield pa.RecordBatch.from_pylist(rows, WRITTEN_REASONS)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for batch in self.artifacts.dataset(self.ref, "reasons").to_batches(batch_size=_BATCH):
            yield from batch.to_pylist()

    @cached_property
    def _named(self) -> dict[str, str]:
        return _names(self.artifacts, self._prepare)

    @cached_property
    def _prepare(self) -> ArtifactRef:
        inputs = self.artifacts.manifest(self.ref).content.inputs
        return ArtifactRef("prepare", inputs["prepare"], self.artifacts.url)

    def _name(self, item_id: str | None) -> str | None:
        return None if item_id is None else self._named[item_id]


def _names(artifacts: ArtifactStore, prepare: ArtifactRef, *, all_items: bool = False) -> dict[str, str]:
    """What people call each item that prepare kept, or each of the raw data, by its id: its title, or else the id."""
    ingest = ArtifactRef("ingest", artifacts.manifest(prepare).content.inputs["ingest"], artifacts.url)
    index = artifacts.table(prepare, "item_index")["item_id"].combine_chunks()
    wanted = None if all_items else pads.field("item_id").isin(index)
    table = artifacts.dataset(ingest, "items").to_table(["item_id", "title"], filter=wanted)
    titled = zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True)
    return {item_id: item_id for item_id in index.to_pylist()} | {one: title or one for one, title in titled}
