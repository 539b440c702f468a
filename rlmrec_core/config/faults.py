"""What is wrong with settings, in words."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_SECRET = re.compile(r"key|password|secret|token$", re.IGNORECASE)
_LONGEST = 60


class SettingsError(ValueError):
    """Settings that cannot be used: one line for each fault, with its place, its value and the way out."""


def settings_error(error: ValidationError, root: type[BaseModel] = BaseModel) -> SettingsError:
    """What pydantic found wrong with settings of the class `root`, in words. Secrets in values are not shown."""
    faults = error.errors()
    above = {fault["loc"][:end] for fault in faults for end in range(len(fault["loc"]))}
    # What is wrong inside a list makes the list wrong, too.
    told = [_in_words(fault, root) for fault in faults if fault["loc"] not in above]
    return SettingsError("\n".join(dict.fromkeys(told)))


def quoted(name: str, value: Any) -> str:
    """A value to be shown in an error: short, without a secret."""
    if _SECRET.search(name):
        return "the value"
    text = re.sub(r"://[^/@\s]*@", "://***@", repr(value))
    text = re.sub(r"(://[^?\s]*)\?\S*", r"\1?***'", text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _in_words(fault: ErrorDetails, root: type[BaseModel]) -> str:
    place = [str(part) for part in fault["loc"]]
    where, value = ".".join(place), quoted(place[-1] if place else "", fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            return f"{where}: there is no such {'setting' if place[1:] else 'section'}{_nearest(root, place)}"
        case "literal_error":
            expected = str(fault["ctx"]["expected"])
            near = get_close_matches(str(fault["input"]), re.findall(r"'([^']*)'", expected), 1, 0.5)
            return f"{where}: {value} is none of {expected}" + (f"; did you mean {near[0]!r}?" if near else "")
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{where}: {value} stands where a table of settings belongs, such as [{where}] in TOML"
        case "value_error":
            return f"{where}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")
        case "missing":
            return f"{where}: is missing"
    return f"{where}: {value} {fault['msg'].replace('Input s', 's')}"


def _nearest(root: type[BaseModel], place: list[str]) -> str:
    """The setting that was probably meant; else those that there are."""
    *above, name = place
    section: type[BaseModel] | None = root
    for step in above:
        section = _section_of(section.model_fields[step]) if section and step in section.model_fields else None
    own = list(section.model_fields) if section else []
    prefix = "".join(f"{step}." for step in above)
    if near := get_close_matches(name, own, 1, 0.6):
        return f": did you mean {near[0]}?" if above else f": did you mean [{near[0]}]?"
    everywhere = {path.rpartition(".")[2]: path for path in _paths(root)}
    if near := get_close_matches(name, everywhere, 1, 0.8):
        return f": did you mean {everywhere[near[0]]}?"
    return f"; there are {', '.join(prefix + one for one in own)}" if own else ""


def _paths(root: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in root.model_fields.items():
        inner = _section_of(field)
        yield f"{prefix}{name}"
        if inner:
            yield from _paths(inner, f"{prefix}{name}.")


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    found = [field.annotation, *get_args(field.annotation)]
    return next((one for one in found if isinstance(one, type) and issubclass(one, BaseModel)), None)
