"""The outside world of `tools/kill_trial.py`: three twins that live on, people who edit in them, and what must hold.

What people type is used once, so that it can be found again: a number, a street, an account, a title. In Advoware
people edit only what no one edits in EspoCRM in the same round: between the sync's last look at a Beteiligter and its
PUT neither of both systems lets a client guard an edit (docs/architecture.md).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import schwifty
from calendar_people import PERSON
from servers import advoware_variables, espocrm_variables, google_variables
from watched_journal import WatchedJournal

from cli.demo import EVENTS, PATHS
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running
from sandbox.espocrm import webhooks
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.espocrm.entities import ENTITIES
from sandbox.google.app import GoogleTwin
from sandbox.google.event import CANCELLED, render_event

Record = dict[str, Any]

KUERZEL = "SB"
ZONE = "Europe/Berlin"
#: A real EspoCRM tries a webhook again after ten minutes; so long no trial waits here.
RETRY_AFTER = timedelta(seconds=3)
MAX_ATTEMPTS = 100
SETTINGS = {
    "ADVOWARE_WRITE_PROTECTION": "false",
    "ADVOWARE_API_TIMEOUT_SECONDS": "5",
    # How long a dead worker's lock may be waited for.
    "VMH_LOCK_SECONDS": "5",
    "CALENDAR_SYNC_DEBUG_KUERZEL": KUERZEL,
    "CALENDAR_SYNC_DAYS_AHEAD": "90",
}


@dataclass
class Person:
    """What a user must find of a person on both sides."""

    token: str
    last_name: str
    first_name: str = "Erika"
    numbers: list[str] = field(default_factory=list)
    streets: list[str] = field(default_factory=list)
    ibans: list[str] = field(default_factory=list)


class KillWorld:
    """Twins, and people."""

    kuerzel = KUERZEL

    def __init__(self, folder: Path) -> None:
        self._account = folder / "service-account.json"
        self.espocrm = EspoCRMTwin(empty=True, webhook_interval=0.2)
        self.advoware = AdvowareTwin(empty=True)
        self.google = GoogleTwin(
            empty=True, service_account_file=self._account, quota_per_minute=None
        )
        self.written: list[
            str
        ] = []  #: the requests of the sync that may change something
        self._people: dict[str, Person] = {}
        self._termine: dict[str, str] = {}  #: title -> start
        self._events: set[str] = set()  #: titles
        self._edited: set[str] = set()
        #: Whose name was corrected in Advoware, where nothing reports it: the check of old records finds it in a day.
        self.corrected: set[str] = set()
        self._tokens = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path) -> AsyncIterator[KillWorld]:
        """A world whose twins run."""
        webhooks.RETRY_AFTER = RETRY_AFTER
        webhooks.MAX_ATTEMPTS = MAX_ATTEMPTS
        world = cls(folder)
        async with AsyncExitStack() as stack:
            for twin in (world.espocrm, world.advoware, world.google):
                await stack.enter_async_context(running(twin))
                twin.journal = WatchedJournal(world._on_request)
            yield world

    def variables(self) -> dict[str, str]:
        """How the system finds this world."""
        twins = (self.espocrm.url, self.advoware.url, self.google.url)
        return {
            **{
                name: str(value)
                for variables in (
                    espocrm_variables(self.espocrm),
                    advoware_variables(self.advoware),
                    google_variables(self.google, self._account),
                )
                for name, value in variables.items()
            },
            **SETTINGS,
            "BITBYLAW_TWINS": ",".join(str(url) for url in twins),
        }

    def register_webhooks(self, url: str) -> None:
        """EspoCRM reports each change to that system."""
        for event in EVENTS:
            entity, _, action = event.partition(".")
            webhook = {
                "event": event,
                "url": f"{url}/vmh/webhook/{PATHS[entity]}/{action}",
                "isActive": True,
                "skipOwn": True,
            }
            self._create("Webhook", webhook)

    def _on_request(self, entry: Record) -> None:
        is_login = "oken" in entry["path"]
        if entry["method"] not in {"GET", "HEAD"} and not is_login:
            self.written.append(f"{entry['method']} {entry['path']}")

    # -- people -----------------------------------------------------------------------------------------------------

    def edit(self, chance: random.Random) -> None:
        """A user does something somewhere."""
        edits = [
            *([self._enter] * 3),
            *([self._rename] * 3),
            *([self._add_number] * 2),
            self._correct_first_name,
            *([self._enter_termin] * 2),
            self._move_termin,
            self._enter_event,
        ]
        chance.choice(edits)(chance)

    def _next_token(self) -> str:
        self._tokens += 1
        return f"N{self._tokens:05}"

    def _number(self) -> str:
        return f"+495117{self._tokens:06}"

    def _create(self, entity: str, body: Record) -> str:
        service, admin = self.espocrm._service, self.espocrm._admin
        return str(service.create(ENTITIES[entity], body, admin).id)

    def _update(self, entity_id: str, **changes: Any) -> None:
        record = self.espocrm._store.get(ENTITIES["CBeteiligte"], entity_id)
        self.espocrm._service.update(record, changes, self.espocrm._admin)
        self._edited.add(entity_id)

    def _enter(self, chance: random.Random) -> None:
        token = self._next_token()
        person = Person(token, f"Kunde {token}", numbers=[self._number()])
        phone = {"phoneNumber": person.numbers[0], "type": "Office", "primary": True}
        body = {
            "firstName": person.first_name,
            "lastName": person.last_name,
            "salutationName": "Frau",
            "phoneNumberData": [phone],
        }
        entity_id = self._create("CBeteiligte", body)
        self._people[entity_id] = person
        self._edited.add(entity_id)
        if chance.random() < 0.5:
            self._enter_address(entity_id, person)
        if chance.random() < 0.5:
            self._enter_account(entity_id, person)

    def _enter_address(self, entity_id: str, person: Person) -> None:
        person.streets.append(f"Gasse {person.token}")
        place = {"adressePostalCode": "30159", "adresseCity": "Hannover"}
        street = {"adresseStreet": person.streets[-1]}
        self._create("CAdressen", {"beteiligteId": entity_id, **street, **place})

    def _enter_account(self, entity_id: str, person: Person) -> None:
        iban = schwifty.IBAN.generate("DE", "37040044", f"{self._tokens:010}")
        person.ibans.append(str(iban))
        account = {"iban": str(iban), "kontoinhaber": f"Inhaber {person.token}"}
        self._create("CBankverbindungen", {"beteiligteId": entity_id, **account})

    def _rename(self, chance: random.Random) -> None:
        if not self._people:
            return
        entity_id, person = chance.choice(list(self._people.items()))
        person.last_name = f"Kunde {person.token} {self._next_token()}"
        self._update(entity_id, lastName=person.last_name)

    def _add_number(self, chance: random.Random) -> None:
        if not self._people:
            return
        entity_id, person = chance.choice(list(self._people.items()))
        self._next_token()
        person.numbers.append(self._number())
        rows = [
            {"phoneNumber": number, "type": "Office", "primary": not place}
            for place, number in enumerate(person.numbers)
        ]
        self._update(entity_id, phoneNumberData=rows)

    def _correct_first_name(self, chance: random.Random) -> None:
        """A user corrects a name in Advoware, of a person whom no one edits in EspoCRM."""
        calm = [
            row
            for row in self._rows("CBeteiligte")
            if row["id"] not in self._edited and row.get("syncStatus") == "clean"
        ]
        if not calm:
            return
        row = chance.choice(calm)
        person = self._people[row["id"]]
        person.first_name = f"Erna {self._next_token()}"
        changes = {"vorname": person.first_name}
        self.advoware.beteiligte.edit(row["betnr"], changes, "SB")
        self._edited.add(row["id"])
        self.corrected.add(row["id"])

    def _enter_termin(self, _chance: random.Random) -> None:
        title = f"Termin {self._next_token()}"
        self._termine[title] = self._start(9)
        times = self._times(self._termine[title])
        body = {"text": title, "anwalt": KUERZEL, "ort": "Hannover", **times}
        self.advoware.termine.create(body)

    def _move_termin(self, chance: random.Random) -> None:
        if not self._termine:
            return
        title = chance.choice(list(self._termine))
        self._termine[title] = self._start(chance.randint(10, 18))
        (record,) = self._records(title)
        self.advoware.termine.edit(record["frNr"], self._times(self._termine[title]))

    @staticmethod
    def _start(hour: int) -> str:
        day = datetime.now(UTC).date() + timedelta(days=20)
        return f"{day}T{hour:02}:00:00"

    @staticmethod
    def _times(start: str) -> Record:
        day, _, clock = start.partition("T")
        end = f"{int(clock[:2]) + 1:02}:00:00"
        times = {"uhrzeitVon": clock, "uhrzeitBis": end}
        return {"datum": day, "datumBis": day, **times}

    def _enter_event(self, _chance: random.Random) -> None:
        calendar = self._calendar()
        if calendar is None:
            return
        title = f"Ereignis {self._next_token()}"
        self._events.add(title)
        body = {
            "summary": title,
            "start": {"dateTime": self._start(9), "timeZone": ZONE},
            "end": {"dateTime": self._start(10), "timeZone": ZONE},
        }
        self.google.world.events.insert(PERSON, calendar, body)

    # -- what is there ----------------------------------------------------------------------------------------------

    def _rows(self, entity: str) -> list[Record]:
        store = self.espocrm._store
        return [store.full(record) for record in store.records(entity)]

    def _records(self, title: str) -> list[Record]:
        return [row for row in self.advoware.termine.all() if row["text"] == title]

    def _calendar(self) -> Any:
        calendars = self.google.world.calendars.calendars.values()
        name = f"AW-{KUERZEL}"
        return next((own for own in calendars if own.texts["summary"] == name), None)

    def _shown_events(self) -> list[Record]:
        calendar = self._calendar()
        if calendar is None:
            return []
        events = self.google.world.events
        shown = [events.as_shown(calendar, event) for event in calendar.events.values()]
        return [
            render_event(event, calendar.id, calendar.zone)
            for event in shown
            if event.status != CANCELLED
        ]

    def summary(self) -> str:
        """How much there is."""
        return (
            f"{len(self._people)} people, {len(self._termine)} Termine, {len(self._events)} events, "
            f"{len(self.written)} writes: nothing lost or doubled"
        )

    # -- what must hold ---------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is lost, doubled or reported wrongly; if nothing is, people may edit everywhere again."""
        problems = [
            *self._problems_of_people(),
            *self._problems_of_appointments(),
            *(f"a task: {row['name']}" for row in self._rows("Task")),
        ]
        if not problems:
            self._edited.clear()
            self.corrected.clear()
        return problems

    def _problems_of_people(self) -> list[str]:
        rows = {row["id"]: row for row in self._rows("CBeteiligte")}
        records = {row["betNr"]: row for row in self.advoware.beteiligte.all()}
        problems = []
        if len(records) != len(self._people):
            problems.append(f"{len(records)} Beteiligte of {len(self._people)} people")
        parts = {
            entity: self._rows(entity) for entity in ("CAdressen", "CBankverbindungen")
        }
        for entity_id, person in self._people.items():
            row = rows[entity_id]
            record = records.get(row.get("betnr"))
            if record is None:
                problems.append(f"{person.token}: not in Advoware")
                continue
            problems += differences(person, row, record)
            problems += _parts_left(entity_id, person, parts)
        return problems

    def _problems_of_appointments(self) -> list[str]:
        records = [
            (row["text"], f"{row['datum'][:10]}T{row['uhrzeitVon']}")
            for row in self.advoware.termine.all()
        ]
        shown = [
            (event.get("summary"), event["start"]["dateTime"][:19])
            for event in self._shown_events()
        ]
        wanted = [*self._termine.items()]
        wanted += [(title, self._start(9)) for title in self._events]
        found = {"Advoware": sorted(records), "Google": sorted(shown)}
        return [
            f"{system}: {_difference(sorted(wanted), there)}"
            for system, there in found.items()
            if there != sorted(wanted)
        ]


def differences(person: Person, row: Record, record: Record) -> list[str]:
    """What both sides do not show of a person as they should."""
    numbers = [entry["tlf"] for entry in record["kommunikation"] if entry["tlf"]]
    streets = [entry["strasse"] for entry in record["adressen"]]
    ibans = [entry["iban"] for entry in record["bankkverbindungen"]]
    shown = [entry["phoneNumber"] for entry in row["phoneNumberData"]]
    pairs = {
        "status": (row.get("syncStatus"), "clean"),
        "last name in EspoCRM": (row["lastName"], person.last_name),
        "last name in Advoware": (record["name"], person.last_name),
        "first name in EspoCRM": (row["firstName"], person.first_name),
        "first name in Advoware": (record["vorname"], person.first_name),
        "numbers in EspoCRM": (sorted(shown), sorted(person.numbers)),
        "numbers in Advoware": (sorted(numbers), sorted(person.numbers)),
        "streets in Advoware": (streets, person.streets),
        "accounts in Advoware": (ibans, person.ibans),
    }
    return [
        f"{person.token}, {what}: {is_there}, not {wanted}"
        for what, (is_there, wanted) in pairs.items()
        if is_there != wanted
    ]


def _parts_left(
    entity_id: str, person: Person, parts: dict[str, list[Record]]
) -> list[str]:
    """The addresses and accounts in EspoCRM that are doubled, missing or not synced."""
    wanted = {
        "CAdressen": len(person.streets),
        "CBankverbindungen": len(person.ibans),
    }
    problems = []
    for entity, rows in parts.items():
        own = [row for row in rows if row.get("beteiligteId") == entity_id]
        clean = [row for row in own if row.get("syncStatus") == "clean"]
        if not len(own) == len(clean) == wanted[entity]:
            problems.append(f"{person.token}: {entity} {len(own)}, clean {len(clean)}")
    return problems


def _difference(wanted: list[Any], there: list[Any]) -> str:
    missing = [item for item in wanted if item not in there]
    added = [item for item in there if there.count(item) > wanted.count(item)]
    return f"missing {missing}, too much {added}"
