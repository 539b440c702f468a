"""A pause before money is spent, until somebody says yes in the UI."""

from collections.abc import Callable
from typing import Any

from prefect import pause_flow_run
from prefect.input import RunInput

from rlmrec_core.config import LlmConfig
from tasks import report

_PATIENCE = 7 * 24 * 3600
"""Seconds that a run waits for an answer."""


class NotApproved(Exception):
    """Somebody declined the cost, or it could not be told."""


class Approval(RunInput):
    """What the form asks."""

    approve: bool = False


def approved(config: LlmConfig, plan: Callable[[], dict[str, Any]]) -> None:
    """Return once the cost is approved; at once where it stays below the threshold, or where there is none.

    Raises NotApproved if it was declined.
    """
    limit = config.approve_above_usd
    if limit is None:
        return
    planned = plan()
    most = planned["usd_high"]
    if most is not None and most <= limit:
        return
    rows = [{"what": name, "value": "unknown" if value is None else value} for name, value in planned.items()]
    description = f"This run may cost more than ${limit}.\n\n{report.markdown_table(rows)}"
    report.log().info("paused: the plan may cost $%s, approve it in the UI", "unknown" if most is None else most)
    answer = pause_flow_run(wait_for_input=Approval.with_initial_data(description=description), timeout=_PATIENCE)
    if not answer.approve:
        raise NotApproved("the cost was not approved: nothing was asked, run again to be asked anew")
