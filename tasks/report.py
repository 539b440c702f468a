"""What a stage shows in the Prefect UI. Outside a run, such as in a unit test, it only logs."""

import base64
import io
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import punctuation
from typing import Any, cast
from uuid import UUID

from matplotlib.figure import Figure
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, TagsContext, TaskRunContext, tags
from prefect.logging import get_run_logger
from prefect.logging.handlers import APILogHandler

LOGGER = "rlmrec"
_MARKUP = re.compile(
    r"[^\w\s,;:'\"().!?%$+=/|-]|_"  # of HTML or markdown
    r"|(?<=\w)[.](?=[^\W\d])|(?<=[^\W\d])[.](?=\w)|/(?=/)|(?<=/)/"  # of an address, which becomes a link
    r"|^[-+=.()!?]+|^\d+[.)]"  # at the beginning of a list, or under a headline
)
_DATA = "data:"
"""Begins the tag that names a run's data set."""


def in_run() -> bool:
    """Whether this code runs inside a Prefect flow or task."""
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def log() -> Any:
    """The logger of the project's own lines: in a run they go to that run's page and to `rlmrec run`."""
    run_logger: Any = get_run_logger() if in_run() else None
    return run_logger.getChild(LOGGER) if run_logger else logging.getLogger(LOGGER)


def send_log() -> None:
    """Send the lines so far to the server at once: a process that was told to end will send nothing more."""
    if in_run():
        APILogHandler().flush()


@contextmanager
def about(name: str) -> Iterator[None]:
    """Let the run's name, its tags and those of all within, and the keys of what is shown, carry a data set's name."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    with tags(f"{_DATA}{name}"):
        if run and not run.name.startswith(f"{name} "):
            with get_client(sync_client=True) as client:
                client.update_flow_run(run.id, name=f"{name} {run.name}", tags=[*run.tags, f"{_DATA}{name}"])
        yield


def is_part_of_run() -> bool:
    """Whether this code runs in a flow that another flow called."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.parent_task_run_id)


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Show a table in the UI."""
    if in_run():
        create_table_artifact(table=[_shown(row) for row in rows], key=_key(key), description=description)


def show_markdown(key: str, markdown: str, description: str) -> None:
    """Show a page of markdown in the UI."""
    if in_run():
        create_markdown_artifact(markdown=markdown, key=_key(key), description=description)


class Progress:
    """A progress bar in the UI, redrawn at most once in `every` seconds, since each update is a request."""

    def __init__(self, key: str, description: str, every: float = 5.0) -> None:
        self._key, self._description, self._every = _key(key), description, every
        self._drawn = -math.inf
        self._id: UUID | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` pieces are finished; the log line adds the note."""
        now = time.monotonic()
        if now - self._drawn < self._every and done < total:
            return
        self._drawn = now
        log().info("%s: %d of %d%s", self._description, done, total, f" ({note})" if note else "")
        if in_run():
            self._draw(100.0 * done / max(total, 1))

    def _draw(self, percent: float) -> None:
        if self._id is None:
            created = create_progress_artifact(progress=percent, key=self._key, description=self._description)
            self._id = cast(UUID, created)  # a coroutine only inside async code
        else:
            update_progress_artifact(self._id, progress=percent)


def picture(figure: Figure) -> str:
    """The figure as an image inside markdown."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    return f"![figure](data:image/png;base64,{base64.b64encode(file.getvalue()).decode()})"


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same columns as a markdown table; empty when there are none."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_text(text: object) -> str:
    """Somebody's text inside markdown: it reads as it is written, and neither HTML nor markdown in it works."""
    # A backslash is what Prefect's UI leaves out of texts and of cells alike; it shows an entity as it is spelt. A bar
    # does nothing outside of a table, whose rows `markdown_table` makes.
    flat = "".join(character if character.isprintable() else " " for character in " ".join(str(text).split()))
    return _MARKUP.sub(lambda found: re.sub(rf"[{re.escape(punctuation)}]", r"\\\g<0>", found[0]), flat)


def artifact_name(text: str) -> str:
    """`text` in the letters that Prefect allows in an artifact's key."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def minutes(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _key(name: str) -> str:
    """The key of something shown, which differs between data sets: Prefect makes a history of equal keys."""
    data = sorted(tag.removeprefix(_DATA) for tag in TagsContext.get().current_tags if tag.startswith(_DATA))
    return artifact_name("-".join([name, *data]))


def _cell(value: Any) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _inert(value) for name, value in row.items()}


def _inert(value: Any) -> Any:
    """A value as a cell of the UI, which reads texts as markdown."""
    if isinstance(value, str):
        return as_text(value)
    # NaN and infinity are no JSON and break the page.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
