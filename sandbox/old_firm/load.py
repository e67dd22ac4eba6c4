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
from sandbox.firm.build import Firm, Party
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
    firm: Firm,
    espocrm: EspoCRMTwin,
    advoware: AdvowareTwin,
    *,
    with_faults: bool,
) -> None:
    """Both systems know all parties, and bear the old system's marks.

    With faults, some markers are damaged, and some names were changed in Advoware since the last sync.
    """
    espocrm.load_firm(firm)
    advoware.beteiligte.load(firm.parties, _USER)
    for number, party in enumerate(firm.parties):
        damage = with_faults and number % _DAMAGED_EVERY == 3
        _mark_contacts(advoware, party.betnr, damage=damage)
        _mark_addresses(advoware, party)
        if with_faults and number % _CHANGED_EVERY == 7:
            changes = {"geburtsname": "Alt", "vorname": "Neuer"}
            advoware.beteiligte.edit(party.betnr, changes, "SB")
        record = advoware.beteiligte.get(party.betnr)
        known = {
            "advowareRowId": record["rowId"],
            "kommunikationHash": _hash(record["kommunikation"]),
        }
        espocrm.set_silently("CBeteiligte", party.espocrm_id, known)


def _mark_addresses(advoware: AdvowareTwin, party: Party) -> None:
    for address in party.addresses:
        if address.sides != "both":
            continue
        part = {
            "id": address.advoware_id,
            "bemerkung": f"EspoCRM-ID: {address.espocrm_id}",
        }
        changes = {ADRESSE.list_name: [part]}
        advoware.beteiligte.edit(party.betnr, changes, _USER)


def _mark_contacts(advoware: AdvowareTwin, betnr: int, *, damage: bool) -> None:
    beteiligte = advoware.beteiligte
    record = beteiligte.get(betnr)
    for entry in record["kommunikation"]:
        if entry["kommKz"] not in _KINDS:
            continue
        if not entry["tlf"]:
            continue
        marker = _marker_of(entry)
        if damage:
            marker = "[ESPOCRM:###:1]"
        remark = entry["bemerkung"] or ""
        body = {"bemerkung": f"{marker} {remark}".strip()}
        beteiligte.change_part(betnr, KOMMUNIKATION, entry["id"], body)


def _marker_of(entry: Json) -> str:
    encoded = base64.b64encode(entry["tlf"].encode()).decode()
    return f"[ESPOCRM:{encoded}:{entry['kommKz']}]"


def _hash(entries: Sequence[Json]) -> str:
    row_ids = []
    for entry in entries:
        if entry["kommKz"] in _KINDS:
            row_ids.append(str(entry["rowId"]))
    joined = "".join(sorted(row_ids))
    digest = hashlib.md5(joined.encode(), usedforsecurity=False)
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
    credentials = google.service_account()
    account = credentials["client_email"]
    advoware.termine.admit(kuerzel)
    numbers = _load_termine(made, advoware)
    world = google.world
    calendars = {}
    for name in kuerzel:
        body = {"summary": f"AW-{name}", "timeZone": "Europe/Berlin"}
        calendars[name] = world.calendars.insert(account, body)
    for home, index, event in made.events:
        calendar = calendars[home]
        if index is None:
            world.events.insert(PERSON, calendar, event)
        else:
            marked = _marked(event, generation, numbers[index])
            world.events.insert(account, calendar, marked)
    return Loaded(numbers, calendars)


def _marked(event: Json, generation: Generation, number: int) -> Json:
    """An event with the mark that this generation of the old system gave it, if it gave one."""
    if not generation.mark:
        return event
    private = {generation.mark: str(number)}
    return {**event, "extendedProperties": {"private": private}}


def _load_termine(made: OldCalendars, advoware: AdvowareTwin) -> dict[int, int]:
    """The Termine's numbers, also of those that are deleted again."""
    termine = advoware.termine
    numbers = {}
    for index, record in made.termine:
        created = termine.create(record)
        numbers[index] = int(created["frNr"])
    for index in made.deleted_termine:
        termine.remove(numbers[index])
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
    numbers = range(1, len(stored) + 1)
    places = ", ".join(f"${number}" for number in numbers)
    await connection.execute(
        f"INSERT INTO calendar_sync ({names}) VALUES ({places})",  # noqa: S608 - names of columns
        *stored.values(),
    )
