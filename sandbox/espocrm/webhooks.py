"""Webhooks of the EspoCRM twin: queue, batches, signatures, and what the status of an answer does to the events."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import aiohttp

from sandbox.espocrm.access import LoginGuard
from sandbox.espocrm.entities import ENTITIES, Field
from sandbox.espocrm.php import php_json
from sandbox.espocrm.store import Change, Record, Store

BATCH_SIZE = 50
MAX_ATTEMPTS = 4
RETRY_AFTER = timedelta(minutes=10)
FINISHED_KEPT = 1000  #: items that are done with and kept for inspection
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
#: Answers after which EspoCRM tries again; 0 stands for no answer at all. All other errors drop the events.
NOT_SENT = -1  #: the receiver is internal and not allowed
RETRIED_STATUSES = frozenset({0, 401, 403, 404, 405, 408, 500, 503})


@dataclass
class QueueItem:
    """One event for one webhook."""

    number: int
    webhook_id: str
    event: str
    target_id: str
    data: dict[str, Any]
    status: Literal["Pending", "Success", "Failed"] = "Pending"
    attempts: int = 0
    process_at: datetime | None = None  #: not before this time; None: at once
    answer: int | None = None  #: status of the last answer, 0 for none

    def as_json(self) -> dict[str, Any]:
        """The item with its time as ISO string."""
        process_at = None
        if self.process_at:
            process_at = self.process_at.isoformat()
        return asdict(self) | {"process_at": process_at}


@dataclass(frozen=True)
class Delivery:
    """One request that was sent, and the status of its answer (0: none, -1: not sent)."""

    webhook_id: str
    event: str
    url: str
    ids: list[str]
    status: int


def signature_headers(
    webhook_id: str,
    secret: str | None,
    body: bytes,
    *,
    legacy_only: bool = False,
) -> dict[str, str]:
    """The headers ``X-Signature`` (raw MAC) and, from EspoCRM 9.0, ``Signature`` (hex MAC); none without a secret."""
    if not secret:
        return {}
    mac = hmac.new(secret.encode(), body, hashlib.sha256)
    headers = {"X-Signature": _signed(webhook_id, mac.digest())}
    if not legacy_only:
        hex_mac = mac.hexdigest().encode()
        headers["Signature"] = _signed(webhook_id, hex_mac)
    return headers


def _signed(webhook_id: str, mac: bytes) -> str:
    prefix = f"{webhook_id}:".encode()
    return base64.b64encode(prefix + mac).decode()


class WebhookQueue:
    """Events on their way to the subscribers."""

    def __init__(
        self,
        store: Store,
        guard: LoginGuard,
        now: Callable[[], datetime],
    ) -> None:
        self.items: list[QueueItem] = []
        self._store = store
        self._guard = guard
        self._now = now
        self._next_number = 1
        self._changes: deque[Change] = (
            deque()
        )  #: waiting until a run of the job takes them up
        self._running = asyncio.Lock()

    def add(self, change: Change) -> None:
        """Queue a change: at once, or in a later run of the job if a run claims only so many."""
        self._changes.append(change)
        if self._store.settings.webhook_event_portion is None:
            self._take_up(None)

    def _take_up(self, portion: int | None) -> None:
        number = len(self._changes)
        if portion is not None:
            number = min(portion, number)
        for _ in range(number):
            self._queue(self._changes.popleft())

    def _queue(self, change: Change) -> None:
        """One item for every active webhook that asked for the change."""
        for event, data in _events(change):
            for webhook in self._store.records("Webhook"):
                if not _asks_for(webhook, event, change):
                    continue
                item = QueueItem(
                    number=self._next_number,
                    webhook_id=webhook.id,
                    event=event,
                    target_id=change.id,
                    data=data,
                )
                self.items.append(item)
                self._next_number += 1

    async def process(self, session: aiohttp.ClientSession) -> list[Delivery]:
        """One run of the job "Process Webhook Queue": at most one request per webhook, oldest event first."""
        async with self._running:
            self._take_up(self._store.settings.webhook_event_portion)
            due = dict.fromkeys(item.webhook_id for item in self._due())
            deliveries = []
            for webhook_id in due:
                delivery = await self._process_webhook(session, webhook_id)
                if delivery is not None:
                    deliveries.append(delivery)
            self._forget_finished()
            return deliveries

    def _forget_finished(self) -> None:
        """Keep the latest of those that are done with, for inspection."""
        finished = []
        for item in self.items:
            if item.status != "Pending":
                finished.append(item)
        self._drop(finished[:-FINISHED_KEPT])

    def _drop(self, dropped: list[QueueItem]) -> None:
        numbers = set()
        for item in dropped:
            numbers.add(item.number)
        kept = []
        for item in self.items:
            if item.number not in numbers:
                kept.append(item)
        self.items = kept

    def _due(self) -> Iterator[QueueItem]:
        now = self._now()
        for item in list(self.items):
            if item.status != "Pending":
                continue
            if item.process_at is None or item.process_at <= now:
                yield item

    async def _process_webhook(
        self,
        session: aiohttp.ClientSession,
        webhook_id: str,
    ) -> Delivery | None:
        batch = self._next_batch(webhook_id)
        webhook = self._store.find("Webhook", webhook_id)
        if webhook is None or not self._may_receive(webhook):
            self._drop(batch)
            return None
        ids = []
        events = []
        for item in batch:
            ids.append(item.target_id)
            events.append(item.data)
        status = await self._send(session, webhook, php_json(events))
        self._settle(webhook, batch, status)
        return Delivery(
            webhook_id=webhook_id,
            event=webhook.values["event"],
            url=webhook.values["url"],
            ids=ids,
            status=status,
        )

    def _next_batch(self, webhook_id: str) -> list[QueueItem]:
        """The oldest events that are due for a webhook, as many as go into one request."""
        due = []
        for item in self._due():
            if item.webhook_id == webhook_id:
                due.append(item)
        return due[:BATCH_SIZE]

    def _may_receive(self, webhook: Record) -> bool:
        if not webhook.values["isActive"]:
            return False
        owner_id = webhook.get("userId")
        if owner_id is None:
            return True
        owner = self._guard.user_of_id(owner_id)
        if owner is None:
            return False
        return owner.may("read", webhook.values["entityType"])

    async def _send(
        self,
        session: aiohttp.ClientSession,
        webhook: Record,
        body: bytes,
    ) -> int:
        if not self._store.settings.may_send_to(webhook.values["url"]):
            return NOT_SENT
        legacy_only = self._store.settings.version == "8.4"
        headers = signature_headers(
            webhook.id,
            webhook.get("secretKey"),
            body,
            legacy_only=legacy_only,
        )
        headers["Content-Type"] = "application/json"
        try:
            async with session.post(
                webhook.values["url"],
                data=body,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as response:
                return response.status
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            ValueError,
        ):  # ValueError: a host name that is none
            return 0

    def _settle(self, webhook: Record, batch: list[QueueItem], status: int) -> None:
        if status == 410:
            webhook.deleted = True
            self._drop_pending(webhook.id)
            return
        for item in batch:
            self._settle_item(item, status)

    def _drop_pending(self, webhook_id: str) -> None:
        """Forget the events that wait for a webhook."""
        waiting = []
        for item in self.items:
            if item.webhook_id == webhook_id and item.status == "Pending":
                waiting.append(item)
        self._drop(waiting)

    def _settle_item(self, item: QueueItem, status: int) -> None:
        item.attempts += 1
        item.answer = status
        item.process_at = None
        if 200 <= status < 400:
            item.status = "Success"
        elif status in RETRIED_STATUSES and item.attempts < MAX_ATTEMPTS:
            item.process_at = self._now() + RETRY_AFTER
        else:
            item.status = "Failed"


def _events(change: Change) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names of the events that a change is, each with the data that its subscribers get."""
    yield f"{change.entity}.{change.event}", change.payload
    if change.event != "update":
        return
    for field in ENTITIES[change.entity].all_fields:
        if field.name == "modifiedBy":
            continue
        changed = _changed_of(field, change.payload)
        if changed:
            event = f"{change.entity}.fieldUpdate.{field.name}"
            yield event, {"id": change.id, **changed}


def _changed_of(field: Field, payload: dict[str, Any]) -> dict[str, Any]:
    """What a change says of a field."""
    attributes = {*field.attributes, f"{field.name}Data"}
    changed = {}
    for name, value in payload.items():
        if name in attributes:
            changed[name] = value
    return changed


def _asks_for(webhook: Record, event: str, change: Change) -> bool:
    values = webhook.values
    if values["event"] != event:
        return False
    if not values["isActive"]:
        return False
    is_own = values.get("userId") == change.user_id
    return not (values["skipOwn"] and is_own)
