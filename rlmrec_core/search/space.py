"""Which settings of a model are searched, and over which values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rlmrec_core.config.faults import SettingsError, settings_error
from rlmrec_core.config.registry import family_of
from rlmrec_core.config.search import SearchConfig, SearchRange, Value
from rlmrec_core.config.training import RunSettings, changed

_DIGITS = 4
"""Of a drawn number, so that people can read it and pass it on."""


@dataclass(frozen=True)
class Dimension:
    """One setting and its range.

    Attributes:
        name: Dotted, as in `RunSettings.flat`.
        range: The values it may take; they include the one at the start.
        whole: Whether only whole numbers will do.
        start: Its value where the search begins.
    """

    name: str
    range: SearchRange
    whole: bool
    start: Value

    def rounded(self, value: Value) -> Value:
        """A drawn value with a few digits, within the range."""
        if self.range.choices or self.whole:
            return value
        assert self.range.low is not None and self.range.high is not None
        return min(max(float(f"{value:.{_DIGITS}g}"), float(self.range.low)), float(self.range.high))


@dataclass(frozen=True)
class Space:
    """What a search varies about one model.

    Attributes:
        start: The model that the search begins with; what is not varied stays as it is there.
        dimensions: The settings that are varied.
    """

    start: RunSettings
    dimensions: tuple[Dimension, ...]

    def settings(self, values: Mapping[str, Value]) -> RunSettings:
        """The start with other values. Raises SettingsError if they make no valid run."""
        try:
            return RunSettings.model_validate(changed(self.start.model_dump(), values))
        except ValidationError as error:
            told = ", ".join(f"{name} = {value}" for name, value in values.items())
            raise SettingsError(f"the search draws {told}, which cannot be: {settings_error(error)}") from None


def space_of(start: RunSettings, config: SearchConfig) -> Space:
    """Every setting with a range of its own or in `config.ranges`; of `config.settings` alone where that names any.

    Raises SettingsError if a name is no setting of the model, has no range, or a range leaves the setting's bounds.
    """
    fields = dict(_fields(start))
    ranges = {name: found for name, field in fields.items() if (found := _declared(field))} | config.ranges
    for name in (*config.settings, *config.ranges):
        _check_name(name, fields, ranges, start)
    wanted = [name for name in ranges if name in (config.settings or ranges)]
    flat = start.flat()
    dimensions = tuple(
        Dimension(name, ranges[name].with_value(flat[name]), fields[name].annotation is int, flat[name])
        for name in wanted
    )
    space = Space(start, dimensions)
    for dimension in dimensions:
        for value in dimension.range.choices or (dimension.range.low, dimension.range.high):
            space.settings({dimension.name: value})  # type: ignore[dict-item]
    return space


def _fields(start: RunSettings) -> Iterator[tuple[str, FieldInfo]]:
    """The settings that decide what a model learns, by dotted name."""
    ignored = {"backbone", "variant", "seed", "device", "threads", "fit_on", "noise", "start_from"}
    ignored.update(family_of(start.backbone).ignores)
    sections: dict[str, BaseModel | None] = {
        "backbone_settings": start.backbone_settings, "alignment": start.alignment,
    }  # fmt: skip
    yield from (
        (name, field) for name, field in RunSettings.model_fields.items() if name not in ignored | sections.keys()
    )
    for prefix, section in sections.items():
        for name, field in type(section).model_fields.items() if section else ():
            yield f"{prefix}.{name}", field


def _declared(field: FieldInfo) -> SearchRange | None:
    return next((mark for mark in field.metadata if isinstance(mark, SearchRange)), None)


def _check_name(name: str, fields: Mapping[str, Any], ranges: Mapping[str, Any], start: RunSettings) -> None:
    model = f"{start.backbone} {start.variant}"
    if name not in fields:
        near = get_close_matches(name, fields, 1, 0.6)
        meant = f"did you mean {near[0]}? " if near else ""
        raise SettingsError(f"search: {model} has no setting {name}: {meant}it has {', '.join(fields)}")
    if name not in ranges:
        raise SettingsError(f"search: {name} of {model} has no range: give it one in search.ranges")
