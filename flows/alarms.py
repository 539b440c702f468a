"""Alarms: an automation on the Prefect server for each entry of alarms.yaml."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound

FILE = "alarms.yaml"
_WEBHOOK = "webhook"
_FLOWS = ["rlmrec", "refresh-profiles", "retry-failed", "promote", "rollback"]
"""Whole runs. Their stages are runs, too, which need no alarm of their own; a stage alone has somebody watching."""


class NoSuchBlock(LookupError):
    """There is no block to be told: says how to make one."""


def create_alarms(client: SyncPrefectClient, block: str, file: Path) -> list[str]:
    """Create the automations of the file, or bring those of the same names up to date; returns the names.

    block: Type and name of the user's block, such as webhook/night or slack-webhook/team.
    Raises NoSuchBlock if the server has none.
    """
    automations = list(automations_of(yaml.safe_load(file.read_text(encoding="utf-8")), _block(client, block)))
    for automation in automations:
        known = client.read_automations_by_name(automation.name)
        if known:
            client.update_automation(known[0].id, automation)
        else:
            client.create_automation(automation)
    return [automation.name for automation in automations]


def automations_of(content: dict[str, Any], block: BlockDocument) -> Iterator[AutomationCore]:
    """An automation for each alarm, which tells `block`."""
    for alarm in content["alarms"]:
        yield AutomationCore(
            name=alarm["name"],
            description=alarm["description"],
            trigger=EventTrigger(
                expect={f"prefect.flow-run.{alarm['state']}"},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": _FLOWS},
                for_each={"prefect.resource.id"},
                posture="Reactive",
                threshold=1,
            ),
            actions=[_action(content, block)],
        )


def _action(content: dict[str, Any], block: BlockDocument) -> CallWebhook | SendNotification:
    assert block.block_type
    if block.block_type.slug != _WEBHOOK:
        return SendNotification(block_document_id=block.id, subject=content["subject"], body=content["body"])
    text = f"{content['subject']}\n{content['body']}"
    payload = '{"text": {% set text %}' + text + "{% endset %}{{ text|string|tojson }}}"
    return CallWebhook(block_document_id=block.id, payload=payload)


def _block(client: SyncPrefectClient, name: str) -> BlockDocument:
    slug, _, document = name.partition("/")
    try:
        return client.read_block_document_by_name(document, slug)
    except ObjectNotFound:
        raise NoSuchBlock(
            f"the server has no block {name!r}: make one on the page Blocks of the UI, such as a Webhook, a Slack "
            "Webhook or a Sendgrid Email, and name it TYPE/NAME, such as webhook/night"
        ) from None
