"""A firm whose calendars are in step, what may go wrong in them, and the audit's command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from command_line import run_program

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.google.app import GoogleTwin
from services.calendar_sync.calendars import ensure_calendar
from services.calendar_sync.mapping import google_body, google_event_id, read_termin
from services.calendar_sync.model import NormalisedEvent, Pair
from services.calendar_sync.store import AuditLine, CalendarStore, Cursor
from services.core.resources import Resources
from services.google_calendar import GoogleCalendarAPI
from services.values.advoware_protocol import BERLIN

SECRET = "Ehescheidung"  # noqa: S105 - invented
PERSON = "anna@example.de"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the command line printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Json:
        """The one JSON document on stdout."""
        answer: Json = json.loads(self.stdout)
        return answer

    def findings(self) -> set[tuple[str, Any]]:
        """Kind of each finding, with the event or else the frNr that it is about."""
        return {
            (entry["kind"], entry["google_event_id"] or entry["advoware_frnr"])
            for entry in self.document["findings"]
        }

    def removed(self) -> set[str]:
        """Events (or pairs, if the row goes) that the command has deleted."""
        return {
            entry["sync_id"]
            if entry["remedy"] == "delete_pair"
            else entry["google_event_id"]
            for entry in self.document["changes"]
            if entry["done"]
        }


@dataclass
class AuditOffice:
    """The employees SB and AI, each with a calendar; SB's is what most tests are about."""

    advoware: AdvowareTwin
    google: GoogleTwin
    resources: Resources
    session: aiohttp.ClientSession
    directory: Path
    calendars: dict[str, str]

    @classmethod
    async def open(
        cls,
        advoware: AdvowareTwin,
        google: GoogleTwin,
        make: Callable[..., Settings],
        directory: Path,
    ) -> AuditOffice:
        """The office, in step."""
        account = directory / "account.json"
        account.write_text(json.dumps(google.service_account()))
        settings = make(
            GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH=str(account),
            GOOGLE_CALENDAR_API_ENDPOINT=google.url,
            CALENDAR_SYNC_DEBUG_KUERZEL="SB,AI",
        )
        resources = Resources(settings)
        await resources.calendar_redis.flushall()
        office = cls(
            advoware, google, resources, aiohttp.ClientSession(), directory, {}
        )
        for kuerzel in ("SB", "AI"):
            office.calendars[kuerzel] = await ensure_calendar(
                office.api, kuerzel, settings
            )
            cursor = Cursor(
                employee_kuerzel=kuerzel, calendar_id=office.calendars[kuerzel]
            )
            store, now = await office.store(), datetime.now(UTC)
            await store.save_cursor(cursor, now)
            await store.note_run(kuerzel, "no_change", None, now)
        return office

    async def close(self) -> None:
        """All employees go home."""
        await self.session.close()
        await self.resources.close()

    # -- the command line -----------------------------------------------------------------------------------------

    async def audit(
        self,
        *arguments: str,
        as_json: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> Answer:
        """`bitbylaw audit ...` in this process; ``variables`` override the environment."""
        given = ["audit", *arguments, *(["--json"] if as_json else [])]
        environment = self.environment() | dict(variables or {})
        result = await run_program(given, environment)
        return Answer(result.exit_code, result.stdout, result.stderr)

    def environment(self) -> dict[str, str]:
        """The variables of an operator who uses these servers."""
        environment = self.resources.settings.environment()
        twins = f"{environment['BITBYLAW_TWINS']},http://127.0.0.1:9"  # nothing listens there
        return environment | {
            "BITBYLAW_TWINS": twins,
            "BITBYLAW_ENV_FILE": "",
            "COLUMNS": "200",
        }

    # -- what the sync has done -----------------------------------------------------------------------------------

    async def store(self) -> CalendarStore:
        """The tables of the sync."""
        return CalendarStore(await self.resources.database())

    @property
    def api(self) -> GoogleCalendarAPI:
        """Google, as the sync calls it."""
        return GoogleCalendarAPI(resources=self.resources)

    async def new_calendar(self, name: str) -> str:
        """A calendar of our account; its id."""
        return str((await self.api.insert_calendar(name))["id"])

    def termin(self, day: int = 1, **fields: Any) -> int:
        """A person enters a Termin of SB's, so many days from today; its frNr."""
        on = (datetime.now(BERLIN).date() + timedelta(days=day)).isoformat()
        values = {
            "text": f"{SECRET} {uuid4().hex[:6]}",
            "anwalt": "SB",
            "sb": "SB",
            **fields,
        }
        record = {
            "datum": on,
            "uhrzeitVon": "10:00:00",
            "uhrzeitBis": "11:00:00",
            "datumBis": on,
            **values,
        }
        return int(self.advoware.termine.create(record)["frNr"])

    def content(self, frnr: int) -> NormalisedEvent:
        """What a Termin says."""
        event = read_termin(
            next(row for row in self.advoware.termine.all() if row["frNr"] == frnr)
        ).event
        assert isinstance(event, NormalisedEvent)
        return event

    async def insert(
        self,
        frnr: int,
        event_id: str | None = None,
        *,
        sync_id: UUID | None = None,
        kuerzel: str = "SB",
        **changes: Any,
    ) -> str:
        """The sync puts the Termin's event into the calendar; its id."""
        calendar = self.calendars[kuerzel]
        event_id = event_id or google_event_id(frnr, calendar)
        body = google_body(self.content(frnr), frnr, sync_id or uuid4())
        await self.api.insert_event(calendar, {"id": event_id, **body, **changes})
        return event_id

    async def synced(self, day: int = 1, *, kuerzel: str = "SB", **fields: Any) -> Pair:
        """A Termin with its event and its row."""
        frnr, sync_id = self.termin(day, **{"anwalt": kuerzel, **fields}), uuid4()
        event_id = await self.insert(frnr, sync_id=sync_id, kuerzel=kuerzel)
        return await self.remember(
            frnr, event_id, sync_id=sync_id, employee_kuerzel=kuerzel, **self.days(frnr)
        )

    def days(self, frnr: int) -> Json:
        """The days that a row remembers of a Termin."""
        event = self.content(frnr)
        return {"first_day": event.first_day, "last_day": event.last_day}

    async def remember(
        self, frnr: int | None, event_id: str | None, **more: Any
    ) -> Pair:
        """A row, as after a sync."""
        day = datetime.now(BERLIN).date() + timedelta(days=1)
        values: Json = {
            "sync_id": uuid4(),
            "employee_kuerzel": "SB",
            "source_system": "advoware",
        }
        values |= {"first_day": day, "last_day": day, **more}
        pair = Pair(advoware_frnr=frnr, google_event_id=event_id, **values)
        line = AuditLine(
            employee_kuerzel=pair.employee_kuerzel,
            side="google",
            action="created",
            reason="new in Advoware",
            sync_id=pair.sync_id,
            advoware_frnr=frnr,
            google_event_id=event_id,
        )
        await (await self.store()).save_pair(pair, line, datetime.now(UTC))
        return pair

    async def write_all(self, kuerzel: str) -> int:
        """Bring the employee's whole calendar in step, past Google's API; how many Termine that were."""
        calendar_id = self.calendars[kuerzel]
        calendar = self.google.world.calendars.calendars[calendar_id]
        window = self.resources.settings.calendar_sync
        today = datetime.now(BERLIN).date()
        first, last = (
            today - timedelta(days=window.days_back),
            today + timedelta(days=window.days_ahead),
        )
        query = {"kuerzel": kuerzel, "from": first.isoformat(), "to": last.isoformat()}
        termine = [
            read_termin(record)
            for record in self.advoware.termine.find(query)
            if record["frNr"] > 0
        ]
        for termin in termine:
            assert isinstance(termin.event, NormalisedEvent)
            sync_id, event_id = uuid4(), google_event_id(termin.fr_nr, calendar_id)
            shown = termin.event.anonymise() if termin.event.privat else termin.event
            body = {"id": event_id, **google_body(shown, termin.fr_nr, sync_id)}
            self.google.world.events.insert(calendar.data_owner, calendar, body)
            await self.remember(
                termin.fr_nr, event_id, sync_id=sync_id, employee_kuerzel=kuerzel
            )
        return len(termine)

    # -- what people do -------------------------------------------------------------------------------------------

    async def control(
        self, method: str, path: str, body: Any = None, *, twin: Any = None
    ) -> Any:
        """A control request to Google's twin (or the other), which must succeed."""
        url = f"{(twin or self.google).url}/__sandbox__/{path}"
        async with self.session.request(method, url, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def person_inserts(self, event_id: str, body: Mapping[str, Any]) -> str:
        """A person adds an event to SB's calendar; its id."""
        path = f"calendars/{self.calendars['SB']}/events?as={PERSON}"
        return str((await self.control("POST", path, {"id": event_id, **body}))["id"])

    async def person_changes(self, event_id: str, **fields: Any) -> None:
        """A person changes an event."""
        await self.control(
            "PUT", f"calendars/{self.calendars['SB']}/events/{event_id}", fields
        )

    async def person_deletes(self, event_id: str) -> None:
        """A person deletes an event."""
        await self.control(
            "DELETE", f"calendars/{self.calendars['SB']}/events/{event_id}"
        )

    async def strike(self, twin: AdvowareTwin | GoogleTwin, **fault: Any) -> None:
        """The system misbehaves."""
        await self.control("POST", "faults", fault, twin=twin)

    # -- what is there --------------------------------------------------------------------------------------------

    async def events(self, kuerzel: str = "SB") -> set[str]:
        """The ids in the calendar."""
        listed = (await self.api.list_events(self.calendars[kuerzel])).events
        return {str(event["id"]) for event in listed}

    def forget_calls(self) -> None:
        """Look at the requests from here on."""
        self.advoware.journal.clear()
        self.google.journal.clear()

    def writes(self) -> list[str]:
        """The requests that may have changed something in Advoware or Google."""
        calls = [
            f"{entry['method']} {entry['path'].partition('?')[0]}"
            for twin, api in (
                (self.advoware, "/Termine"),
                (self.google, "/calendar/v3/"),
            )
            for entry in twin.journal
            if api in entry["path"]
        ]
        return [call for call in calls if call.split()[0] in WRITES]

    async def actions(self, sync_id: UUID) -> list[tuple[str, str]]:
        """Action and side of each line of the audit about a pair."""
        return [
            (line.action, line.side)
            for line in await (await self.store()).history(sync_id=sync_id)
        ]


def timed(day: date, text: str, hour: int = 10) -> Json:
    """An event of one hour in Berlin, as a person enters it."""
    start, end = (
        datetime.combine(day, time(clock), BERLIN).isoformat()
        for clock in (hour, hour + 1)
    )
    zone = {"timeZone": "Europe/Berlin"}
    return {
        "summary": text,
        "start": {"dateTime": start, **zone},
        "end": {"dateTime": end, **zone},
    }


def copy_of(event: Json) -> Json:
    """What a person's copy of an event consists of in Google: also our private properties."""
    kept = (
        "summary",
        "description",
        "location",
        "start",
        "end",
        "recurrence",
        "extendedProperties",
    )
    return {name: event[name] for name in kept if name in event}
