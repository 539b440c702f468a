"""What went wrong, in one line for people; tracebacks go to the log, at level debug."""

import logging
import re
import traceback
from pathlib import Path

from pydantic import ValidationError

from rlmrec_core.config.faults import settings_error

_OWN = ("flows", "rlmrec_core", "storage", "tasks")
_TOLD = "_rlmrec_told"
ENGINES = ("prefect.flow_runs", "prefect.task_runs")
"""Loggers of Prefect's engines."""


def is_known(error: BaseException) -> bool:
    """Whether the error is one of this project's, whose message says what, where and the way out."""
    return isinstance(error, ValidationError) or type(error).__module__.partition(".")[0] in _OWN


def explain(error: BaseException) -> str:
    """The error in one line; one that nobody foresaw with its class."""
    if isinstance(error, ValidationError):
        return str(settings_error(error))
    said = str(error).strip() or repr(error)
    return said if is_known(error) else f"unexpected {type(error).__name__}: {said.splitlines()[0]}"


def of_state(message: str) -> str:
    """The error that ended a run, from the message of its final state, in which Prefect names its class."""
    found = re.match(r"(?:Flow|Task) run encountered an exception:? (\w+): (.*)", message, re.DOTALL)
    return found[2].strip() if found else message


def record(error: BaseException, log: Path) -> None:
    """Append the traceback to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.writelines(traceback.format_exception(error))


class OneLine(logging.Filter):
    """Of a known error Prefect's log keeps one line; its traceback is a line of level debug.

    Prefect writes a whole traceback for the task, for its flow and for the flow that called it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if record.levelno < logging.ERROR or error is None or not is_known(error):
            return True
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(logging.DEBUG):
            logger.handle(logging.makeLogRecord({**vars(record), "levelno": logging.DEBUG, "levelname": "DEBUG"}))
        if hasattr(error, _TOLD):
            return False
        setattr(error, _TOLD, True)
        record.msg, record.args, record.exc_info, record.exc_text = explain(error), (), None, None
        return True


def quiet_engines() -> None:
    """Have the loggers of Prefect's engines keep known errors short, in this process."""
    for name in ENGINES:
        logger = logging.getLogger(name)
        if not any(isinstance(one, OneLine) for one in logger.filters):
            logger.addFilter(OneLine())
