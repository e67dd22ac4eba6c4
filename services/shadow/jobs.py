"""What the queue's steps do with a job: the sync, or beside the old system only the note of what it would have done."""

from __future__ import annotations

from typing import Any

from services.bankverbindungen_sync import BankverbindungenSync
from services.beteiligte_sync_utils import BeteiligteSync
from services.core.errors import NotFound
from services.core.jobs.pending import claim_pending
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.shadow.journal import Flow, note
from services.shadow.preview import Preview, preview_beteiligter, preview_employee
from services.vmh_sync.job import SyncEvent

ACCOUNT = "CBankverbindungen"


async def handle_beteiligter(event: SyncEvent, context: Any) -> None:
    """Sync the CBeteiligte of an event, see `BeteiligteSync.handle`; when everything is read only, note it instead."""
    resources = current_resources()
    if not resources.settings.service.read_only:
        await BeteiligteSync(context).handle(event)
        return
    topic = f"vmh.beteiligte.{event.action}"
    await claim_pending(resources, topic, event.entity_id)
    await _note_beteiligter(resources, event.entity_id, context)


async def handle_bankverbindung(event: SyncEvent, context: Any) -> None:
    """Sync the account of an event, see `BankverbindungenSync.handle`; when everything is read only, note it."""
    resources = current_resources()
    if not resources.settings.service.read_only:
        look_again = BeteiligteSync(context).look_again
        await BankverbindungenSync(context, look_again=look_again).handle(event)
        return
    topic = f"vmh.bankverbindungen.{event.action}"
    await claim_pending(resources, topic, event.entity_id)
    espocrm = EspoCRMAPI(context)
    try:
        account = await espocrm.get_entity(ACCOUNT, event.entity_id)
    except NotFound:
        return
    entity_id = account.get("beteiligteId")
    if entity_id:
        await _note_beteiligter(resources, str(entity_id), context)


async def note_employee(kuerzel: str, context: Any, *, full_content: bool) -> None:
    """Note what the sync of an employee's calendar would have done."""
    resources = current_resources()
    preview = await preview_employee(resources, kuerzel, full_content=full_content)
    await _note("calendar", preview, resources, context)


async def _note_beteiligter(resources: Resources, entity_id: str, context: Any) -> None:
    preview = await preview_beteiligter(resources, entity_id)
    await _note("vmh", preview, resources, context)


async def _note(
    flow: Flow,
    preview: Preview,
    resources: Resources,
    context: Any,
) -> None:
    await note(resources, flow, preview)
    log(
        context,
        "info",
        "shadow.noted",
        subject=preview.subject,
        result=preview.result,
        writes=sum(preview.counts.values()),
        error=preview.error,
    )
