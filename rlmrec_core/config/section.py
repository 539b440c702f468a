"""The base of every settings section, and which of its fields an artifact depends on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import to_jsonable_python


class Section(BaseModel):
    """Frozen settings of one stage; an unknown field is an error, so that a typing slip never passes silently.

    The text "none" empties a field that may be empty: neither TOML nor a command line has another word for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # it may hold a secret

    @model_validator(mode="before")
    @classmethod
    def _none_is_nothing(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        empty = {name for name, value in values.items() if isinstance(value, str) and value.lower() == "none"}
        return {name: None if name in empty and _may_be_none(cls, name) else value for name, value in values.items()}


class NotInKey:
    """The type of `NOT_IN_KEY`."""


NOT_IN_KEY: Final = NotInKey()
"""Marks a field that no artifact's bytes depend on: `timeout: Annotated[float, NOT_IN_KEY] = Field(60.0)`."""


@dataclass(frozen=True)
class InKey:
    """Marks a field that enters keys in another form than it is used in: what `of` makes of it.

    left_out: the form that keys leave out, where that is not the default's own.
    """

    of: Callable[[Any], Any]
    left_out: Any = None


def key_fields(settings: BaseModel) -> dict[str, Any]:
    """The part of `settings` that enters an artifact's key, as plain JSON.

    Left out are fields marked NOT_IN_KEY, and fields at their default, also those of sections within: a field that is
    added later changes no key. Whoever changes a default raises the version of the stages that read it.
    """
    found = {}
    for name, value in settings:
        field = type(settings).model_fields[name]
        if any(isinstance(mark, NotInKey) for mark in field.metadata):
            continue
        mark = next((mark for mark in field.metadata if isinstance(mark, InKey)), None)
        form = mark.of(value) if mark else value
        if mark and mark.left_out:
            plain = form == mark.left_out
        else:
            plain = not field.is_required() and _same(value, field.get_default(call_default_factory=True))
        if not plain:
            found[name] = _plain(form)
    return found


def _same(value: Any, default: Any) -> bool:
    sections = {type(side) for side in (value, default) if isinstance(side, BaseModel)}
    return len(sections) < 2 and bool(_plain(value) == _plain(default))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return key_fields(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return to_jsonable_python(value)


def _may_be_none(section: type[BaseModel], name: str) -> bool:
    field = section.model_fields.get(name)
    return field is not None and type(None) in get_args(field.annotation)
