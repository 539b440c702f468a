"""Starting the command `rlmrec`, watching it, and the processes behind it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.tasks.by_hand import TINY
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Trains long enough to be killed in the middle.
SLOW = TINY | {"train": TINY["train"] | {"variants": ["base"], "max_epochs": 100_000, "patience": 100_000}}


@dataclass(frozen=True)
class Up:
    """A running `rlmrec up`."""

    process: "subprocess.Popen[str]"
    api: str
    folder: Path

    @property
    def store(self) -> Path:
        """The store that its deployments work on."""
        return self.folder / "artifacts"


def environment(**changes: str) -> dict[str, str]:
    """The tests' own, without what they told Prefect."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return inherited | {"OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "sk-test"} | changes


def start(*arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
    command = [BIN / "rlmrec", *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment(**variables), **output)


def start_up(folder: Path) -> Up:
    """`rlmrec up`, as soon as it is ready."""
    process = start("up", "--store", folder / "artifacts")
    assert process.stdout
    said = []
    for line in iter(process.stdout.readline, ""):
        said.append(line)
        if line.startswith("ready:"):
            return Up(process, line.split()[1] + "/api", folder)
    raise AssertionError(f"rlmrec up ended before it was ready: {said}")


def start_run(
    store: Path, config: Mapping[str, Any], up: Up | None = None, name: str | None = None
) -> "subprocess.Popen[str]":
    """`rlmrec run`, on what a running `rlmrec up` offers if it is another store's; name: of the data set."""
    settings = [part for name, value in flat(config) for part in ("--set", f"{name}={json.dumps(value)}")]
    settings += ["--name", name] if name else []
    return start("run", "--store", store, *settings, **({"PREFECT_API_URL": up.api} if up else {}))


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit status and output."""
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def prefect(up: Up, *arguments: str) -> tuple[int, str]:
    """A `prefect` command on the server, as a user would type it; exit status and output."""
    done = subprocess.run(
        [BIN / "prefect", *arguments],
        cwd=ROOT, env=environment(PREFECT_API_URL=up.api, PREFECT_HOME=str(up.folder / "prefect")), timeout=PATIENCE,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def last_run(store: Path) -> dict[str, Any]:
    return json.loads((store / "last-run.json").read_text())


def statuses(store: Path) -> dict[str, str]:
    """Hit or computed, by stage."""
    return {stage["stage"]: stage["status"] for stage in last_run(store)["stages"]}


def training(store: Path, since: float = 0.0) -> bool:
    """Whether a model was in the making after the time `since`."""
    return any(file.stat().st_mtime > since for file in store.glob(".work/train-*/checkpoint.safetensors"))


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def kill(relatives: list[psutil.Process], command: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to the processes with these words in their command lines; their guards hear nothing of it."""
    lines = [(relative, relative.cmdline()) for relative in relatives]
    found = [relative for relative, line in lines if command in " ".join(line) and "flows.guard" not in line]
    assert found, f"no process {command!r}"
    for process in found:
        process.send_signal(number)


def all_gone(relatives: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(relatives, timeout=40)[1]
