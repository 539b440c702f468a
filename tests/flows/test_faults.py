"""Errors in one line, in the log of a run."""

import logging

import pytest
from prefect import flow, task

from flows.faults import explain, of_state
from rlmrec_core.config import SettingsError
from rlmrec_core.data import DataError
from tasks.stage import UNCACHED

pytestmark = pytest.mark.usefixtures("prefect_db")


@task(**UNCACHED)
def fail(error: Exception) -> None:
    raise error


@flow
def inner(error: Exception) -> None:
    fail(error)


@flow
def outer(error: Exception) -> None:
    inner(error)


def lines_of(error, caplog) -> list[str]:
    """What a run that ends in this error logs, formatted as a person reads it."""
    with caplog.at_level(logging.INFO), pytest.raises(type(error)):
        outer(error)
    form = logging.Formatter("%(message)s")
    return [form.format(line) for line in caplog.records if line.name.startswith("prefect.") and line.exc_info]


def test_a_known_error_is_told_once_and_without_a_traceback(caplog):
    error = DataError("shop.csv, row 7: 'soon' is not a time; correct the cell")
    assert lines_of(error, caplog) == []
    told = [line for line in caplog.records if str(error) == line.getMessage()]
    assert [line.levelname for line in told] == ["ERROR"]


def test_an_error_that_nobody_foresaw_keeps_its_traceback(caplog):
    assert any("Traceback" in line for line in lines_of(ZeroDivisionError("division by zero"), caplog))


def test_the_message_of_a_final_state_is_freed_of_its_frame():
    state = outer(DataError("shop.csv is empty; export it again"), return_state=True)
    assert of_state(state.message) == "shop.csv is empty; export it again"
    assert of_state("Flow run cancelled") == "Flow run cancelled"


def test_an_error_is_explained_in_its_own_words_or_named():
    assert explain(SettingsError("train.seeds: 'x'")) == "train.seeds: 'x'"
    assert explain(KeyError("x")) == "unexpected KeyError: 'x'"
