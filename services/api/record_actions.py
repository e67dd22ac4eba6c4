"""The buttons of a CBeteiligte in EspoCRM: sync now, preview, and create again in Advoware.

EspoCRM's server calls us for its user, whose rights it has checked, and signs the request (`services.api.access`). All
three may come twice: the sync finds nothing to do, the preview writes nothing, and what was created again is not gone.

Answers are a status and ``{"status": word}``, or ``{"reason": word}`` for what EspoCRM's dialog has to explain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.advoware_service import AdvowareService
from services.api.access import admit_action
from services.api.errors import ActionRefused, Answer, action_answer
from services.api.webhooks import is_entity_id
from services.beteiligte.gone import GoneBeteiligte, missing_key
from services.beteiligte_sync_utils import TOPIC_PREFIX, BeteiligteSync
from services.core.errors import (
    BitByLawError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from services.core.jobs.pending import enqueue_unless_pending
from services.core.jobs.queue import Enqueue
from services.core.log import log
from services.core.operation.foreign_calls import require_writable
from services.core.operation.pause import part_of
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.notification_utils import NotificationManager
from services.preview.rehearsal import rehearsal
from services.preview.texts import preview_of
from services.values.espocrm_query import equals
from services.vmh_sync.adressen.match import ENTITY_TYPE as ADRESSE
from services.vmh_sync.bankverbindungen.plan import ENTITY_TYPE as BANKVERBINDUNG
from services.vmh_sync.beteiligte.identity import has_lost_its_last_numbers
from services.vmh_sync.beteiligte.plan import ENTITY_TYPE
from services.vmh_sync.store import AuditEntry, SyncState, SyncStore

SYNC_PATH = "/vmh/beteiligte/actions/sync"
PREVIEW_PATH = "/vmh/beteiligte/actions/preview"
CREATE_AGAIN_PATH = "/vmh/beteiligte/actions/create-again"
TOPIC = f"{TOPIC_PREFIX}.sync_now"

#: As many as EspoCRM shows at once.
MAX_IDS = 200
#: EspoCRM's server waits 20 seconds.
ANSWER_SECONDS = 16.0
ENQUEUE_SECONDS = 7.0
PENDING_SECONDS = 5 * 60
#: The status of what Advoware does not know any more.
GONE = "deleted_in_advoware"
CREATED_AGAIN = "Der Beteiligte wird in Advoware neu angelegt."

#: What of a record names what it was in Advoware, as it is before the first sync.
UNLINKED: dict[str, Any] = {
    **dict.fromkeys(
        ("betnr", "advowareRowId", "advowareLastSync", "kommunikationHash"),
    ),
    **dict.fromkeys(("syncNextRetry", "syncAutoResetAt", "syncErrorMessage")),
    "syncRetryCount": 0,
    "syncStatus": "pending_sync",
}
UNLINKED_PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    ADRESSE: (
        "advowareId",
        {
            "advowareId": None,
            "advowareRowId": None,
            "advowareLastSync": None,
            "syncStatus": "pending_sync",
        },
    ),
    BANKVERBINDUNG: (
        "advowareKontoId",
        {
            "advowareKontoId": None,
            "advowareLastSync": None,
            "syncStatus": None,
            "syncErrorMessage": None,
        },
    ),
}


@dataclass(frozen=True)
class _Admitted:
    """A request that was admitted."""

    resources: Resources
    ids: list[str]
    context: Any


async def sync_now(request: Any, enqueue: Enqueue, context: Any) -> Answer:
    """Enqueue the sync of ``{"ids": [...]}`` or ``{"id": ...}``, ahead of any pause after failures.

    200 ``{"status": "queued", "count": n}``; further answers: `_answered`.
    """

    async def act(admitted: _Admitted) -> dict[str, Any]:
        await _enqueue(admitted, enqueue)
        return {"status": "queued", "count": len(admitted.ids)}

    return await _answered(request, SYNC_PATH, context, act)


async def preview(request: Any, context: Any) -> Answer:
    """What the sync of ``{"id": ...}`` would do; nothing is written anywhere.

    200 ``{"status": "preview", "result", "changes", "held", "tasks"}``, see `preview_of`; further answers: `_answered`.
    """

    async def act(admitted: _Admitted) -> dict[str, Any]:
        shown = await rehearsed_preview(admitted.resources, admitted.ids[0], context)
        return {"status": "preview", **shown}

    return await _answered(request, PREVIEW_PATH, context, act)


async def rehearsed_preview(
    resources: Resources,
    entity_id: str,
    context: Any = None,
) -> dict[str, Any]:
    """What the sync of a record would do: ``{"result", "changes", "held", "tasks"}``, see `preview_of`.

    Raises:
        NotFound: EspoCRM has no such record.
        ForeignSystemError, ConfigurationError: a system does not answer.
    """
    async with rehearsal(resources) as (rehearsing, rehearsed):
        sync = BeteiligteSync(context, resources=rehearsing)
        outcome = await sync.rehearse(entity_id)
    if outcome.result == "deleted":
        raise NotFound("EspoCRM", "no such record")
    return {"result": outcome.result, **preview_of(rehearsed)}


async def create_again(request: Any, enqueue: Enqueue, context: Any) -> Answer:
    """Let the Beteiligter of ``{"id": ...}`` be created in Advoware again, where it is gone.

    200 ``{"status": "queued", "formerNumber": its betNr}``; 409 if the record does not show that it is gone
    (``not_gone``), if Advoware knows the number (``is_there``) or seems to be restored from a backup
    (``restored``); further answers: `_answered`.
    """

    async def act(admitted: _Admitted) -> dict[str, Any]:
        with part_of("vmh"):
            await require_writable(admitted.resources)
            betnr = await _Recreation(admitted).prepare(admitted.ids[0])
        try:
            await _enqueue(admitted, enqueue)
        except Unavailable:  # the cron finds it by its status
            log(context, "warning", "actions.left_to_cron", entity_id=admitted.ids[0])
        return {"status": "queued", "formerNumber": betnr}

    return await _answered(request, CREATE_AGAIN_PATH, context, act)


async def _answered(
    request: Any,
    path: str,
    context: Any,
    act: Callable[[_Admitted], Awaitable[dict[str, Any]]],
) -> Answer:
    """Admit the request, act, and say how it ended.

    400 ``invalid``, 401 ``not_admitted``, 404 ``unknown``, 409 ``busy`` or a word of the action's own, 503
    ``not_set_up``, ``slow`` or ``unavailable``.
    """
    resources = current_resources()
    try:
        await admit_action(request, path, resources, context)
        limit = MAX_IDS if path == SYNC_PATH else 1
        admitted = _Admitted(resources, _ids(request.body, limit), context)
        async with asyncio.timeout(ANSWER_SECONDS):
            return 200, await act(admitted)
    except (BitByLawError, TimeoutError) as error:
        status, body = action_answer(error)
        log(
            context,
            "warning",
            "actions.failed",
            path=path,
            reason=body["reason"],
            error=type(error).__name__,
        )
        return status, body


def _ids(body: Any, limit: int) -> list[str]:
    """The ids of a body with the one key ``id`` or ``ids``.

    Raises:
        InvalidInput: it has another shape.
    """
    if not isinstance(body, dict) or len(body) != 1:
        raise InvalidInput("the body must be an object with id or ids")
    ids = [body["id"]] if "id" in body else body.get("ids")
    if not isinstance(ids, list) or not 0 < len(ids) <= limit:
        raise InvalidInput(f"expected 1 to {limit} ids")
    if not all(is_entity_id(item) for item in ids):
        raise InvalidInput("not an id")
    return list(dict.fromkeys(ids))


async def _enqueue(admitted: _Admitted, enqueue: Enqueue) -> None:
    await enqueue_sync_now(admitted.resources, enqueue, admitted.ids)


async def enqueue_sync_now(
    resources: Resources,
    enqueue: Enqueue,
    ids: list[str],
) -> list[str]:
    """Enqueue the sync of each record that does not wait for one of this kind already; returns the ids of these.

    Raises:
        Unavailable: the queue or Redis is down.
    """
    timestamp = resources.clock().isoformat()
    events = {
        entity_id: {
            "entity_id": entity_id,
            "action": "sync_now",
            "source": "hand",
            "timestamp": timestamp,
        }
        for entity_id in ids
    }
    return await enqueue_unless_pending(
        resources,
        enqueue,
        TOPIC,
        events,
        pending_seconds=PENDING_SECONDS,
        timeout_seconds=ENQUEUE_SECONDS,
    )


class _Recreation:
    """Makes a record that is gone from Advoware one that was never there, so that the ordinary sync creates it."""

    def __init__(self, admitted: _Admitted) -> None:
        self._resources = admitted.resources
        self._espocrm = EspoCRMAPI(admitted.context, resources=admitted.resources)
        self._advoware = AdvowareService(admitted.context, resources=admitted.resources)
        self._sync = BeteiligteSync(admitted.context, resources=admitted.resources)
        self._notifications = NotificationManager(
            self._espocrm,
            admitted.context,
            resources=admitted.resources,
        )
        self._gone = GoneBeteiligte(self._espocrm, self._advoware, self._notifications)

    async def prepare(self, entity_id: str) -> str | None:
        """Forget the number, inside the record's lock; returns it.

        Who has taken in another record in a merge gets the number of that one, if Advoware still knows it: creating
        would double him.

        The record itself is written last: whatever breaks off before, the button can be pressed again.

        Raises:
            ActionRefused: the record or Advoware says that it is not gone.
            EntityBusy: the record is being synced.
        """
        store = SyncStore(await self._resources.database())
        async with self._sync.acquire_sync_lock(entity_id):
            espo = await self._espocrm.get_entity(ENTITY_TYPE, entity_id)
            if espo.get("syncStatus") != GONE:
                raise ActionRefused("not_gone")
            state = await store.load(ENTITY_TYPE, entity_id)
            betnr = _known_number(espo, state)
            if betnr:
                await self._require_gone(betnr, store)
                await store.forget_beteiligter(
                    entity_id,
                    betnr,
                    _audit_entry(entity_id, betnr),
                    self._resources.now(),
                )
            await self._unlink_parts(entity_id)
            spare = await self._gone.spare_number(espo, store)
            fields = {**UNLINKED, "betnr": int(spare) if spare else None}
            await self._espocrm.update_entity(ENTITY_TYPE, entity_id, fields)
            await self._notifications.withdraw([missing_key(entity_id)], CREATED_AGAIN)
        return betnr or None

    async def _require_gone(self, betnr: str, store: SyncStore) -> None:
        try:
            await self._advoware.get_beteiligter(betnr)
        except NotFound:
            if await has_lost_its_last_numbers(int(betnr), store, self._advoware):
                raise ActionRefused("restored") from None
            return
        raise ActionRefused("is_there")

    async def _unlink_parts(self, entity_id: str) -> None:
        for entity_type, (link, attributes) in UNLINKED_PARTS.items():
            rows = self._espocrm.search_entities(
                entity_type,
                [equals("beteiligteId", entity_id)],
                [link],
            )
            linked = [row["id"] async for row in rows if row.get(link) is not None]
            for row_id in linked:
                await self._espocrm.update_entity(entity_type, row_id, dict(attributes))


def _known_number(espo: Mapping[str, Any], state: SyncState | None) -> str:
    """The number of a record, or that which it had at its last sync; empty if it has none."""
    return str(espo.get("betnr") or (state.advoware_id if state else None) or "")


def _audit_entry(entity_id: str, betnr: str) -> AuditEntry:
    line = {"field": "betnr", "side": "espocrm", "old": betnr, "new": None}
    return AuditEntry(
        ENTITY_TYPE,
        entity_id,
        TOPIC,
        "hand",
        "create_again",
        0.0,
        betnr,
        [line],
    )
