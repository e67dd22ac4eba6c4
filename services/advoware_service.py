"""Advoware's operations that the sync uses, one method each. Records are dicts in Advoware's own field names."""

from __future__ import annotations

from typing import Any

from services.advoware import AdvowareAPI
from services.advoware_models import BETEILIGTE, MITARBEITER, SYSTEM, record_list, single_record
from services.errors import NotFound, UnexpectedAnswer
from services.resources import Resources


class AdvowareService:
    """Reads and writes Beteiligte and what belongs to them.

    All methods raise what `AdvowareAPI.api_call` raises, and `UnexpectedAnswer` for an answer of the wrong shape.
    """

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self.api = AdvowareAPI(context, resources=resources)

    async def get_beteiligter(self, betnr: int | str) -> dict[str, Any]:
        """One Beteiligter with its Kommunikation, Adressen and Bankverbindungen.

        Raises:
            NotFound: Advoware knows no such number; confirmed by a second read of something that must exist.
        """
        try:
            record = single_record(await self.api.api_call(f"{BETEILIGTE}/{int(betnr)}"))
        except NotFound:
            await self.list_mitarbeiter()  # a wrong address or a gateway in trouble answers 404 as well
            raise
        if str(record.get("betNr")) != str(int(betnr)):
            raise UnexpectedAnswer(SYSTEM, "the answer is not the Beteiligter asked for")
        return record

    async def find_beteiligte(self, **filters: str) -> list[dict[str, Any]]:
        """The Beteiligte whose fields equal the given ones, such as ``name`` and ``vorname`` [A]."""
        return record_list(await self.api.api_call(BETEILIGTE, params=filters))

    async def create_beteiligter(self, record: dict[str, Any]) -> dict[str, Any]:
        """Create a Beteiligter; the answer contains at least ``betNr``."""
        created = single_record(await self.api.api_call(BETEILIGTE, "POST", json_data=record))
        if not created.get("betNr"):
            raise UnexpectedAnswer(SYSTEM, "the created Beteiligter has no betNr")
        return created

    async def update_beteiligter(self, betnr: int | str, record: dict[str, Any]) -> dict[str, Any] | None:
        """Replace a Beteiligter. ``record`` is the full object as read, overlaid with the changes."""
        answer = await self.api.api_call(f"{BETEILIGTE}/{int(betnr)}", "PUT", json_data=record)
        return single_record(answer) if answer else None

    async def create_kommunikation(self, betnr: int | str, record: dict[str, Any]) -> dict[str, Any]:
        """Create a Kommunikation of ``tlf, bemerkung, kommKz, online``; the answer contains at least ``id``."""
        path = f"{BETEILIGTE}/{int(betnr)}/Kommunikationen"
        return _with_id(await self.api.api_call(path, "POST", json_data=record))

    async def update_kommunikation(
        self, betnr: int | str, kommunikation_id: int, record: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Change a Kommunikation; Advoware ignores ``kommKz``. There is no way to delete one."""
        path = f"{BETEILIGTE}/{int(betnr)}/Kommunikationen/{int(kommunikation_id)}"
        answer = await self.api.api_call(path, "PUT", json_data=record)
        return single_record(answer) if answer else None

    async def create_adresse(self, betnr: int | str, record: dict[str, Any]) -> dict[str, Any]:
        """Create an Adresse with all its fields; the answer contains at least ``id``."""
        return _with_id(await self.api.api_call(f"{BETEILIGTE}/{int(betnr)}/Adressen", "POST", json_data=record))

    async def update_adresse(self, betnr: int | str, adresse_id: int, record: dict[str, Any]) -> dict[str, Any] | None:
        """Change an Adresse; Advoware takes over ``strasse, plz, ort, anschrift`` and ignores everything else."""
        path = f"{BETEILIGTE}/{int(betnr)}/Adressen/{int(adresse_id)}"
        answer = await self.api.api_call(path, "PUT", json_data=record)
        return single_record(answer) if answer else None

    async def create_bankverbindung(self, betnr: int | str, record: dict[str, Any]) -> dict[str, Any]:
        """Create a Bankverbindung, which can never be changed or deleted by us; the answer has at least ``id``."""
        path = f"{BETEILIGTE}/{int(betnr)}/Bankverbindungen"
        return _with_id(await self.api.api_call(path, "POST", json_data=record))

    async def list_mitarbeiter(self) -> list[dict[str, Any]]:
        """The active employees, rows with ``kuerzel`` and ``name``."""
        return record_list(await self.api.api_call(MITARBEITER, params={"aktiv": "true"}))


def _with_id(answer: Any) -> dict[str, Any]:
    created = single_record(answer)
    if created.get("id") is None:
        raise UnexpectedAnswer(SYSTEM, "the created record has no id")
    return created
