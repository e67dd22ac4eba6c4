"""Advoware's operations that the sync uses, one method each. Records are dicts in Advoware's own field names."""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from typing import Any

from services.advoware import AdvowareAPI
from services.core.errors import (
    InvalidInput,
    NotBefore,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
)
from services.core.foreign_text import clean_value
from services.core.http import HttpAnswer
from services.core.resources import Resources
from services.values.advoware_protocol import (
    BETEILIGTE,
    MITARBEITER,
    SYSTEM,
    TERMINE,
    record_list,
    rows_of,
    single_record,
)

#: So long after we have given up may Advoware still apply a request.
LATE_SECONDS = 10


class TermineAnswer:
    """Advoware's answer with a list of Termine, not read yet: an unchanged one need not be."""

    def __init__(self, answer: HttpAnswer) -> None:
        self._answer = answer

    def digest(self) -> str:
        """Equal for equal answers; what broke off raises UnexpectedAnswer."""
        if self._answer.missing:
            raise UnexpectedAnswer(SYSTEM, self._answer.missing)
        return hashlib.sha256(self._answer.body).hexdigest()

    def rows(self) -> list[Any]:
        """The items, cleaned; what is no record is among them. Takes a while for thousands of them.

        Raises:
            UnexpectedAnswer: the answer is no list, or has no body.
        """
        return _rows(self._answer)


def require_request_over(resources: Resources, started_at: datetime) -> None:
    """Refuse to repeat a request, or to look for what it has left, while Advoware may still apply it.

    ``started_at`` is aware. A slow Advoware goes on with a request that no one waits for any more.

    Raises:
        NotBefore: until our timeout and `LATE_SECONDS` have passed.
    """
    timeout = timedelta(seconds=resources.settings.advoware.api_timeout_seconds)
    latest = started_at + timeout + timedelta(seconds=LATE_SECONDS)
    if latest > resources.now():
        raise NotBefore("an interrupted request", latest)


class AdvowareService:
    """Reads and writes Beteiligte and what belongs to them.

    All methods raise what `AdvowareAPI.api_call` raises, and `UnexpectedAnswer` for an answer of the wrong shape.
    """

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
    ) -> None:
        self.api = AdvowareAPI(context, resources=resources)

    async def _call(self, endpoint: str, method: str = "GET", **options: Any) -> Any:
        """`AdvowareAPI.api_call`, with all texts of the answer cleaned."""
        answer = await self.api.api_call(endpoint, method, **options)
        return clean_value(answer)

    async def get_beteiligter(self, betnr: int | str) -> dict[str, Any]:
        """One Beteiligter with its Kommunikation, Adressen and Bankverbindungen.

        Raises:
            NotFound: Advoware knows no such number; confirmed by a second read of something that must exist.
        """
        number = int(betnr)
        try:
            answer = await self._call(_path(number))
        except NotFound:
            await self._require_that_it_answers()
            raise
        record = single_record(answer)
        if str(record.get("betNr")) != str(number):
            raise UnexpectedAnswer(
                SYSTEM,
                "the answer is not the Beteiligter asked for",
            )
        return record

    async def _require_that_it_answers(self) -> None:
        """A wrong address or a gateway in trouble answers 404 to everything; that says nothing about one record.

        Raises:
            Unavailable: Advoware does not even know its employees.
        """
        try:
            await self.list_mitarbeiter()
        except NotFound as error:
            raise Unavailable(
                SYSTEM,
                "answers 404 to everything",
                status=404,
            ) from error

    async def find_beteiligte(self, **filters: str) -> list[dict[str, Any]]:
        """The Beteiligte whose fields equal the given ones, such as ``name`` and ``vorname`` [A]."""
        answer = await self.api.request(BETEILIGTE, params=filters)
        return record_list(_rows(answer))

    async def create_beteiligter(self, record: dict[str, Any]) -> dict[str, Any]:
        """Create a Beteiligter; the answer contains at least ``betNr``."""
        answer = await self._call(BETEILIGTE, "POST", json_data=record)
        created = single_record(answer)
        if not created.get("betNr"):
            raise UnexpectedAnswer(SYSTEM, "the created Beteiligter has no betNr")
        return created

    async def update_beteiligter(
        self,
        betnr: int | str,
        record: dict[str, Any],
    ) -> dict[str, Any] | None:
        """Replace a Beteiligter. ``record`` is the full object as read, overlaid with the changes."""
        return await self._put(_path(betnr), record)

    async def create_kommunikation(
        self,
        betnr: int | str,
        record: dict[str, Any],
    ) -> dict[str, Any]:
        """Create a Kommunikation of ``tlf, bemerkung, kommKz, online``; the answer contains at least ``id``."""
        return await self._create_part(_path(betnr, "Kommunikationen"), record)

    async def update_kommunikation(
        self,
        betnr: int | str,
        kommunikation_id: int,
        record: dict[str, Any],
    ) -> dict[str, Any] | None:
        """Change a Kommunikation; Advoware ignores ``kommKz``. There is no way to delete one."""
        path = _path(betnr, "Kommunikationen", kommunikation_id)
        return await self._put(path, record)

    async def create_adresse(
        self,
        betnr: int | str,
        record: dict[str, Any],
    ) -> dict[str, Any]:
        """Create an Adresse with all its fields; the answer contains at least ``id``."""
        return await self._create_part(_path(betnr, "Adressen"), record)

    async def update_adresse(
        self,
        betnr: int | str,
        adresse_id: int,
        record: dict[str, Any],
    ) -> dict[str, Any] | None:
        """Change an Adresse; Advoware takes over ``strasse, plz, ort, anschrift`` and ignores everything else."""
        path = _path(betnr, "Adressen", adresse_id)
        return await self._put(path, record)

    async def create_bankverbindung(
        self,
        betnr: int | str,
        record: dict[str, Any],
    ) -> dict[str, Any]:
        """Create a Bankverbindung, which can never be changed or deleted by us; the answer has at least ``id``."""
        return await self._create_part(_path(betnr, "Bankverbindungen"), record)

    async def _create_part(self, path: str, record: dict[str, Any]) -> dict[str, Any]:
        answer = await self._call(path, "POST", json_data=record)
        created = single_record(answer)
        if created.get("id") is None:
            raise UnexpectedAnswer(SYSTEM, "the created record has no id")
        return created

    async def list_mitarbeiter(self) -> list[Any]:
        """The active employees, rows with ``kuerzel`` and ``name``; what is no record is among them."""
        answer = await self.api.request(MITARBEITER, params={"aktiv": "true"})
        return _rows(answer)

    async def list_termine(self, kuerzel: str, first: date, last: date) -> list[Any]:
        """An employee's Termine with a day from ``first`` to ``last`` (both included), and those of all employees.

        An unknown Kürzel has none. Derived entries (negative ``frNr``) are among them, and what is no record.
        """
        answer = await self.ask_termine(kuerzel, first, last)
        return answer.rows()

    async def ask_termine(self, kuerzel: str, first: date, last: date) -> TermineAnswer:
        """The same as `list_termine`, as Advoware has answered it."""
        params = {"kuerzel": kuerzel, "from": first.isoformat(), "to": last.isoformat()}
        answer = await self.api.request(TERMINE, params=params)
        return TermineAnswer(answer)

    async def get_termin(self, frnr: int) -> dict[str, Any]:
        """One Termin.

        Raises:
            NotFound: Advoware knows no such number.
            UnexpectedAnswer: the answer is about another Termin, or Advoware's whole API is not there (404).
        """
        number = int(frnr)
        try:
            answer = await self.api.request(TERMINE, params=_frnr(number))
        except NotFound:
            await self._require_that_it_answers()
            raise
        rows = record_list(_rows(answer))
        if not rows:
            raise NotFound(SYSTEM, f"no Termin has the frNr {number}")
        record = single_record(rows)
        if str(record.get("frNr")) != str(number):
            raise UnexpectedAnswer(SYSTEM, "the answer is not the Termin asked for")
        return record

    async def create_termin(self, record: dict[str, Any]) -> dict[str, Any]:
        """Create a Termin; the answer contains at least ``frNr``.

        Raises:
            WriteProtected: ``ADVOWARE_WRITE_PROTECTION`` is on; likewise in `update_termin` and `delete_termin`.
        """
        answer = await self._call(TERMINE, "POST", json_data=record)
        created = single_record(answer)
        if not isinstance(created.get("frNr"), int):
            raise UnexpectedAnswer(SYSTEM, "the created Termin has no frNr")
        return created

    async def update_termin(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Replace a Termin. ``record`` is the full object as read (with its ``frNr``), overlaid with the changes.

        Raises:
            InvalidInput: the record has no ``frNr``.
        """
        if not isinstance(record.get("frNr"), int):
            raise InvalidInput("a Termin to change needs its frNr")
        return await self._put(TERMINE, record)

    async def delete_termin(self, frnr: int) -> None:
        """Delete a Termin.

        Raises:
            NotFound: there is none of this number.
        """
        await self.api.request(TERMINE, "DELETE", params=_frnr(frnr))

    async def _put(self, path: str, record: dict[str, Any]) -> dict[str, Any] | None:
        """Change a record. What Advoware answered, or None if it answered something else than the record.

        The change is done in either case: who needs to know what was stored reads again.
        """
        answer = await self.api.request(path, "PUT", json_data=record)
        try:
            return single_record(clean_value(answer.json(SYSTEM)))
        except UnexpectedAnswer:
            return None


def _rows(answer: HttpAnswer) -> list[Any]:
    """The items of a list, cleaned. An answer that broke off before its body does not say that there are none."""
    return rows_of(clean_value(answer.json_of_list(SYSTEM)))


def _frnr(frnr: int) -> dict[str, str]:
    """The parameter that names a Termin. In lower case: Advoware ignores ``frNr`` and answers for all Termine."""
    return {"frnr": str(int(frnr))}


def _path(betnr: int | str, part: str = "", part_id: int | None = None) -> str:
    """The path of a Beteiligter, of one of its lists (``Adressen``), or of a record in it."""
    path = f"{BETEILIGTE}/{int(betnr)}"
    if part:
        path = f"{path}/{part}"
    if part_id is not None:
        path = f"{path}/{int(part_id)}"
    return path
