"""`rlmrec check`: everything that is wrong with raw data, before a run."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.terminal import plain
from rlmrec_core.config import PipelineConfig
from rlmrec_core.data import check

_COLUMNS = ("file", "row", "column", "value", "problem", "way out")


def check_data(config: PipelineConfig, console: Console, *, as_json: bool = False) -> bool:
    """Read all raw data and show every fault in one table; whether a run would take the data as it is."""
    checked = check(config.ingest, min_rating=config.prepare.min_rating)
    folder = f"{config.ingest.path}/"
    faults, repairs = (
        [_shown(fault, folder) for fault in table.to_pylist()] for table in (checked.faults, checked.repairs)
    )
    counts = {row["name"]: int(row["value"]) for row in checked.report.to_pylist()}
    if as_json:
        told = {"usable": checked.usable, "error": checked.error, "faults": faults, "repairs": repairs}
        console.print_json(json.dumps(told | {"counts": counts, "warnings": checked.warnings}), ensure_ascii=True)
        return checked.usable
    if faults or repairs:
        table = Table()
        for name in _COLUMNS:
            table.add_column(name, overflow="fold")
        for fault in [*faults, *repairs]:
            table.add_row(*(plain(fault[name]) for name in _COLUMNS))
        console.print(table)
    for name, count in counts.items():
        console.print(f"{name}: {count:,}", markup=False)
    for warning in checked.warnings:
        console.print(f"warning: {warning}", markup=False)
    console.print(_verdict(checked.error, len(faults)), markup=False)
    return checked.usable


def _shown(fault: dict[str, Any], folder: str) -> dict[str, Any]:
    row = fault.get("row") or (f"line {fault['line']}" if fault.get("line") else "")
    return {
        "file": fault["file"].removeprefix(folder),
        "row": row,
        "column": fault.get("column") or "",
        "value": fault.get("text") or "",
        "problem": fault["problem"],
        "way out": fault.get("way_out") or "",
    }


def _verdict(error: str | None, n_faults: int) -> str:
    if error:
        return f"error: {error}"
    if n_faults:
        return f"a run takes this data and skips these {n_faults} faults; ingest.strict refuses them"
    return "nothing is wrong with this data"
