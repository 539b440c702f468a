"""Verdicts on figures: within their limits or not, by themselves and against the promoted run."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rlmrec_core.config.gates import Check, GatesConfig
from rlmrec_core.gates.figures import Figure, Unit

Outcome = Literal["passed", "warned", "stopped", "off"]


@dataclass(frozen=True)
class Verdict:
    """What a gate says of a figure.

    Attributes:
        figure: The figure.
        before: The promoted run's; None where it had none.
        limits: What it was measured by, in short: -30% is the largest fall, +100% the largest rise.
        outcome: What that comes to.
        reason: Which limit it breaks, in one line; None if none.
    """

    figure: Figure
    before: float | None
    limits: str
    outcome: Outcome
    reason: str | None = None


@dataclass(frozen=True)
class _Limit:
    """One bound of a figure: `high` ones may not be exceeded, others not fallen below."""

    bound: float
    is_upper: bool
    words: str
    short: str
    spared: bool
    """Whether breaking it warns only."""

    def broken(self, figure: Figure) -> Literal["surely", "perhaps"] | None:
        """Surely where the whole interval lies beyond the bound, perhaps where the value alone does."""
        near = figure.low if self.is_upper else figure.high
        if not self._is_beyond(figure.value):
            return None
        return "surely" if near is None or self._is_beyond(near) else "perhaps"

    def _is_beyond(self, value: float) -> bool:
        return value > self.bound if self.is_upper else value < self.bound


def judge(
    figures: Iterable[Figure],
    config: GatesConfig,
    before: Mapping[str, float],
    other_settings: Collection[str] = (),
) -> list[Verdict]:
    """A verdict on each figure.

    before: the promoted run's figures by `what`; empty where there is none. other_settings: figures that come about
    under other settings than the promoted run's, by `what`: their changes warn only.
    """
    return [
        _verdict(figure, getattr(config, figure.check), before.get(figure.what), figure.what in other_settings)
        for figure in figures
    ]


def _verdict(figure: Figure, check: Check, before: float | None, incomparable: bool) -> Verdict:
    limits = list(_limits(check, figure.unit, before, incomparable))
    words = ", ".join(limit.short for limit in limits)
    if check.action == "off":
        return Verdict(figure, before, words, "off")
    verdict = Verdict(figure, before, words, "passed")
    for limit in limits:
        broken = limit.broken(figure)
        if not broken or verdict.outcome == "stopped":
            continue
        stops = broken == "surely" and check.action == "stop" and not limit.spared
        chance = "" if broken == "surely" else ", though by chance alone it may be outside"
        reason = f"{figure.what}: {in_words(figure.value, figure.unit)}, allowed is {limit.words}{chance}"
        verdict = replace(verdict, outcome="stopped" if stops else "warned", reason=reason)
    return verdict


def _limits(check: Check, unit: Unit, before: float | None, incomparable: bool) -> Iterator[_Limit]:
    yield from _absolute(check, unit, before)
    yield from _relative(check, unit, before, incomparable)


def _absolute(check: Check, unit: Unit, before: float | None) -> Iterator[_Limit]:
    for bound, is_upper, word in ((check.least, False, "at least"), (check.most, True, "at most")):
        if bound is not None:
            kept = before is not None and (before <= bound if is_upper else before >= bound)
            words = f"{word} {in_words(bound, unit)}"
            yield _Limit(bound, is_upper, words, words, check.only_if_new and not kept)


def _relative(check: Check, unit: Unit, before: float | None, incomparable: bool) -> Iterator[_Limit]:
    if not before or before < 0:
        return  # of nothing there is no share
    note = " under other settings" if incomparable else ""
    for share, is_upper, word in ((check.fall, False, "below"), (check.rise, True, "above")):
        if share is not None:
            bound = before * (1 + share if is_upper else 1 - share)
            words = f"at most {share:.0%} {word} the promoted run's {in_words(before, unit)}{note}"
            yield _Limit(bound, is_upper, words, f"{'+' if is_upper else '-'}{share:.0%}", incomparable)


def in_words(value: float, unit: Unit) -> str:
    """The value as people read it."""
    match unit:
        case "count":
            return f"{value:,.0f}"
        case "share":
            return f"{value:.1%}"
        case "days":
            return f"{value:,.1f} days"
        case "usd":
            return f"${value:,.2f}"
    return f"{value:.4f}"
