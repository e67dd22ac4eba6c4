"""Who works beside this system in shadow operation: people, and the old system (``old_...``); and the comparison."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import aiohttp
from takeover_office import TakeoverOffice

from sandbox.advoware.beteiligte import KOMMUNIKATION
from sandbox.google.calendar_store import Calendar
from sandbox.google.event import Event
from sandbox.old_firm.generations import GENERATIONS

#: An administrator's key of the EspoCRM twin.
ADMIN = {"X-Api-Key": "espocrm-admin-key"}


@dataclass
class BesideTheOldSystem:
    """The firm while both systems run."""

    office: TakeoverOffice
    session: aiohttp.ClientSession

    async def report(self, *, expected: int = 1) -> dict[str, Any]:
        """``bitbylaw preview shadow``."""
        code, printed = await self.office.command_line("preview", "shadow", "--json")
        assert code == expected, printed
        found: dict[str, Any] = json.loads(printed)
        return found

    # -- people and the old system ----------------------------------------------------------------------------------

    def persons(self) -> list[str]:
        """The ids of Beteiligte that are no companies."""
        records = map(self.office.espocrm_record, self.office.ids)
        return [record["id"] for record in records if record.get("firstName")]

    async def edit(self, entity_id: str, **attributes: Any) -> None:
        """A person edits a Beteiligter in EspoCRM."""
        self.office.clock.advance(seconds=5)
        url = f"{self.office.espocrm.url}/__sandbox__/records/CBeteiligte/{entity_id}"
        async with self.session.put(url, json=attributes) as answer:
            assert answer.status == 200, await answer.text()

    async def enter_person(self, last_name: str) -> str:
        """A person enters a Beteiligter in EspoCRM; its id."""
        url = f"{self.office.espocrm.url}/__sandbox__/records/CBeteiligte"
        record = {
            "firstName": "Erika",
            "lastName": last_name,
            "salutationName": "Frau",
        }
        async with self.session.post(url, json=record) as answer:
            assert answer.status < 300, await answer.text()
            return str((await answer.json())["id"])

    async def delete(self, entity_id: str) -> None:
        """A person deletes a Beteiligter in EspoCRM."""
        url = f"{self.office.espocrm.url}/__sandbox__/records/CBeteiligte/{entity_id}"
        async with self.session.delete(url) as answer:
            assert answer.status == 200, await answer.text()

    def leave_the_firm(self, kuerzel: str) -> None:
        """An employee leaves."""
        advoware = self.office.advoware
        advoware.employees = tuple(
            replace(each, active=each.active and each.kuerzel != kuerzel)
            for each in advoware.employees
        )

    def old_creates_number(self, entity_id: str, number: str) -> None:
        """The old system enters a telephone number in Advoware, with its marker."""
        betnr = int(self.office.espocrm_record(entity_id)["betnr"])
        marker = f"[ESPOCRM:{base64.b64encode(number.encode()).decode()}:1]"
        body = {"tlf": number, "kommKz": 1, "online": False, "bemerkung": marker}
        self.office.advoware.beteiligte.add_part(betnr, KOMMUNIKATION, body)

    def old_writes(self, entity_id: str, **values: str) -> None:
        """The old system brings an edit over to Advoware."""
        betnr = int(self.office.espocrm_record(entity_id)["betnr"])
        self.office.advoware.beteiligte.edit(betnr, values, "API")

    def enter_termin(self, text: str) -> int:
        """A person enters a Termin of SB's."""
        day = f"{self.office.clock().date() + timedelta(days=3)}"
        times = {"uhrzeitVon": "10:00:00", "uhrzeitBis": "11:00:00"}
        record = {"datum": day, "datumBis": day, **times, "text": text, "anwalt": "SB"}
        return int(self.office.advoware.termine.create(record)["frNr"])

    def calendar(self) -> Calendar:
        """SB's calendar in Google."""
        found: Calendar = self.office.loaded.calendars["SB"]
        return found

    def change_termin(self, fr_nr: int, text: str) -> None:
        """A person changes a Termin."""
        self.office.clock.advance(seconds=5)
        self.office.advoware.termine.edit(fr_nr, {"text": text})

    def old_changes_event(self, former: str, text: str) -> None:
        """The old system brings a change over to Google."""
        self.office.google.world.events.change(
            self._account(),
            self.calendar(),
            self._event(former),
            {"summary": text},
            patch=True,
        )

    def old_deletes_event(self, title: str) -> None:
        """The old system deletes the event of a Termin that is gone."""
        self.office.google.world.events.delete(self.calendar(), self._event(title))

    def old_creates_event(self, fr_nr: int) -> None:
        """The old system enters a Termin in Google, with its mark and an id that Google gives."""
        termin = next(
            each for each in self.office.advoware.termine.all() if each["frNr"] == fr_nr
        )
        day = termin["datum"][:10]
        times = {
            name: {"dateTime": f"{day}T{time}:00", "timeZone": "Europe/Berlin"}
            for name, time in (("start", "10:00"), ("end", "11:00"))
        }
        mark = {GENERATIONS["uuid"].mark: str(fr_nr)}
        event = {
            "summary": termin["text"],
            **times,
            "extendedProperties": {"private": mark},
        }
        events = self.office.google.world.events
        events.insert(self._account(), self.calendar(), event)

    def old_creates_beteiligter(self, entity_id: str) -> None:
        """The old system enters a CBeteiligte in Advoware, and notes the number in EspoCRM."""
        record = self.office.espocrm_record(entity_id)
        created = self.office.advoware.beteiligte.create(
            {
                "name": record["lastName"],
                "vorname": record["firstName"],
                "anrede": record["salutationName"],
                "rechtsform": "",
            },
            "API",
        )
        noted = {
            "betnr": created["betNr"],
            "advowareRowId": created["rowId"],
            "syncStatus": "clean",
        }
        self.office.espocrm.set_silently("CBeteiligte", entity_id, noted)

    def _account(self) -> str:
        return str(self.office.google.service_account()["client_email"])

    def _event(self, title: str) -> Event:
        """The event of SB's with this title."""
        return next(
            event
            for event in self.calendar().events.values()
            if event.content.fields.get("summary") == title
        )


def named(report: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    """The differences: subject, kind of the record and field, and which it is."""
    return {
        (item["subject"], item["kind"], item["field"]): item["difference"]
        for item in report["differences"]
    }
