"""The client of EspoCRM's REST API, with typed results and errors. Filters, dates: `services.values.espocrm_query`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from yarl import URL

from services.core.errors import (
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    Forbidden,
    ForeignSystemError,
    InvalidInput,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    ValidationFailed,
    error_for_status,
)
from services.core.foreign_text import clean_value
from services.core.http import HttpAnswer, send
from services.core.log import log
from services.core.operation.foreign_calls import carried
from services.core.resources import Resources, current_resources
from services.core.retry import retry_unavailable
from services.core.write_guard import ForeignRequest
from services.values.espocrm_query import (
    PAGE_SIZE,
    SYSTEM,
    Record,
    RecordWrite,
    Where,
    bracket_query,
    halved,
)

#: Apache refuses longer request lines with 414, nginx those above 8,192 bytes; method and version count.
MAX_REQUEST_LINE = 8190
#: No list is longer; the query's length is reckoned with it.
LARGEST_OFFSET = 10**9
REFUSED_KEY_PAUSE = timedelta(seconds=60)
#: The write action of our extension, from 1.1.0 on: docs/espocrm.md.
WRITE_ACTION = "BitByLaw/write"
#: What it saves silently; anything else is written as by any other user.
SILENTLY_WRITTEN = frozenset({"CBeteiligte", "CAdressen", "CBankverbindungen"})
#: Offered by an action that does not say how many records it takes.
DEFAULT_MAX_WRITES = 1
WRITE_ACTION_ASKED_AGAIN = timedelta(minutes=5)


class _Session:
    """What one process remembers of EspoCRM.

    Attributes:
        refused_until: the key is not tried again before, after a 401.
        offer: what the write action of the extension there offers, as far as known; None without one.
        ask_again_at: that is known until then.
    """

    def __init__(self) -> None:
        self.refused_until: datetime | None = None
        self.offer: WriteOffer | None = None
        self.ask_again_at: datetime | None = None


@dataclass(frozen=True)
class WriteOffer:
    """What the write action takes in one call.

    Attributes:
        previous_id: stands in the post of a note for the id of what was written right before it; None: not offered.
    """

    entity_types: frozenset[str]
    max_writes: int
    previous_id: str | None = None


class _NoWriteActionError(Exception):
    """The extension has no write action: unlike other unknown addresses, that is no reason to try again."""


class EspoCRMAPI:
    """Calls EspoCRM's REST API.

    ``context`` is a step's FlowContext (its logger is used) or None. All methods raise `NotFound`, `Forbidden`,
    `Conflict`, `ValidationFailed`, `AuthenticationFailed`, `Unavailable` or `UpstreamTimeout`; the reason is EspoCRM's
    ``X-Status-Reason``.
    """

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._settings = self._resources.settings.espocrm
        self._session = self._resources.shared(_Session)

    async def get_entity(self, entity_type: str, entity_id: str) -> Record:
        """The full record, with ``emailAddressData`` and ``phoneNumberData``."""
        return _record(await self._call("GET", _path(entity_type, entity_id)))

    async def list_entities(
        self,
        entity_type: str,
        where: Iterable[Where] = (),
        select: Iterable[str] | None = None,
        order_by: str | None = None,
        order: str = "asc",
        offset: int = 0,
        max_size: int = PAGE_SIZE,
    ) -> tuple[list[Record], int]:
        """One page and the total number. Rows never contain ``emailAddressData`` and ``phoneNumberData``.

        ``max_size`` is at most 200. The number is negative where EspoCRM does not show it.

        Raises:
            UnexpectedAnswer: the answer is no list of records with ids.
            InvalidInput: the filters do not fit into one request; `search_entities` divides them.
        """
        query = _list_query(
            where,
            select,
            order_by,
            order,
            offset,
            max_size,
        )
        answer = await self._call("GET", _path(entity_type), params=query)
        if not isinstance(answer, dict) or not isinstance(answer.get("list"), list):
            raise UnexpectedAnswer(SYSTEM, "expected a list")
        rows = answer["list"]
        if not all(map(_has_id, rows)):
            raise UnexpectedAnswer(SYSTEM, "expected records with ids")
        return rows, _total(answer)

    async def search_entities(
        self,
        entity_type: str,
        where: Iterable[Where] = (),
        select: Iterable[str] | None = None,
        order_by: str = "id",
        order: str = "asc",
        limit: int | None = None,
    ) -> AsyncIterator[Record]:
        """All matching rows, page by page, each id once, at most ``limit``.

        Rows that change while we read may move between pages; whoever needs completeness orders by ``id``. A list of
        values (`is_in`) that is too long for one request is divided: the order then holds within each part.

        Raises:
            InvalidInput: the filters do not fit into a request, and have no list that could be divided.
        """
        fields = None if select is None else list(select)
        found: set[str] = set()
        for filters in self._divided(
            entity_type,
            list(where),
            fields,
            order_by,
            order,
        ):
            rows = self._pages(
                entity_type,
                filters,
                fields,
                order_by,
                order,
            )
            if _is_reached(limit, found):
                return
            async for row in rows:
                if row.get("id") in found:
                    continue
                found.add(row["id"])
                yield row
                if _is_reached(limit, found):
                    return

    async def _pages(
        self,
        entity_type: str,
        where: list[Where],
        select: list[str] | None,
        order_by: str,
        order: str,
    ) -> AsyncIterator[Record]:
        offset = 0
        while True:
            rows, _ = await self.list_entities(
                entity_type,
                where,
                select,
                order_by,
                order,
                offset,
            )
            for row in rows:
                yield row
            offset += len(rows)
            if len(rows) < PAGE_SIZE:
                return

    def _divided(
        self,
        entity_type: str,
        where: list[Where],
        select: list[str] | None,
        order_by: str,
        order: str,
    ) -> list[list[Where]]:
        """The filters as often as needed, each time with a part of the values of their longest list."""
        query = _list_query(
            where,
            select,
            order_by,
            order,
            LARGEST_OFFSET,
            PAGE_SIZE,
        )
        if self._line_length("GET", _path(entity_type), query) <= MAX_REQUEST_LINE:
            return [where]
        halves = halved(where)
        if halves is None:
            return [where]  # the request says what is wrong
        parts: list[list[Where]] = []
        for half in halves:
            parts += self._divided(
                entity_type,
                half,
                select,
                order_by,
                order,
            )
        return parts

    async def create_entity(
        self,
        entity_type: str,
        data: Record,
        *,
        skip_duplicate_check: bool = False,
    ) -> Record:
        """Create a record; returns it in full.

        When its fate is unknown it is repeated only through the write action, which knows the request again.
        """
        if entity_type in SILENTLY_WRITTEN:
            create = RecordWrite(
                entity_type,
                None,
                data,
                skips_duplicate_check=skip_duplicate_check,
            )
            written = await self.write_together([create])
            if written is not None:
                return written[0]
        headers = {}
        if skip_duplicate_check:
            headers["X-Skip-Duplicate-Check"] = "true"
        answer = await self._call(
            "POST",
            _path(entity_type),
            json_data=data,
            headers=headers,
        )
        return _record(answer)

    async def update_entity(
        self,
        entity_type: str,
        entity_id: str,
        data: Record,
        *,
        version_number: int | None = None,
    ) -> Record:
        """Change the given attributes; returns the record. Setting a value twice is harmless, so it is repeated.

        Through the write action, where the extension has it, the record is returned as a read shows it, and neither
        webhooks nor ``modifiedAt`` and ``modifiedById`` take notice of the change.

        With ``version_number``, raises `Conflict` if a user has changed these attributes since (where EspoCRM's
        optimistic concurrency control is on for the entity).
        """
        if entity_type in SILENTLY_WRITTEN:
            update = RecordWrite(entity_type, entity_id, data, version=version_number)
            written = await self.write_together([update])
            if written is not None:
                return written[0]
        headers = {}
        if version_number is not None:
            headers["X-Version-Number"] = str(version_number)
        answer = await self._call(
            "PUT",
            _path(entity_type, entity_id),
            json_data=data,
            headers=headers,
        )
        return _record(answer)

    async def delete_entity(self, entity_type: str, entity_id: str) -> None:
        """Delete a record (EspoCRM keeps it, marked as deleted)."""
        await self._call("DELETE", _path(entity_type, entity_id))

    async def write_offer(self) -> WriteOffer | None:
        """What the write action of the extension takes in one call; None where there is no action for us."""
        session = self._session
        now = self._resources.clock()
        if session.ask_again_at is None or session.ask_again_at <= now:
            session.offer = await self._ask_for_offer()
            session.ask_again_at = now + WRITE_ACTION_ASKED_AGAIN
        return session.offer

    async def shows_what_is_stored(self, entity_type: str) -> bool:
        """Whether the answer to a write is as a read shows the record; else values are echoed as they were sent.

        The write action, which answers so, also compares versions in the transaction that writes.
        """
        if entity_type not in SILENTLY_WRITTEN:
            return False
        offer = await self.write_offer()
        return offer is not None and entity_type in offer.entity_types

    async def _ask_for_offer(self) -> WriteOffer | None:
        try:
            answer = await self._call("GET", WRITE_ACTION)
        except (_NoWriteActionError, Forbidden):
            # An older extension; or no role of the sync, as the doctor says.
            return None
        return _write_offer(answer if isinstance(answer, dict) else {})

    async def write_together(
        self,
        writes: Sequence[RecordWrite],
    ) -> list[Record] | None:
        """Write several records in one transaction, all or none; returns them as reads show them, in this order.

        None, with nothing written, where the extension does not offer that. A refusal says which one was refused
        (`refused_place`). The request has a key, so it is repeated while its fate is unknown: a second one gets the
        first answer and writes nothing.
        """
        if not await self._is_offered(writes):
            return None
        body = {"key": uuid4().hex, "writes": list(map(_write_body, writes))}
        try:
            answer = await self._call(
                "POST",
                WRITE_ACTION,
                json_data=body,
                repeatable=True,
            )
        except _NoWriteActionError:  # it has gone since we asked
            self._session.offer = None
            return None
        return _written_records(answer, len(writes))

    async def _is_offered(self, writes: Sequence[RecordWrite]) -> bool:
        """Whether the extension takes these writes in one request."""
        offer = await self.write_offer()
        if offer is None or len(writes) > offer.max_writes:
            return False
        return all(write.entity_type in offer.entity_types for write in writes)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool | None = None,
        params: list[tuple[str, str]] | None = None,
        json_data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        limit = self._settings.api_timeout_seconds
        request = ForeignRequest(
            SYSTEM,
            method,
            path,
            params,
            json_data,
        )
        may_repeat = method != "POST" if repeatable is None else repeatable
        begun_at = self._resources.clock()

        async def send_once() -> HttpAnswer:
            # A worker that was frozen between two tries repeats nothing: the record may have been edited since.
            if self._resources.clock() - begun_at > timedelta(seconds=limit):
                raise UpstreamTimeout(SYSTEM, f"no answer within {limit:g} s")
            return await self._send(method, path, params, json_data, headers)

        try:
            async with asyncio.timeout(limit):
                # Each try is carried: a pause may begin between two of them.
                answer = await retry_unavailable(
                    lambda: carried(self._resources, request, send_once),
                    repeatable=may_repeat,
                    max_seconds=limit / 2,
                )
        except TimeoutError as error:
            raise UpstreamTimeout(SYSTEM, f"no answer within {limit:g} s") from error
        return clean_value(answer.json(SYSTEM))

    async def _send(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]] | None,
        json_data: Any,
        headers: Mapping[str, str] | None,
    ) -> HttpAnswer:
        base_url = self._required_base_url()
        self._refuse_while_key_is_bad()
        self._refuse_long_line(method, path, params)
        key = self._settings.marvin_api_key.get_secret_value()
        answer = await send(
            self._resources.http,
            SYSTEM,
            method,
            f"{base_url}/{path}",
            headers={**(headers or {}), "X-Api-Key": key},
            params=params,
            json_data=json_data,
            timeout_seconds=self._settings.api_timeout_seconds,
        )
        if answer.status == 401:
            self._session.refused_until = self._resources.clock() + REFUSED_KEY_PAUSE
            log(self._context, "error", "espocrm.key_refused")
        if answer.status < 300:
            return answer
        error = _error(answer)
        if path == WRITE_ACTION and _is_no_address(answer, error):
            raise _NoWriteActionError
        raise error

    def _required_base_url(self) -> str:
        base_url = self._settings.api_base_url
        if not base_url:
            raise ConfigurationError(
                "ESPOCRM_API_BASE_URL: EspoCRM's address is not configured",
            )
        return base_url

    def _refuse_long_line(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]] | None,
    ) -> None:
        if self._line_length(method, path, params) > MAX_REQUEST_LINE:
            raise InvalidInput(
                f"{path}: the request line would be longer than {MAX_REQUEST_LINE} bytes",
            )

    def _line_length(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]] | None,
    ) -> int:
        """The bytes of the request line, as aiohttp writes it."""
        url = URL(f"{self._settings.api_base_url}/{path}").extend_query(params or ())
        return len(f"{method} {url.raw_path_qs} HTTP/1.1\r\n")

    def _refuse_while_key_is_bad(self) -> None:
        """More than ten failed logins in a minute make EspoCRM block our address, so a refused key pauses a minute."""
        until = self._session.refused_until
        if until is not None and self._resources.clock() < until:
            raise AuthenticationFailed(
                SYSTEM,
                "the API key is refused (ESPOCRM_MARVIN_API_KEY)",
                status=401,
            )


def _list_query(
    where: Iterable[Where],
    select: Iterable[str] | None,
    order_by: str | None,
    order: str,
    offset: int,
    max_size: int,
) -> list[tuple[str, str]]:
    query = bracket_query("where", list(where))
    query.append(("offset", str(offset)))
    query.append(("maxSize", str(min(max_size, PAGE_SIZE))))
    if select is not None:
        query.append(("select", ",".join(select)))
    if order_by is not None:
        query += [("orderBy", order_by), ("order", order)]
    return query


def _has_id(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str)


def _total(answer: Record) -> int:
    total = answer.get("total")
    if isinstance(total, int) and not isinstance(total, bool):
        return total
    return -1


def _is_reached(limit: int | None, found: set[str]) -> bool:
    return limit is not None and len(found) >= limit


_RECORD_IS_GONE = re.compile(r"^Record \S+ (does not exist|not found)")


def _path(entity_type: str, entity_id: str | None = None) -> str:
    parts = [entity_type] if entity_id is None else [entity_type, entity_id]
    return "/".join(quote(part, safe="") for part in parts)


def _write_body(write: RecordWrite) -> Record:
    body: Record = {
        "entityType": write.entity_type,
        "attributes": dict(write.attributes),
    }
    if write.entity_id is None:
        return {
            **body,
            "op": "create",
            "skipDuplicateCheck": write.skips_duplicate_check,
        }
    return {
        **body,
        "op": "update",
        "id": write.entity_id,
        "version": write.version,
    }


def refused_place(error: ForeignSystemError) -> int | None:
    """Which write of `EspoCRMAPI.write_together` a refusal is about; None if it is about all of them."""
    if not isinstance(error, ValidationFailed | Forbidden | Conflict | NotFound):
        return None
    if not isinstance(error.details, dict):
        return None
    place = error.details.get("index")
    is_number = isinstance(place, int) and not isinstance(place, bool)
    if is_number:
        return place
    return None


def _write_offer(answer: Record) -> WriteOffer:
    """What the write action says of itself; of what it leaves out or garbles, the least is assumed."""
    types = answer.get("entityTypes")
    most = answer.get("maxWrites")
    previous_id = answer.get("previousId")
    if not isinstance(most, int) or most <= 0:
        most = DEFAULT_MAX_WRITES
    if not isinstance(previous_id, str) or not previous_id:
        previous_id = None
    if not isinstance(types, list):
        return WriteOffer(SILENTLY_WRITTEN, most, previous_id)
    return WriteOffer(frozenset(types), most, previous_id)


def _written_records(answer: Any, number: int) -> list[Record]:
    """The records that the write action has written, one for each of this number of writes."""
    results = None
    if isinstance(answer, dict):
        results = answer.get("results")
    if not isinstance(results, list) or len(results) != number:
        raise UnexpectedAnswer(SYSTEM, "expected a result of each write")
    return list(map(_written_record, results))


def _written_record(result: Any) -> Record:
    return _record(result.get("attributes") if isinstance(result, dict) else None)


def _is_no_address(answer: HttpAnswer, error: Exception) -> bool:
    """Whether EspoCRM has no such address, unlike a record that it does not have."""
    if answer.status == 405:
        return True
    return answer.status == 404 and isinstance(error, Unavailable)


def _record(answer: Any) -> Record:
    if not isinstance(answer, dict) or not answer.get("id"):
        raise UnexpectedAnswer(SYSTEM, "expected a record")
    return answer


def _error(answer: HttpAnswer) -> Exception:
    details = _refusal_details(answer)
    reason = answer.headers.get("X-Status-Reason", "")
    if answer.status == 404 and not _RECORD_IS_GONE.search(reason):
        # An unknown entity, a wrong base URL, a rebuild under way: that says nothing about the record.
        return Unavailable(
            SYSTEM,
            reason or "no such address (ESPOCRM_API_BASE_URL)",
            status=404,
        )
    if answer.status == 401:
        reason = reason or "the API key is refused (ESPOCRM_MARVIN_API_KEY)"
    return error_for_status(SYSTEM, answer.status, reason, details)


def _refusal_details(answer: HttpAnswer) -> Any:
    """What the body of a refusal says; None if it is empty or no JSON."""
    try:
        details = json.loads(answer.body) if answer.body.strip() else None
    except ValueError:
        return None
    if isinstance(details, dict) and isinstance(details.get("duplicates"), list):
        return details["duplicates"]  # what a plain request gets
    return details
