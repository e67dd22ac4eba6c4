"""A rehearsal: the whole sync runs, and nothing is written, neither in EspoCRM or Advoware nor in PostgreSQL or Redis.

Reads go out as always. A write is answered here, as the system would have answered it, and remembered, so that what is
read afterwards shows it. What was remembered is the rehearsal's result: each record before and after. What a system
would refuse or store differently cannot be known, because it is not asked.

PostgreSQL's statements run in one transaction, which is rolled back.
"""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from services.calendar_sync.provider import CalendarProvider
from services.core.database import database_errors
from services.core.errors import InvalidInput
from services.core.http import HttpAnswer
from services.core.resources import Resources
from services.core.write_guard import ForeignRequest, Send
from services.preview.calendar import (
    RehearsedCalendar,
    RehearsedTermine,
    json_answer,
)
from services.preview.changes import Change, Record
from services.preview.undone import Undone, undone
from services.values import advoware_protocol, espocrm_query
from services.values.advoware_protocol import (
    BETEILIGTE,
    TERMINE,
    record_list,
    single_record,
)

Shared = TypeVar("Shared")

#: The first number of what would be made: larger than any that Advoware has given.
FIRST_NUMBER = 2_000_000_001
#: The lists of a Beteiligter by their paths, and what a PUT may change in them (all that is sent, if None).
PARTS: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "Kommunikationen": (("kommunikation",), frozenset({"tlf", "bemerkung", "online"})),
    "Adressen": (("adressen",), frozenset({"strasse", "plz", "ort", "anschrift"})),
    "Bankverbindungen": (("bankkverbindungen", "bankverbindungen"), frozenset()),
}
_BETEILIGTER = re.compile(rf"{BETEILIGTE}(?:/(\d+)(?:/(\w+)(?:/(\d+))?)?)?")


class Rehearsal:
    """Stands between the clients and both systems (`services.core.write_guard.WriteGuard`), for one rehearsal."""

    def __init__(self) -> None:
        self._espocrm = _EspoCRM()
        self._advoware = _Advoware()
        self._termine = RehearsedTermine()
        self._calendar: RehearsedCalendar | None = None

    def calendar(self, real: CalendarProvider) -> RehearsedCalendar:
        """The calendar system, which reads from this client of it and writes nothing."""
        if self._calendar is None:
            self._calendar = RehearsedCalendar(real)
        return self._calendar

    async def carry(self, request: ForeignRequest, send: Send) -> HttpAnswer:
        """Send a read and answer a write.

        Raises:
            InvalidInput: a write that no sync makes.
        """
        if request.system == espocrm_query.SYSTEM:
            return await self._espocrm.carry(request, send)
        if request.system == advoware_protocol.SYSTEM:
            if request.path == TERMINE:
                return await self._termine.carry(request, send)
            return await self._advoware.carry(request, send)
        if request.is_write:
            raise _unknown(request)
        return await send()

    def shown(self, entity_type: str) -> list[Record]:
        """The records of EspoCRM that were read or would be written, as they would be."""
        return self._espocrm.shown(entity_type)

    @property
    def changes(self) -> list[Change]:
        """What would be different in the end, in the order in which it would first be written."""
        changes = [
            *self._advoware.changes(),
            *self._espocrm.changes(),
            *self._termine.changes(),
        ]
        if self._calendar is not None:
            changes += self._calendar.changes()
        return changes


def _unknown(request: ForeignRequest) -> InvalidInput:
    return InvalidInput(
        f"a rehearsal does not know {request.method} {request.path} of {request.system}",
    )


# -- EspoCRM --------------------------------------------------------------------------------------------------------


@dataclass
class _EspoCRM:
    """What was read of EspoCRM's records, and what would be written to them."""

    read: dict[tuple[str, str], Record] = field(default_factory=dict)
    written: dict[tuple[str, str], Record] = field(default_factory=dict)
    created: set[tuple[str, str]] = field(default_factory=set)

    def changes(self) -> list[Change]:
        changes = []
        for key in self.written:
            before = None
            if key not in self.created:
                before = self.read.get(key, {})
            entity_type, entity_id = key
            change = Change(
                system=espocrm_query.SYSTEM,
                kind=entity_type,
                record_id=entity_id,
                before=before,
                after=self._now(key),
            )
            changes.append(change)
        return changes

    def shown(self, entity_type: str) -> list[Record]:
        shown = []
        for key in {**self.read, **self.written}:
            if key[0] == entity_type:
                shown.append(self._now(key))
        return shown

    async def carry(self, request: ForeignRequest, send: Send) -> HttpAnswer:
        path_type, _, path_id = request.path.partition("/")
        entity_type = unquote(path_type)
        entity_id = unquote(path_id)
        if request.is_write:
            written = self._write(request, entity_type, entity_id)
            return json_answer(written)
        key = (entity_type, entity_id)
        if key in self.created:
            return json_answer(self._now(key))
        answer = await send()
        value = answer.json(espocrm_query.SYSTEM)
        if not isinstance(value, dict):
            return answer
        if not entity_id:
            return self._listed(request, entity_type, value, answer)
        if value.get("id") == entity_id:
            record = self._observed(entity_type, value)
            return json_answer(record)
        return answer

    def _listed(
        self,
        request: ForeignRequest,
        entity_type: str,
        value: Record,
        answer: HttpAnswer,
    ) -> HttpAnswer:
        """A list with its records as they would be, and with those that would be created."""
        listed = value.get("list")
        if not isinstance(listed, list):
            return answer
        rows = [self._observed(entity_type, row) for row in listed]
        rows += self._new_rows(entity_type, request.params)
        return json_answer({**value, "list": rows})

    def _observed(self, entity_type: str, row: Record) -> Record:
        """Remember what was read first, also of a row that shows less; the row as it would be."""
        key = (entity_type, str(row.get("id")))
        read_before = self.read.get(key, {})
        self.read[key] = {**row, **read_before}
        written = self.written.get(key, {})
        return {**row, **written}

    def _now(self, key: tuple[str, str]) -> Record:
        read = self.read.get(key, {})
        written = self.written.get(key, {})
        return {**read, **written, "id": key[1]}

    def _new_rows(self, entity_type: str, params: Any) -> list[Record]:
        """What was created, if the list is that of an owner to whom it belongs."""
        asked = dict(params or ())
        link = str(asked.get("where[0][attribute]", ""))
        if not link.endswith("Id"):
            return []
        owner = asked.get("where[0][value]")
        rows = []
        for key in self.written:
            if key not in self.created or key[0] != entity_type:
                continue
            row = self._now(key)
            if row.get(link) == owner:
                rows.append(row)
        return rows

    def _write(self, request: ForeignRequest, entity_type: str, entity_id: str) -> Any:
        body = request.body
        if request.path == "BitByLaw/write":
            results = map(self._one_of_many, body["writes"])
            return {"results": list(results)}
        match request.method:
            case "POST" if not entity_id:
                return self._create(entity_type, body)
            case "PUT" | "PATCH" if entity_id:
                return self._update(entity_type, entity_id, body)
        raise _unknown(request)

    def _one_of_many(self, write: Mapping[str, Any]) -> Record:
        entity_type = str(write["entityType"])
        attributes = dict(write["attributes"])
        if write["op"] == "create":
            record = self._create(entity_type, attributes)
        else:
            entity_id = str(write["id"])
            record = self._update(entity_type, entity_id, attributes)
        return {
            "id": record["id"],
            "entityType": entity_type,
            "changed": True,
            "attributes": record,
        }

    def _create(self, entity_type: str, attributes: Record) -> Record:
        number = len(self.created) + 1
        key = (entity_type, f"rehearsal{number}")
        self.created.add(key)
        self.written[key] = dict(attributes)
        return self._now(key)

    def _update(self, entity_type: str, entity_id: str, attributes: Record) -> Record:
        key = (entity_type, entity_id)
        written_before = self.written.get(key, {})
        self.written[key] = {**written_before, **attributes}
        return self._now(key)


# -- Advoware -------------------------------------------------------------------------------------------------------


@dataclass
class _Advoware:
    """The Beteiligte that were read, and as they would be."""

    read: dict[int, Record] = field(default_factory=dict)
    written: dict[int, Record] = field(default_factory=dict)
    touched: dict[tuple[int, str, int], None] = field(
        default_factory=dict,
    )  #: betNr, path and id of parts, in order
    number: int = FIRST_NUMBER

    def changes(self) -> list[Change]:
        found = []
        for betnr, after in self.written.items():
            before = self.read.get(betnr)
            found.append(_change("Beteiligte", betnr, before, after))
            found += self._part_changes(betnr)
        return found

    def _part_changes(self, betnr: int) -> Iterator[Change]:
        before = self.read.get(betnr, {})
        after = self.written[betnr]
        for owner, path, part_id in self.touched:
            if owner != betnr:
                continue
            part_before = _part(before, path, part_id)
            part_after = _part(after, path, part_id)
            yield _change(path, part_id, part_before, part_after or {})

    async def carry(self, request: ForeignRequest, send: Send) -> HttpAnswer:
        match = _BETEILIGTER.fullmatch(request.path)
        if request.is_write:
            if match is None:
                raise _unknown(request)
            written = self._write(request, *match.groups())
            return json_answer(written)
        if match is None:
            return await send()
        number, path, _ = match.groups()
        if path:
            return await send()
        if not number:
            answer = await send()
            rows = record_list(answer.json_of_list(advoware_protocol.SYSTEM))
            return json_answer(rows)
        return await self._get(int(number), send)

    async def _get(self, betnr: int, send: Send) -> HttpAnswer:
        if betnr in self.written:
            return json_answer(self.written[betnr])
        answer = await send()
        value = answer.json(advoware_protocol.SYSTEM)
        self.read[betnr] = single_record(value)
        return answer

    def _write(
        self,
        request: ForeignRequest,
        betnr: str | None,
        path: str | None,
        part_id: str | None,
    ) -> Record:
        """Answer a write as Advoware does, by what its path names."""
        body = dict(request.body)
        match (request.method, betnr, path, part_id):
            case ("POST", None, _, _):
                return self._create(body)
            case ("PUT", str(), None, _):
                record = self._record(int(betnr))
                return self._change(record, body)
            case ("POST", str(), str(), None) if path in PARTS:
                record = self._record(int(betnr))
                return self._add_part(record, path, body)
            case ("PUT", str(), str(), str()) if path in PARTS:
                record = self._record(int(betnr))
                return self._change_part(record, path, int(part_id), body)
        raise _unknown(request)

    def _change(self, record: Record, body: Record) -> Record:
        """A PUT changes neither the lists of parts nor what identifies a record."""
        kept = {"betNr", "rowId"}
        for names, _ in PARTS.values():
            kept.update(names)
        for name, value in body.items():
            if name not in kept:
                record[name] = value
        record["rowId"] = self._row_id()
        return copy.deepcopy(record)

    def _record(self, betnr: int) -> Record:
        if betnr not in self.written:
            self.written[betnr] = copy.deepcopy(self.read[betnr])
        return self.written[betnr]

    def _create(self, body: Record) -> Record:
        betnr = self._next()
        record = dict(body)
        record["betNr"] = betnr
        record["rowId"] = self._row_id()
        for names, _ in PARTS.values():
            listed_as = names[0]
            record[listed_as] = []
        self.written[betnr] = record
        return copy.deepcopy(record)

    def _add_part(self, record: Record, path: str, body: Record) -> Record:
        part_id = self._next()
        part = dict(body)
        part["id"] = part_id
        part["rowId"] = self._row_id()
        _parts(record, path).append(part)
        self._touch(record, path, part_id)
        return dict(part)

    def _change_part(
        self,
        record: Record,
        path: str,
        part_id: int,
        body: Record,
    ) -> Record:
        part = _part(record, path, part_id)
        if part is None:
            raise InvalidInput(f"a rehearsal does not know the record {path}/{part_id}")
        _, changeable = PARTS[path]
        for name in changeable & body.keys():
            part[name] = body[name]
        part["rowId"] = self._row_id()
        self._touch(record, path, part_id)
        return dict(part)

    def _touch(self, record: Record, path: str, part_id: int) -> None:
        betnr = int(record["betNr"])
        self.touched[betnr, path, part_id] = None

    def _next(self) -> int:
        number = self.number
        self.number += 1
        return number

    def _row_id(self) -> str:
        return f"rehearsal-{self._next()}"


def _change(kind: str, number: int, before: Record | None, after: Record) -> Change:
    return Change(
        system=advoware_protocol.SYSTEM,
        kind=kind,
        record_id=str(number),
        before=before,
        after=after,
    )


def _parts(record: Record, path: str) -> list[Record]:
    """The list of a Beteiligter, under whichever of its names it is there."""
    names, _ = PARTS[path]
    for name, value in record.items():
        if value is None or name.casefold() not in names:
            continue
        found: list[Record] = value
        return found
    listed_as = names[0]
    added: list[Record] = record.setdefault(listed_as, [])
    return added


def _part(record: Record, path: str, part_id: int) -> Record | None:
    number = str(part_id)
    for part in _parts(dict(record), path):
        if str(part.get("id")) == number:
            return part
    return None


# -- resources -----------------------------------------------------------------------------------------------------


class _RehearsalResources(Resources):
    """The resources of the caller, with a guard, and with a database that forgets."""

    def __init__(self, real: Resources, guard: Rehearsal, database: Undone) -> None:
        super().__init__(real.settings, clock=real.clock)
        self._real = real
        self._undone = database
        self.guard = guard
        self.login_lock = real.login_lock

    def shared(self, kind: type[Shared]) -> Shared:
        return self._real.shared(kind)

    @property
    def http(self) -> Any:
        return self._real.http

    @property
    def redis(self) -> Any:
        return self._real.redis

    @property
    def calendar_redis(self) -> Any:
        return self._real.calendar_redis

    async def database(self) -> Any:
        return self._undone


@asynccontextmanager
async def rehearsal(resources: Resources) -> AsyncIterator[tuple[Resources, Rehearsal]]:
    """Resources with which nothing is written, and what would have been written.

    Of Redis only the login's token is written. The connection to PostgreSQL is held for as long as the block runs.

    Raises:
        Unavailable: a sync has to write what the rehearsal has written (`undone`).
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    guard = Rehearsal()
    async with database_errors(None), undone(resources) as database:
        yield _RehearsalResources(resources, guard, database), guard
