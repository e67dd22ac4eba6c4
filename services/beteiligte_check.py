"""The safety net of the Beteiligte sync: find every record that needs one, whatever event was lost.

The state of EspoCRM decides, not the queue: what was never enqueued, failed, or was cut off is found by its status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError

from services.advoware_service import AdvowareService
from services.beteiligte.gone import GoneBeteiligte, deleted_problem
from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    EntityBusy,
    NotFound,
    Unavailable,
)
from services.core.jobs.look_again import LEFT_BEHIND_SECONDS, Notes
from services.core.jobs.pending import enqueue_unless_pending
from services.core.jobs.queue import Enqueue
from services.core.locks import beteiligte_lock_key, held_lock, record_lock
from services.core.log import log
from services.core.operation.cron_runs import note_oldest_unsynced
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.kommunikation_sync_utils import ENTITY_TYPE as KOMMUNIKATION
from services.notification_utils import NotificationManager
from services.values.espocrm_query import (
    PAGE_SIZE,
    Where,
    all_of,
    any_of,
    before,
    equals,
    is_in,
    is_null,
    parse_date_time,
)
from services.values.merge import base_from_json, text_of
from services.vmh_sync.beteiligte.create import ENTITY_TYPE
from services.vmh_sync.beteiligte.status import STALE_HOURS
from services.vmh_sync.kommunikation.memory import has_unreported
from services.vmh_sync.store import SyncState, SyncStore

TOPIC = "vmh.beteiligte.sync_check"
LOCK_KEY = "sync_lock:beteiligte_check"
LOCK_SECONDS = 120
#: A sync takes seconds; a record that shows syncing for longer was left behind.
STUCK_MINUTES = 15
#: While a job waits it is not enqueued again; should it be lost, the record is found again after this time.
PENDING_SECONDS = 60 * 60
ENQUEUE_SECONDS = 20.0
#: In Redis: the id after which the next run looks for records that are gone; losing it only starts again.
DELETED_CURSOR = "beteiligte_check:deleted_after"
#: The categories of records that wait for a first try.
WAITING = frozenset({"modified", "new"})
#: A category whose pages keep failing is left to the next run.
MAX_PAGE_FAILURES = 3


@dataclass(frozen=True)
class Category:
    """Records that need a sync for one reason: where they are found, and which field names the Beteiligte."""

    name: str
    where: Sequence[Where]
    order_by: str
    entity_type: str = ENTITY_TYPE
    id_field: str = "id"


def categories(now: datetime) -> list[Category]:
    """The categories in the order of their urgency: people's edits first, routine last. ``now`` is aware."""
    stuck_since = now - timedelta(minutes=STUCK_MINUTES)
    stale_since = now - timedelta(hours=STALE_HOURS)
    due = any_of(is_null("syncNextRetry"), before("syncNextRetry", now))
    stale = any_of(is_null("advowareLastSync"), before("advowareLastSync", stale_since))
    return [
        Category("modified", [equals("syncStatus", "dirty")], "modifiedAt"),
        Category("new", [equals("syncStatus", "pending_sync")], "createdAt"),
        Category("failed", [equals("syncStatus", "failed"), due], "syncNextRetry"),
        Category(
            "stuck",
            [equals("syncStatus", "syncing"), before("modifiedAt", stuck_since)],
            "modifiedAt",
        ),
        Category(
            "permanently_failed",
            [
                equals("syncStatus", "permanently_failed"),
                before("syncAutoResetAt", now),
            ],
            "syncAutoResetAt",
        ),
        # An edit of a part sends no webhook of its own. A failed one is its CBeteiligte's failure as well.
        Category(
            "modified",
            [is_in("syncStatus", ["pending_sync", "dirty"])],
            "modifiedAt",
            "CAdressen",
            "beteiligteId",
        ),
        Category(
            "failed",
            [
                any_of(
                    equals("syncStatus", "failed"),
                    all_of(is_null("syncStatus"), is_null("advowareKontoId")),
                ),
            ],
            "modifiedAt",
            "CBankverbindungen",
            "beteiligteId",
        ),
        Category(
            "stale",
            [is_in("syncStatus", ["clean", "conflict"]), stale],
            "advowareLastSync",
        ),
    ]


class BeteiligteCheck:
    """One run of the check. ``context`` is the step's FlowContext or None."""

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._notifications = NotificationManager(
            self._espocrm,
            context,
            resources=self._resources,
        )
        advoware = AdvowareService(context, resources=self._resources)
        self._gone = GoneBeteiligte(self._espocrm, advoware, self._notifications)
        self._oldest_change: datetime | None = None

    async def run(self, enqueue: Enqueue) -> dict[str, int]:
        """Enqueue a ``sync_check`` for each record that needs one, each once, at most ``VMH_CRON_LIMIT``.

        Returns the number of enqueued records per category, ``total``, ``waiting`` (already in the queue) and
        ``errors``. A category or page that cannot be read does not stop the others. While another worker runs the
        check, nothing is done.

        Raises:
            Unavailable: Redis or the queue is down.
        """
        try:
            async with held_lock(self._resources.redis, LOCK_KEY, LOCK_SECONDS):
                counts = await self._run(enqueue)
        except EntityBusy:
            counts = Counter()
        summary = {"total": 0, "waiting": 0, "errors": 0} | dict(counts)
        log(self._context, "info", "beteiligte_check.finished", **summary)
        return summary

    async def _run(self, enqueue: Enqueue) -> Counter[str]:
        counts: Counter[str] = Counter()
        limit = self._resources.settings.vmh.cron_limit
        counts["notified"] = await self._notifications.retry_unfinished()
        found = [("asked", await self._asked(counts))]
        for category in categories(self._resources.now()):
            ids = await self._ids(category, counts)
            found.append((category.name, ids))
        found.append(("deleted", await self._deleted(counts)))
        await note_oldest_unsynced(self._resources, self._oldest_change)
        for name, ids in _shares(found, limit):
            enqueued = await self._enqueue(name, ids, enqueue, counts)
            counts[name] += enqueued
            counts["total"] += enqueued
        return counts

    async def _asked(self, counts: Counter[str]) -> list[str]:
        """The records that a user has asked to be looked at again, where a crash has kept it from happening."""
        before = self._resources.now() - timedelta(seconds=LEFT_BEHIND_SECONDS)
        try:
            notes = Notes(await self._resources.database())
            return await notes.left_behind(
                ENTITY_TYPE,
                before,
                self._resources.settings.vmh.cron_limit,
            )
        except BitByLawError as error:
            counts["errors"] += 1
            log(
                self._context,
                "error",
                "beteiligte_check.notes_not_read",
                error=type(error).__name__,
            )
            return []

    # -- lost deletions -------------------------------------------------------------------------------------------

    async def _deleted(self, counts: Counter[str]) -> list[str]:
        """Of the next records that were synced once, those that EspoCRM does not list any more.

        Their sync finds out whether they are gone; several that certainly are become one task here. A run asks for one
        page, so that all get their turn, also if one page cannot be read.
        """
        try:
            store = SyncStore(await self._resources.database())
            known = await self._next_known(store)
            missing = await self._not_listed(known)
            if len(missing) > 1:
                return await self._notify_deleted(missing, store)
            return missing
        except (BitByLawError, RedisError) as error:
            counts["errors"] += 1
            log(
                self._context,
                "error",
                "beteiligte_check.deleted_not_checked",
                error=type(error).__name__,
            )
            return []

    async def _next_known(self, store: SyncStore) -> list[str]:
        """The next page of records that were synced once; the one after it is the next run's."""
        redis = self._resources.redis
        after = str(await redis.get(DELETED_CURSOR) or "")
        known = await store.live_entities(ENTITY_TYPE, after, PAGE_SIZE)
        cursor = ""
        if len(known) == PAGE_SIZE:
            cursor = known[-1]
        await redis.set(DELETED_CURSOR, cursor)
        return known

    async def _not_listed(self, known: list[str]) -> list[str]:
        """Those of the records that EspoCRM does not list."""
        if not known:
            return []
        listed = set()
        wanted = [is_in("id", known)]
        async for row in self._espocrm.search_entities(ENTITY_TYPE, wanted, ["id"]):
            listed.add(row["id"])
        return [entity_id for entity_id in known if entity_id not in listed]

    async def _notify_deleted(self, missing: list[str], store: SyncStore) -> list[str]:
        """Notify of all records that were deleted in one task, and forget them; returns the others."""
        deleted, others = await self._sorted_missing(missing, store)
        if len(deleted) < 2:
            return missing
        problems = []
        for entity_id, state in deleted.items():
            betnr = str(state.advoware_id)
            problems.append(deleted_problem(entity_id, betnr, _last_name(state)))
        await self._notifications.notify_many(problems)
        for entity_id, state in deleted.items():
            await self._forget(entity_id, state, store)
        log(
            self._context,
            "warning",
            "beteiligte_check.deleted_many",
            records=len(deleted),
        )
        return others

    async def _sorted_missing(
        self,
        missing: list[str],
        store: SyncStore,
    ) -> tuple[dict[str, SyncState], list[str]]:
        """The records that were deleted, with their states, and the others."""
        deleted: dict[str, SyncState] = {}
        others: list[str] = []
        for entity_id in missing:
            state = await store.load(ENTITY_TYPE, entity_id)
            if state is not None and await self._is_deleted(entity_id, state, store):
                deleted[entity_id] = state
            else:
                others.append(entity_id)
        return deleted, others

    async def _is_deleted(
        self,
        entity_id: str,
        state: SyncState,
        store: SyncStore,
    ) -> bool:
        """Whether a record is gone and Advoware still has it; what else has become of it its own sync finds out.

        Raises:
            ForeignSystemError: EspoCRM or Advoware does not answer, and will not for the next one.
        """
        if state.advoware_id is None or not await self._is_gone(entity_id):
            return False
        contacts = await store.load(KOMMUNIKATION, entity_id)
        if contacts is not None and has_unreported(contacts, state.advoware_id):
            return False
        return (
            await self._gone.fate_of(entity_id, state.advoware_id)
        ).word == "deleted"

    async def _is_gone(self, entity_id: str) -> bool:
        """Whether a direct read does not find the record; a list may be wrong.

        Raises:
            Unavailable: EspoCRM does not answer, and will not for the next one.
        """
        try:
            await self._espocrm.get_entity(ENTITY_TYPE, entity_id)
        except NotFound:
            return True
        except (Unavailable, ConfigurationError):
            raise
        except BitByLawError:  # its own sync shows it
            return False
        return False

    async def _forget(self, entity_id: str, state: SyncState, store: SyncStore) -> None:
        """Note that the record is gone. A run that is working on it finds that out itself."""
        lock_seconds = self._resources.settings.vmh.lock_seconds
        try:
            async with record_lock(
                self._resources,
                beteiligte_lock_key(entity_id),
                lock_seconds,
            ):
                if state.advoware_id is not None:
                    await store.release_parts(
                        state.advoware_id,
                        entity_id,
                        self._resources.now(),
                    )
                await store.mark_deleted(ENTITY_TYPE, entity_id, self._resources.now())
        except EntityBusy:
            log(self._context, "info", "beteiligte_check.busy", entity_id=entity_id)

    # -- categories -----------------------------------------------------------------------------------------------

    async def _ids(self, category: Category, counts: Counter[str]) -> list[str]:
        """The ids of a category, oldest first. All pages are read before the first record leaves the category."""
        ids: list[str] = []
        offset = failures = 0
        while failures < MAX_PAGE_FAILURES:
            rows = await self._page(category, offset, counts)
            if rows is None:
                failures += 1
                offset += PAGE_SIZE
                continue
            self._note_oldest(category, rows)
            ids += [
                str(row[category.id_field])
                for row in rows
                if row.get(category.id_field)
            ]
            offset += PAGE_SIZE
            if (
                len(rows) < PAGE_SIZE
                or offset >= self._resources.settings.vmh.cron_limit * 2
            ):
                break
        return ids

    async def _page(
        self,
        category: Category,
        offset: int,
        counts: Counter[str],
    ) -> list[dict[str, Any]] | None:
        """One page of a category; None if it cannot be read."""
        try:
            rows, _ = await self._espocrm.list_entities(
                category.entity_type,
                category.where,
                ["id", category.id_field, category.order_by],
                category.order_by,
                offset=offset,
            )
        except BitByLawError as error:
            counts["errors"] += 1
            log(
                self._context,
                "error",
                "beteiligte_check.page_failed",
                category=category.name,
                entity_type=category.entity_type,
                offset=offset,
                error=type(error).__name__,
            )
            return None
        return rows

    def _note_oldest(
        self,
        category: Category,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Remember when the record was changed that waits longest for its first try."""
        if category.name not in WAITING or not rows:
            return
        changed_at = parse_date_time(rows[0].get(category.order_by))
        known = self._oldest_change
        if changed_at and (known is None or changed_at < known):
            self._oldest_change = changed_at

    async def _enqueue(
        self,
        category: str,
        ids: list[str],
        enqueue: Enqueue,
        counts: Counter[str],
    ) -> int:
        if category == "permanently_failed":
            ids = [
                entity_id for entity_id in ids if await self._reset(entity_id, counts)
            ]
        timestamp = self._resources.now().isoformat()
        events = {
            entity_id: {
                "entity_id": entity_id,
                "action": "sync_check",
                "source": "cron",
                "timestamp": timestamp,
            }
            for entity_id in ids
        }
        new = await enqueue_unless_pending(
            self._resources,
            enqueue,
            TOPIC,
            events,
            pending_seconds=PENDING_SECONDS,
            timeout_seconds=ENQUEUE_SECONDS,
        )
        counts["waiting"] += len(ids) - len(new)
        return len(new)

    async def _reset(self, entity_id: str, counts: Counter[str]) -> bool:
        """Give a record that was given up a day ago five new tries."""
        fresh = {
            "syncStatus": "failed",
            "syncRetryCount": 0,
            "syncNextRetry": None,
            "syncAutoResetAt": None,
        }
        try:
            await self._espocrm.update_entity(ENTITY_TYPE, entity_id, fresh)
        except ConfigurationError:
            raise
        except BitByLawError as error:
            counts["errors"] += 1
            log(
                self._context,
                "error",
                "beteiligte_check.reset_failed",
                entity_id=entity_id,
                error=type(error).__name__,
            )
            return False
        return True


def _last_name(state: SyncState) -> str:
    """The name that a record which is gone showed last; empty if no one knows it."""
    base = base_from_json(state.base)
    shown = []
    for part in ("vorname", "name"):
        text = text_of(base[part].espocrm) if part in base else None
        if text is not None:
            shown.append(str(text))
    return " ".join(shown)


def _shares(
    found: Sequence[tuple[str, list[str]]],
    limit: int,
) -> list[tuple[str, list[str]]]:
    """What of each category is enqueued, each record once: everything if it fits into the limit.

    Else each category gets an equal share before the urgent ones get the rest, so that one that never empties does not
    keep the others waiting for ever.
    """
    waiting = _each_once(found)
    if not waiting:
        return []
    share = max(1, limit // len(waiting))
    left = limit
    for _, ids in waiting:
        left -= min(len(ids), share)
    shares = []
    for name, ids in waiting:
        rest = max(0, len(ids) - share)
        more = min(rest, max(0, left))
        left -= more
        shares.append((name, ids[: share + more]))
    return shares


def _each_once(found: Sequence[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """The categories with what no earlier one has, without the empty ones."""
    observed: set[str] = set()
    waiting = []
    for name, ids in found:
        fresh = [
            entity_id for entity_id in dict.fromkeys(ids) if entity_id not in observed
        ]
        observed.update(fresh)
        if fresh:
            waiting.append((name, fresh))
    return waiting
