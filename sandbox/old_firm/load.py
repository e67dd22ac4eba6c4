"""Enters a firm into the twins as the old system leaves it, and its table into PostgreSQL."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from sandbox.advoware.app import AdvowareTwin
from sandbox.advoware.beteiligte import ADRESSE, KOMMUNIKATION
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.firm.build import Firm
from sandbox.google.app import GoogleTwin
from sandbox.google.calendar_store import Calendar
from sandbox.old_firm.calendars import OldCalendars
from sandbox.old_firm.generations import Generation

Json = dict[str, Any]

#: The kinds that the old system synced.
_KINDS: Final = frozenset({1, 2, 3, 4, 6, 7, 8, 9, 10})
_USER: Final = "API"
#: Who has entered what was not made from a Termin.
PERSON: Final = "anna@example.de"
#: Every so many Beteiligte one has this wrong.
_DAMAGED_EVERY: Final = 40
_CHANGED_EVERY: Final = 25


@dataclass(frozen=True)
class Loaded:
    """What was entered: Advoware's number for each number of the generator, and each employee's calendar."""

    fr_nr: Mapping[int, int]
    calendars: Mapping[str, Calendar]


# -- Beteiligte -----------------------------------------------------------------------------------------------------


def load_beteiligte(
    firm: Firm, espocrm: EspoCRMTwin, advoware: AdvowareTwin, *, with_faults: bool
) -> None:
    """Both systems know all parties, and bear the old system's marks.

    With faults, some markers are damaged, and some names were changed in Advoware since the last sync.
    """
    espocrm.load_firm(firm)
    advoware.beteiligte.load(firm.parties, _USER)
    for number, party in enumerate(firm.parties):
        _mark_contacts(
            advoware, party.betnr, damage=with_faults and number % _DAMAGED_EVERY == 3
        )
        for address in party.addresses:
            if address.sides == "both":
                note = {"bemerkung": f"EspoCRM-ID: {address.espocrm_id}"}
                part = {"id": address.advoware_id, **note}
                _edit(advoware, party.betnr, ADRESSE.list_name, part)
        if with_faults and number % _CHANGED_EVERY == 7:
            advoware.beteiligte.edit(
                party.betnr, {"geburtsname": "Alt", "vorname": "Neuer"}, "SB"
            )
        record = advoware.beteiligte.get(party.betnr)
        espocrm.set_silently(
            "CBeteiligte",
            party.espocrm_id,
            {
                "advowareRowId": record["rowId"],
                "kommunikationHash": _hash(record["kommunikation"]),
            },
        )


def _mark_contacts(advoware: AdvowareTwin, betnr: int, *, damage: bool) -> None:
    for entry in advoware.beteiligte.get(betnr)["kommunikation"]:
        if entry["kommKz"] not in _KINDS or not entry["tlf"]:
            continue
        encoded = base64.b64encode(entry["tlf"].encode()).decode()
        marker = f"[ESPOCRM:{encoded}:{entry['kommKz']}]"
        if damage:
            marker = "[ESPOCRM:###:1]"
        note = f"{marker} {entry['bemerkung'] or ''}".strip()
        body = {"bemerkung": note}
        advoware.beteiligte.change_part(betnr, KOMMUNIKATION, entry["id"], body)


def _edit(advoware: AdvowareTwin, betnr: int, name: str, part: Json) -> None:
    advoware.beteiligte.edit(betnr, {name: [part]}, _USER)


def _hash(entries: Sequence[Json]) -> str:
    row_ids = sorted(
        str(entry["rowId"]) for entry in entries if entry["kommKz"] in _KINDS
    )
    digest = hashlib.md5("".join(row_ids).encode(), usedforsecurity=False)
    return digest.hexdigest()[:16]


# -- calendars ------------------------------------------------------------------------------------------------------


def load_calendars(
    made: OldCalendars,
    kuerzel: Sequence[str],
    generation: Generation,
    advoware: AdvowareTwin,
    google: GoogleTwin,
) -> Loaded:
    """Termine, calendars and events; the events were made by the service account."""
    account = str(google.service_account()["client_email"])
    advoware.termine.admit(kuerzel)
    numbers = _load_termine(made, advoware)
    calendars: dict[str, Calendar] = {}
    for name in kuerzel:
        body = {"summary": f"AW-{name}", "timeZone": "Europe/Berlin"}
        calendars[name] = google.world.calendars.insert(account, body)
    events = google.world.events
    for home, index, event in made.events:
        calendar = calendars[home]
        if index is None:
            events.insert(PERSON, calendar, event)
            continue
        marked = dict(event)
        if generation.mark:
            private = {generation.mark: str(numbers[index])}
            marked["extendedProperties"] = {"private": private}
        events.insert(account, calendar, marked)
    return Loaded(numbers, calendars)


def _load_termine(made: OldCalendars, advoware: AdvowareTwin) -> dict[int, int]:
    """The Termine's numbers, also of those that are deleted again."""
    numbers: dict[int, int] = {}
    for index, record in made.termine:
        created = advoware.termine.create(record)
        numbers[index] = int(created["frNr"])
    for index in made.deleted_termine:
        advoware.termine.remove(numbers[index])
    return numbers


async def load_table(
    connection: asyncpg.Connection,
    made: OldCalendars,
    generation: Generation,
    fr_nr: Mapping[int, int],
) -> None:
    """The old table of this generation, with its rows."""
    if not generation.table:
        return
    await connection.execute(generation.table)
    for row in made.rows:
        number = row["advoware_frnr"]
        if number is not None:
            row = {**row, "advoware_frnr": fr_nr[number]}
        await insert_row(connection, generation.stored(row))


async def insert_row(connection: asyncpg.Connection, stored: Json) -> None:
    """One row, as the table stores it."""
    names = ", ".join(stored)
    places = ", ".join(f"${place}" for place in range(1, len(stored) + 1))
    await connection.execute(
        f"INSERT INTO calendar_sync ({names}) VALUES ({places})",  # noqa: S608 - names of columns
        *stored.values(),
    )
