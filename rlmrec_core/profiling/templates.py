"""Prompt templates: read from the package `prompts` or from a folder of the user's own."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from rlmrec_core.canonical import digest_of
from rlmrec_core.config.text import ProfileConfig
from rlmrec_core.profiling.sources import Side

_PARTS: dict[Side, tuple[str, ...]] = {"item": ("with_description", "with_reviews"), "user": ("instruction",)}


class TemplateError(ValueError):
    """A template that is missing or lacks a part."""


@dataclass(frozen=True)
class Templates:
    """System instructions of one domain and side, by part, and the contract of input and output they all share."""

    version: str
    parts: tuple[tuple[str, str], ...]
    contract: str

    def instruction(self, part: str, max_words: int) -> str:
        """The system message: what to do, how to read the input and how to answer."""
        contract = Template(self.contract).safe_substitute(max_words=max_words)
        return f"{dict(self.parts)[part].strip()}\n\n{contract.strip()}"

    @property
    def digest(self) -> str:
        return digest_of([self.version, self.parts, self.contract])


def load_templates(domain: str, side: Side, prompts_dir: str | None) -> Templates:
    """The templates `<domain>/<side>.toml` and `contract.toml`; a folder without a contract uses the one shipped.

    Raises TemplateError naming the file and what it lacks.
    """
    shipped = files("prompts")
    folder = Path(prompts_dir) if prompts_dir else shipped
    own = folder / "contract.toml"
    contract = read_template(own if own.is_file() else shipped / "contract.toml", ("version", "text"))
    template = read_template(folder / domain / f"{side}.toml", ("version", *_PARTS[side]))
    version = f"{domain}/{side} {template['version']}, contract {contract['version']}"
    return Templates(version, tuple((part, template[part]) for part in _PARTS[side]), contract["text"])


def prompt_digest(config: ProfileConfig, side: Side) -> str:
    """sha256, in hex, of all the templates that one side's prompts are made of. Raises TemplateError."""
    return load_templates(config.domain, side, config.prompts_dir).digest


def read_template(file: Traversable, needed: tuple[str, ...]) -> dict[str, str]:
    """The parts of a file of templates. Raises TemplateError naming the file and what it lacks."""
    if not file.is_file():
        raise TemplateError(f"no prompt template {file}: add it, or leave prompts_dir empty to use those shipped")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{file} is not TOML: {error}") from error
    if lacking := [name for name in needed if not content.get(name)]:
        raise TemplateError(f"{file} lacks {', '.join(lacking)}: see prompts/generic for an example")
    return {name: str(content[name]) for name in needed}
