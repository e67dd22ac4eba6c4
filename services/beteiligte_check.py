"""The safety net of the Beteiligte sync: find every record that needs one, whatever event was lost.

The state of EspoCRM decides, not the queue: what was never enqueued, failed, or was cut off is found by its status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.exceptions import RedisError

from services.beteiligte_create import ENTITY_TYPE
from services.beteiligte_status import STALE_HOURS
from services.errors import BitByLawError, ConfigurationError, EntityBusy
from services.espocrm import EspoCRMAPI
from services.espocrm_models import PAGE_SIZE, Where, all_of, any_of, before, equals, is_in, is_null
from services.locks import held_lock
from services.logs import log
from services.notification_utils import NotificationManager
from services.queue import Enqueue, NotEnqueued, enqueue_all
from services.resources import Resources, current_resources
from services.sync_state import SyncStore
from services.webhooks import forget_waiting, mark_waiting

TOPIC = "vmh.beteiligte.sync_check"
LOCK_KEY = "sync_lock:beteiligte_check"
LOCK_SECONDS = 120
#: A sync takes seconds; a record that shows syncing for longer was left behind.
STUCK_MINUTES = 15
#: While a job waits it is not enqueued again; should it be lost, the record is found again after this time.
WAITING_MARK_SECONDS = 60 * 60
ENQUEUE_SECONDS = 20.0
#: In Redis: the id after which the next run looks for records that are gone; losing it only starts anew.
DELETED_CURSOR = "beteiligte_check:deleted_after"
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
    stuck_since, stale_since = now - timedelta(minutes=STUCK_MINUTES), now - timedelta(hours=STALE_HOURS)
    due = any_of(is_null("syncNextRetry"), before("syncNextRetry", now))
    stale = any_of(is_null("advowareLastSync"), before("advowareLastSync", stale_since))
    return [
        Category("modified", [equals("syncStatus", "dirty")], "modifiedAt"),
        Category("new", [equals("syncStatus", "pending_sync")], "createdAt"),
        Category("failed", [equals("syncStatus", "failed"), due], "syncNextRetry"),
        Category("stuck", [equals("syncStatus", "syncing"), before("modifiedAt", stuck_since)], "modifiedAt"),
        Category(
            "permanently_failed",
            [equals("syncStatus", "permanently_failed"), before("syncAutoResetAt", now)],
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
            [any_of(equals("syncStatus", "failed"), all_of(is_null("syncStatus"), is_null("advowareKontoId")))],
            "modifiedAt",
            "CBankverbindungen",
            "beteiligteId",
        ),
        Category("stale", [is_in("syncStatus", ["clean", "conflict"]), stale], "advowareLastSync"),
    ]


class BeteiligteCheck:
    """One run of the check. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._notifications = NotificationManager(self._espocrm, context, resources=self._resources)

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
        counts["told"] = await self._notifications.retry_unfinished()
        found = [(category.name, await self._ids(category, counts)) for category in categories(self._now())]
        found.append(("deleted", await self._deleted(counts)))
        for name, ids in _shares(found, limit):
            enqueued = await self._enqueue(name, ids, enqueue, counts)
            counts[name] += enqueued
            counts["total"] += enqueued
        return counts

    async def _deleted(self, counts: Counter[str]) -> list[str]:
        """Of the next records that were synced once, those that EspoCRM does not list any more.

        Their sync finds out whether they are gone. A run asks for one page, so that all are seen in turn.
        """
        store = SyncStore(await self._resources.database())
        try:
            after = str(await self._resources.redis.get(DELETED_CURSOR) or "")
            known = await store.live_entities(ENTITY_TYPE, after, PAGE_SIZE)
            rows, _ = await self._espocrm.list_entities(ENTITY_TYPE, [is_in("id", known)], ["id"]) if known else ([], 0)
            await self._resources.redis.set(DELETED_CURSOR, known[-1] if len(known) == PAGE_SIZE else "")
        except (BitByLawError, ConfigurationError, RedisError) as error:
            counts["errors"] += 1
            log(self._context, "error", "beteiligte_check.deleted_not_checked", error=type(error).__name__)
            return []
        listed = {row["id"] for row in rows}
        return [entity_id for entity_id in known if entity_id not in listed]

    async def _ids(self, category: Category, counts: Counter[str]) -> list[str]:
        """The ids of a category, oldest first. All pages are read before the first record leaves the category."""
        ids: list[str] = []
        offset = failures = 0
        while failures < MAX_PAGE_FAILURES:
            try:
                rows, _ = await self._espocrm.list_entities(
                    category.entity_type,
                    category.where,
                    ["id", category.id_field],
                    category.order_by,
                    offset=offset,
                )
            except (BitByLawError, ConfigurationError) as error:
                failures += 1
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
                offset += PAGE_SIZE
                continue
            ids += [str(row[category.id_field]) for row in rows if row.get(category.id_field)]
            offset += PAGE_SIZE
            if len(rows) < PAGE_SIZE or offset >= self._resources.settings.vmh.cron_limit * 2:
                break
        return ids

    async def _enqueue(self, category: str, ids: list[str], enqueue: Enqueue, counts: Counter[str]) -> int:
        new = await mark_waiting(self._resources, TOPIC, ids, WAITING_MARK_SECONDS) if ids else []
        counts["waiting"] += len(ids) - len(new)
        if category == "permanently_failed":
            new = [entity_id for entity_id in new if await self._reset(entity_id, counts)]
        timestamp = self._now().isoformat()
        events = (
            {"entity_id": entity_id, "action": "sync_check", "source": "cron", "timestamp": timestamp}
            for entity_id in new
        )
        try:
            await enqueue_all(enqueue, TOPIC, events, timeout_seconds=ENQUEUE_SECONDS)
        except NotEnqueued as error:
            await forget_waiting(self._resources, TOPIC, *new[error.confirmed :])
            raise
        return len(new)

    async def _reset(self, entity_id: str, counts: Counter[str]) -> bool:
        """Give a record that was given up a day ago five new tries."""
        fresh = {"syncStatus": "failed", "syncRetryCount": 0, "syncNextRetry": None, "syncAutoResetAt": None}
        try:
            await self._espocrm.update_entity(ENTITY_TYPE, entity_id, fresh)
        except BitByLawError as error:
            counts["errors"] += 1
            log(
                self._context, "error", "beteiligte_check.reset_failed", entity_id=entity_id, error=type(error).__name__
            )
            await forget_waiting(self._resources, TOPIC, entity_id)
            return False
        return True

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


def _shares(found: Sequence[tuple[str, list[str]]], limit: int) -> list[tuple[str, list[str]]]:
    """What of each category is enqueued, each record once: everything if it fits into the limit.

    Else each category gets an equal share before the urgent ones get the rest, so that one that never empties does not
    keep the others waiting for ever.
    """
    seen: set[str] = set()
    waiting = []
    for name, ids in found:
        fresh = [entity_id for entity_id in dict.fromkeys(ids) if entity_id not in seen]
        seen.update(fresh)
        if fresh:
            waiting.append((name, fresh))
    share = max(1, limit // len(waiting)) if waiting else 0
    left = limit - sum(min(len(ids), share) for _, ids in waiting)
    shares = []
    for name, ids in waiting:
        more = min(max(0, len(ids) - share), max(0, left))
        left -= more
        shares.append((name, ids[: share + more]))
    return shares
