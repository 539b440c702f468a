"""The options that name a run's settings, and the settings that they mean."""

import tomllib
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import typer

from rlmrec_core.config import PipelineConfig, SettingsError, load_config

ConfigOption = Annotated[Path | None, typer.Option(help="TOML file with settings", exists=True, dir_okay=False)]
DatasetOption = Annotated[str | None, typer.Option(help="Data set whose settings are the start; default: sample")]
DataOption = Annotated[Path | None, typer.Option(help="Folder of the raw data", exists=True)]
DataNameOption = Annotated[str | None, typer.Option(help="Name of the data set; default: one of reader and path")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="One setting; may be repeated")
]


def settings(
    file: Path | None, dataset: str | None, data: Path | None, assignments: list[str], name: str | None = None
) -> PipelineConfig:
    """The settings of a file, a data set and single assignments, `section.field=value`, the latter above the former.

    Raises SettingsError.
    """
    overrides: dict[str, Any] = reduce(_with, map(_assignment, assignments), {"name": name} if name else {})
    if data:
        overrides = _with(overrides, (["ingest", "path"], str(data)))
    return _from_here(load_config(file, dataset, overrides))


def _from_here(config: PipelineConfig) -> PipelineConfig:
    """The same settings with folders made absolute: the worker runs in another folder."""
    raw = config.ingest.raw
    given = {name: getattr(raw, name) for name in ("path", "item_mapping", "user_mapping")}
    here = {name: _absolute(path) for name, path in given.items() if path}
    changes: dict[str, Any] = {"raw": raw.model_copy(update=here)} if here else {}
    if config.ingest.path:
        changes["path"] = _absolute(config.ingest.path)
    if changes:
        config = config.model_copy(update={"ingest": config.ingest.model_copy(update=changes)})
    own = config.train.backbone_settings
    model = own.get("cllm4rec", {}).get("model")
    if model and Path(model).expanduser().is_dir():  # else a name on the hub
        own = own | {"cllm4rec": own["cllm4rec"] | {"model": _absolute(model)}}
        config = config.model_copy(update={"train": config.train.model_copy(update={"backbone_settings": own})})
    return config


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _assignment(text: str) -> tuple[list[str], Any]:
    """`section.field=value` taken apart; the value as TOML, or as the bare text it is."""
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise SettingsError(f"--set {name!r}: expected SECTION.FIELD=VALUE, such as train.max_epochs=50")
    try:
        return name.split("."), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.split("."), value


def _with(tree: dict[str, Any], assignment: tuple[list[str], Any]) -> dict[str, Any]:
    (head, *rest), value = assignment
    inner = tree.get(head, {})
    return tree | {head: _with(inner if isinstance(inner, dict) else {}, (rest, value)) if rest else value}
