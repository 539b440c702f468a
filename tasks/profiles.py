"""What the stages that work on text share: the train corpus, keys, imported profiles, costs and the audit."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.dataset as pads

from rlmrec_core.config import ProfileConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.gates.figures import failures
from rlmrec_core.llm.ledger import open_ledger
from rlmrec_core.profiling import ProfileResult, TrainCorpus, prompt_digest
from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.shard import Shard, Workplace
from storage import ArtifactRef, ArtifactStore, ArtifactWriter
from tasks import report, shards
from tasks.audit import show_audit
from tasks.stage import Stage, StageResult

Side = Literal["item", "user"]
_REASONS, _LONGEST = 3, 160
"""How many reasons are told, and in how many characters each."""


Compute = Callable[[Workplace], ProfileResult]
"""Writes the profiles of one side, or a shard of them."""


def train_corpus(artifacts: ArtifactStore, ingest: ArtifactRef, prepare: ArtifactRef) -> TrainCorpus:
    """The train interactions with their reviews, and the texts of the items that prepare kept."""
    item_index = artifacts.table(prepare, "item_index")
    kept = pads.field("item_id").isin(item_index["item_id"].combine_chunks())
    return TrainCorpus.build(
        artifacts.table(prepare, "split"),
        artifacts.table(prepare, "user_index"),
        item_index,
        artifacts.dataset(ingest, "items").to_table(filter=kept),
    )


def profile_stage(side: Side, version: int, config: ProfileConfig, inputs: Mapping[str, str]) -> Stage:
    """The stage that profiles one side; its key covers the text of the prompt templates."""
    return Stage(f"{side}_profiles", version, ("profiles",), profile_settings(side, config), dict(inputs))


def profile_settings(side: Side, config: ProfileConfig) -> dict[str, Any]:
    """What one side's profiles depend on besides their inputs."""
    return {**key_fields(config), "prompts": prompt_digest(config, side)}


def run_profiles(
    stage: Stage,
    artifacts: ArtifactStore,
    compute: Compute,
    audit: Callable[[pa.Table], Mapping[str, Any]],
    n_shards: int,
    *,
    force: bool,
) -> StageResult:
    """The profiles, with a progress bar while they are written, and their costs and an audit afterwards.

    n_shards: how many workers have left behind. Profiles that could not be had leave the artifact unfinished: it says
    so, and the next run, which finds no finished one, asks for those alone.
    """

    def write(out: ArtifactWriter) -> None:
        place = workplace(stage, artifacts, stage.name.replace("_", " "))
        result = compute(replace(place, joined=shards.joined(stage, artifacts, n_shards, "profiles")))
        with accounted(stage.name, result, out):
            out.batches("profiles", result.schema, result.batches())

    result = stage.run(artifacts, write, force=force)
    shards.remove(stage, artifacts, n_shards)
    if result.unfinished:
        profiles = artifacts.table(result.ref, "profiles", ["status", "error"])
        result = replace(result, unfinished=lacking(failures(profiles), len(profiles), "profiles"))
    if result.status == "computed":
        figures = audit(artifacts.table(result.ref, "profiles", ["id", "summarization"]))
        show_audit(stage.name, artifacts, ArtifactRef("prepare", stage.inputs["prepare"], artifacts.url), figures)
    return result


def final(rows: list[ProfileRow]) -> list[ProfileRow]:
    """What was refused as useless stays replaced; what did not come is worth another try."""
    return [replace(row, worth_retrying=row.worth_retrying and not row.rejected) for row in rows]


def lacking(errors: Iterable[str], total: int, what: str) -> str:
    """How many of so many texts could not be had, and why, the most frequent reasons first."""
    reasons = Counter(" ".join(error.split()) for error in errors)
    why = "; ".join(f"{number} x {reason[:_LONGEST]}" for reason, number in reasons.most_common(_REASONS))
    return f"{reasons.total():,} of {total:,} {what} could not be had: {why}"


def run_profiles_shard(
    stage: Stage, shard: Shard, artifacts: ArtifactStore, compute: Compute, *, pays: bool, force: bool
) -> StageResult | None:
    """A worker's shard of the profiles: as an artifact, or None where it is answers in the ledger."""
    shards.check_worker(stage, shard, artifacts, pays=pays)
    name = f"{stage.name} {shard.title}"
    place = replace(workplace(stage, artifacts, name.replace("_", " ")), shard=shard)

    def write(out: ArtifactWriter) -> None:
        written = compute(place)
        out.batches("profiles", written.schema, written.batches())

    if not pays:
        return shards.run_shard(stage, shard, artifacts, "profiles", write, force)
    asked = compute(place)
    for _ in asked.batches():
        pass  # what counts is the answers in the ledger
    show_costs(name, asked.report)
    return None


def workplace(stage: Stage, artifacts: ArtifactStore, title: str) -> Workplace:
    """Where a text stage computes: the store's ledger, with a progress bar of this title."""
    progress = report.Progress(f"{title}-progress", title)
    return Workplace(artifacts.ledger_path, account_of(stage.name, stage.key), progress)


def profiles_at_once(config: ProfileConfig, workers: int) -> int:
    """How many of the workers may write profiles side by side; 0 where the work is not to be divided.

    Each asks at least one question at a time, and all of them together no more than one process would.
    """
    if config.generator == "llm":
        return min(workers, config.llm.concurrency) if config.llm.mode == "online" else 0
    return workers if config.generator == "extractive" else 0


def account_of(stage: str, key: str) -> str:
    """The name under which the ledger counts what making one artifact costs, over all the runs that it takes."""
    return f"{stage}/{key[:16]}"


def spent_on(artifacts: ArtifactStore, result: StageResult) -> dict[str, Any]:
    """Calls and US dollars that the ledger counts for an artifact that this run made; nothing for a hit."""
    if result.status == "hit" or not artifacts.ledger_path.exists():
        return {"calls": 0, "usd": 0.0, "possibly_billed_usd": 0.0}
    with open_ledger(artifacts.ledger_path) as ledger:
        spent = ledger.account(account_of(result.ref.stage, result.wanted))
    calls = sum(spent["calls"].values())
    return {"calls": calls, "usd": spent["usd"], "possibly_billed_usd": spent["possibly_billed_usd"]}


def imported_profiles(artifacts: ArtifactStore, ingest: ArtifactRef, side: Side) -> pa.Table:
    """The profiles that came with the raw data; no rows where there were none."""
    return artifacts.table(ingest, f"imported_{side}_profiles")


@contextmanager
def accounted(stage: str, result: ProfileResult, out: ArtifactWriter) -> Iterator[None]:
    """While a result is written: tells what it cost, stopped or not, and notes in `out` what could not be had."""
    try:
        yield
    except BaseException:
        _show_spent(stage, result.report)
        raise
    out.unfinished = result.unfinished
    show_costs(stage, result.report)


def _show_spent(stage: str, costs: Mapping[str, Any]) -> None:
    """What a stage that was stopped has spent so far, as a line of the log."""
    if spent := costs.get("ledger"):
        calls = ", ".join(f"{number} {state}" for state, number in spent["calls"].items()) or "none"
        maybe = f", and ${spent['possibly_billed_usd']:.4f} may be billed" if spent["possibly_billed_usd"] else ""
        report.log().info(
            "%s stopped: $%.4f spent on it so far%s (requests: %s); run again to go on, answers that came are kept",
            in_words(stage), spent["usd"], maybe, calls,
        )  # fmt: skip
        report.send_log()


def show_costs(stage: str, costs: Mapping[str, Any]) -> None:
    """Calls, tokens, dollars, faults and latencies of a stage, as a table."""
    rows = [{"what": in_words(name), "value": value} for name, value in flat(costs).items()]
    description = f"What {in_words(stage)} took: rows, seconds and, of a model server, calls, tokens and US dollars"
    report.show_table(f"{stage}-cost", rows, description)


def in_words(name: str) -> str:
    """`a.b_c` as people write it: `a: b c`."""
    return name.replace("_", " ").replace(".", ": ")


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A tree of figures as one level: `a.b`."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return leaves
