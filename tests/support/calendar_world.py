"""A law firm for scenarios of the calendar sync: both twins over HTTP, the real stores, and people who interfere.

`CalendarWorld.play` performs a step of a scenario (`calendar_scenario`); `CalendarWorld.settle` ends the faults and
lets the sync come to rest.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from calendar_people import PERSON, People
from calendar_scenario import (
    CONTRADICTING_ENDS,
    DATA_PATHS,
    KUERZEL,
    ODD_TERMINE,
    SERIES,
    SURPRISES,
    TROUBLES,
    Act,
    Cancel,
    Configure,
    DropEvent,
    DropTermin,
    EditEvent,
    EditTermin,
    EnterEvent,
    EnterTermin,
    Forget,
    Jump,
    LeaveTermin,
    Step,
    Surprise,
    Sync,
    SyncAll,
    Trouble,
    When,
)
from hasty_loop import HASTE
from servers import (
    EMPTY,
    Stores,
    advoware_variables,
    google_variables,
    hasty_variables,
    known_settings,
)
from watched_journal import WatchedJournal

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.advoware.records import BERLIN, RefusedError
from sandbox.control import ActiveFault, Fault, Twin, running
from sandbox.google.app import GoogleTwin
from sandbox.google.calendar_store import Calendar
from sandbox.google.errors import ApiError
from sandbox.google.event import CANCELLED, render_event
from sandbox.google.readings import Readings
from services.calendar_sync.run import CalendarSync, RunSummary
from services.calendar_sync.store import CalendarStore
from services.core.errors import BitByLawError, EntityBusy
from services.core.resources import Resources

ZONE = "Europe/Berlin"
TOKEN = re.compile(r"\bA\d{3}\b")
#: What people type into events whose text we hide.
LEAK = "LEAK"


# -- the world ------------------------------------------------------------------------------------------------------


@dataclass
class Ledger:
    """What people entered and deleted, by the token in the text that stays with an appointment."""

    origin: dict[str, str] = field(
        default_factory=dict
    )  #: token -> "advoware" or the Kürzel of the calendar
    events: dict[tuple[str, str], str] = field(
        default_factory=dict
    )  #: (Kürzel, event id) -> token, people's own
    dropped: set[str] = field(default_factory=set)
    copies_dropped: set[str] = field(
        default_factory=set
    )  #: one employee's copy of a Termin of all employees
    #: The Termine that people deleted in Advoware: their numbers, and the tokens of their texts.
    termine_dropped: set[str] = field(default_factory=set)
    #: Changed in Advoware before the run that had created it there could hear of it: nothing shows whose it was.
    untraceable: set[str] = field(default_factory=set)
    doubles: set[str] = field(default_factory=set)  #: what people have made several of
    #: Typed into a copy of a hidden event, or before it was copied: in the copy it is the person's own text.
    typed_in_copies: set[str] = field(default_factory=set)
    #: Copies of hidden events, (Kürzel, event id) -> the number of the original's Termin; until they have one of their
    #: own.
    copies: dict[tuple[str, str], str | None] = field(default_factory=dict)
    odd: set[str] = field(
        default_factory=set
    )  #: Termine of which no one can say what they mean
    #: What people have made of an event that they keep private: no one else may read its Termin.
    private: set[str] = field(default_factory=set)
    #: Whose the Termine are that people have handed on, by their numbers.
    given: dict[int, str] = field(default_factory=dict)
    #: What a system stores otherwise than it gets: texts may differ for good.
    careless: set[str] = field(default_factory=set)

    @property
    def next_token(self) -> str:
        """The token of the next appointment."""
        return f"A{len(self.origin):03}"


class CalendarWorld:
    """Twins, stores, a worker and people."""

    def __init__(self, servers: Stores, folder: Path) -> None:
        self._servers = servers
        self._account = folder / "service-account.json"
        self._stack = AsyncExitStack()
        self.now = datetime.now(UTC)
        self.advoware = AdvowareTwin(empty=True, clock=lambda: self.now)
        self.google = GoogleTwin(
            empty=True,
            clock=lambda: self.now,
            service_account_file=self._account,
            quota_per_minute=None,
        )
        self.resources: Resources
        self.ledger = Ledger()
        self.people = People(self)
        self.configuration = Configure()
        self.full_content = True
        self.ended: list[
            str
        ] = []  #: runs that something odd has ended, rather than a failing system
        self._texts = 0
        self._requests = 0
        self._due: tuple[int, Callable[[], object]] | None = None

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start everything."""
        self._database = await self._stack.enter_async_context(
            self._servers.new_database()
        )
        for twin in (self.advoware, self.google):
            await self._stack.enter_async_context(running(twin))
            twin.journal = WatchedJournal(self._on_request)
        self._open_resources()
        await self.resources.database()

    async def close(self) -> None:
        """Stop everything."""
        await self.resources.close()
        await self._stack.aclose()

    async def begin(
        self,
        start: datetime,
        configuration: Configure,
        readings: Mapping[str, Any] | None = None,
    ) -> None:
        """Start over, at that time: no Termine, no calendars, nothing remembered; a Google of those readings."""
        self.now, self.ledger, self.configuration, self.full_content = (
            start,
            Ledger(),
            configuration,
            True,
        )
        self._texts, self._due, self.ended = 0, None, []
        for twin in (self.advoware, self.google):
            twin.faults.clear()
            twin.load_seed()
            twin.journal.clear()
        self.google.world.events.readings = Readings(**(readings or {}))
        await self.restart()
        pool = await self.resources.database()
        await pool.execute(EMPTY)
        await self.resources.redis.flushall()

    async def restart(self) -> None:
        """A new worker; nothing but the stores remembers."""
        await self._quiet()
        await self.resources.close()
        self._open_resources()

    def _open_resources(self) -> None:
        self.resources = Resources(self._settings(), clock=lambda: self.now)

    def _settings(self) -> Settings:
        return known_settings(
            {
                **self._servers.variables(self._database),
                **advoware_variables(self.advoware),
                **google_variables(self.google, self._account),
                **hasty_variables(),
                "ADVOWARE_API_TIMEOUT_SECONDS": 5 * HASTE,
                "ADVOWARE_WRITE_PROTECTION": self.configuration.write_protection,
                "CALENDAR_SYNC_ANONYMIZE": self.configuration.anonymise,
                "CALENDAR_SYNC_STRATEGY": self.configuration.strategy,
            }
        )

    async def store(self) -> CalendarStore:
        """The pairs that the sync remembers."""
        return CalendarStore(await self.resources.database())

    # -- what is there ----------------------------------------------------------------------------------------------

    def termine(self) -> list[dict[str, Any]]:
        """All Termine, as Advoware answers."""
        return self.advoware.termine.all()

    def calendar(self, kuerzel: str) -> Calendar | None:
        """The employee's calendar."""
        found = [
            c
            for c in self.google.world.calendars.calendars.values()
            if c.texts["summary"] == f"AW-{kuerzel}"
        ]
        assert len(found) <= 1, "two calendars of one employee"
        return found[0] if found else None

    def events(self, kuerzel: str) -> list[dict[str, Any]]:
        """The employee's events that are not deleted, as Google answers; single occurrences of series too."""
        calendar = self.calendar(kuerzel)
        if calendar is None:
            return []
        shown = [
            self.google.world.events.as_shown(calendar, event)
            for event in calendar.events.values()
        ]
        return [
            render_event(event, calendar.id, calendar.zone)
            for event in shown
            if event.status != CANCELLED
        ]

    @property
    def account_name(self) -> str:
        """The e-mail address of our service account."""
        return str(self.google.service_account()["client_email"])

    def private_calendar(self) -> Calendar:
        """The calendar of a person at home, which we cannot see."""
        calendars = self.google.world.calendars
        found = [
            c for c in calendars.calendars.values() if c.texts["summary"] == "Zuhause"
        ]
        return (
            found[0]
            if found
            else calendars.insert(PERSON, {"summary": "Zuhause", "timeZone": ZONE})
        )

    def writes(self) -> list[str]:
        """The requests since `forget_journals` that may have changed something, logins left out."""
        entries = [*self.advoware.journal, *self.google.journal]
        return [
            f"{e['method']} {e['path']}"
            for e in entries
            if e["method"] != "GET" and "oken" not in e["path"]
        ]

    def forget_journals(self) -> None:
        """Forget the requests so far."""
        self.advoware.journal.clear()
        self.google.journal.clear()

    # -- steps ------------------------------------------------------------------------------------------------------

    async def play(self, step: Step) -> None:
        """Perform one step; what cannot be done (nothing is there, or the system refuses) is left undone."""
        self.now += timedelta(minutes=1)
        match step:
            case Sync(kuerzel, full_content, at, meanwhile):
                await self._sync_disturbed(kuerzel, full_content, at, meanwhile)
            case SyncAll(full_content):
                self.full_content = full_content
                await asyncio.gather(
                    *(self._sync(kuerzel, full_content) for kuerzel in KUERZEL)
                )
            case Configure():
                self.configuration = step
                await self.restart()
            case Forget("redis"):
                await self.resources.redis.flushall()
            case Cancel():
                await self.restart()
            case _:
                self._do(step)

    def _do(self, step: Step) -> None:
        """What needs no waiting, so that it can happen between two requests of a run."""
        try:
            match step:
                case EnterTermin(anwalt, when, privat):
                    self._enter_termin(anwalt, when, privat)
                case EditTermin() | DropTermin():
                    self._change_termin(step)
                case EnterEvent(kuerzel, when):
                    self._enter_event(kuerzel, when)
                case EditEvent() | DropEvent():
                    self._change_event(step)
                case Act():
                    self.people.act(step)
                case LeaveTermin(anwalt, odd, when):
                    self._leave_termin(anwalt, odd, when)
                case Surprise():
                    self._surprise(step)
                case Trouble():
                    self._trouble(step)
                case Forget("sync_tokens"):
                    self.google.world.lister.expire_sync_tokens()
                case Forget("access_tokens"):
                    self.google.revoke_tokens()
                    self.advoware.revoke_tokens()
                case Jump(hours):
                    self.now += timedelta(hours=hours)
                case _:
                    raise ValueError(f"{step} cannot happen during a run")
        except (RefusedError, ApiError):
            pass  # people meet refusals, too

    # -- people in Advoware -----------------------------------------------------------------------------------------

    def _enter_termin(self, anwalt: str, when: When, privat: bool) -> None:
        token = self.ledger.next_token
        texts = {"text": self.text(token), "notiz": f"Akte zu {token}"}
        self.advoware.termine.create(
            {
                **self._times_of_termin(when),
                **texts,
                "anwalt": anwalt,
                "privat": int(privat),
            }
        )
        self.ledger.origin[token] = "advoware"

    def _leave_termin(self, anwalt: str, odd: str, when: When) -> None:
        token = self.ledger.next_token
        base = {
            **self._times_of_termin(replace(when, series="", all_day=False)),
            "text": self.text(token),
        }
        day = {"datumBis": base["datum"]}
        self.advoware.termine.leave_behind(
            {**base, **day, "anwalt": anwalt, **ODD_TERMINE[odd]}
        )
        self.ledger.origin[token] = "advoware"
        if odd not in CONTRADICTING_ENDS:
            self.ledger.odd.add(token)

    def _change_termin(self, step: EditTermin | DropTermin) -> None:
        own = [record for record in self.termine() if record["frNr"] > 0]
        if not own:
            return
        record = own[step.number % len(own)]
        token = token_of(record["text"])
        marks = {
            property_of(event, "advoware_frnr")
            for kuerzel in KUERZEL
            for event in self.events(kuerzel)
        }
        if (
            self.ledger.origin.get(token or "") != "advoware"
            and str(record["frNr"]) not in marks
        ):
            self.ledger.untraceable.add(token or "")
        match step:
            case DropTermin():
                self.advoware.termine.remove(record["frNr"])
                # An event that has lost our marks is still known by its id.
                self.ledger.termine_dropped.update({str(record["frNr"]), token or ""})
                self.ledger.dropped.add(token or "")
                return
            case EditTermin(_, "text"):
                changes: dict[str, Any] = {"text": self.text(token)}
            case EditTermin(_, "move", when):
                changes = self._times_of_termin(when)
            case EditTermin(_, "privat"):
                changes = {"privat": 1 - int(record["privat"] or 0)}
                self.ledger.private.discard(token or "")
            case EditTermin(_, _, _, to):
                changes = {"anwalt": to}
                if token in self.ledger.copies_dropped:
                    self.ledger.dropped.add(token or "")
        self.advoware.termine.edit(record["frNr"], changes)
        if "anwalt" in changes:
            self._note_given(record["frNr"], changes["anwalt"])

    def _note_given(self, fr_nr: int, to: str) -> None:
        """Between our last look at a Termin and our write nothing guards what a person changes in it."""
        self.ledger.given[fr_nr] = to
        for entry in self.advoware.journal:
            is_under_way = entry["ms"] is None and entry["method"] == "PUT"
            if is_under_way and "/Termine" in entry["path"]:
                self.ledger.given.pop(fr_nr, None)

    def _times_of_termin(self, when: When) -> dict[str, Any]:
        start, end = self._span(when)
        last_day = start.date() + timedelta(days=200) if when.series else end.date()
        return {
            "datum": start.date().isoformat(),
            "uhrzeitVon": start.time().isoformat(),
            "uhrzeitBis": end.time().isoformat(),
            "datumBis": last_day.isoformat(),
            "abwesenheit": int(when.all_day),
            "dauertermin": int(bool(when.series)),
            "turnus": int(bool(when.series)),
            "turnusArt": SERIES[when.series][0] if when.series else 0,
        }

    def _span(self, when: When) -> tuple[datetime, datetime]:
        """Start and end on the clocks of Berlin."""
        day = self.now.astimezone(BERLIN).date() + timedelta(days=when.days)
        start = datetime.fromisoformat(f"{day}T{when.clock}:00")
        return start, start + timedelta(minutes=when.minutes)

    def text(self, token: str | None) -> str:
        self._texts += 1
        return f"{token} Müller ./. Schulze, Fassung {self._texts}"

    def new_title(self, old: str | None) -> str:
        """What a user writes into an event instead of that; of a hidden one no one knows what it is about."""
        token = token_of(old)
        return self.text(token) if token else f"{LEAK} {self._texts}"

    def _new_title_of(self, kuerzel: str, resource: dict[str, Any]) -> str:
        """What a user writes into this event.

        The rest of a hidden series that has lost our marks is the person's, and so is what he writes into it.
        """
        title = resource.get("summary")
        is_rest = "_R" in resource["id"]
        is_marked = property_of(resource, "advoware_frnr") is not None
        if not is_rest or is_marked or token_of(title):
            return self.new_title(title)
        token = self.ledger.next_token
        self.ledger.origin[token] = kuerzel
        self.ledger.events[kuerzel, resource["id"]] = token
        return self.text(token)

    @staticmethod
    def token_of(text: str | None) -> str | None:
        """The token of the appointment that a text belongs to."""
        return token_of(text)

    def hidden_token(self, resource: dict[str, Any]) -> str | None:
        """The token of the Termin that a hidden event is marked with."""
        fr_nr = property_of(resource, "advoware_frnr")
        record = next(
            (record for record in self.termine() if str(record["frNr"]) == fr_nr), None
        )
        return token_of(record["text"]) if record else None

    # -- people in Google -------------------------------------------------------------------------------------------

    def _enter_event(self, kuerzel: str, when: When) -> None:
        calendar = self.calendar(kuerzel)
        if calendar is None:
            return
        token = self.ledger.next_token
        body = {
            **self.times_of_event(when),
            "summary": self.text(token),
            "location": f"Raum {token}",
        }
        event = self.google.world.events.insert(PERSON, calendar, body)
        self.ledger.origin[token] = kuerzel
        self.ledger.events[kuerzel, event.id] = token

    def times_of_event(self, when: When) -> dict[str, Any]:
        span = dict(zip(("start", "end"), self._span(when), strict=True))
        if when.all_day:
            days = {
                "start": span["start"].date(),
                "end": span["end"].date() + timedelta(days=1),
            }
            times = {
                side: {"date": day.isoformat(), "dateTime": None, "timeZone": None}
                for side, day in days.items()
            }
        else:
            times = {
                side: {"dateTime": moment.isoformat(), "timeZone": ZONE, "date": None}
                for side, moment in span.items()
            }
        rule = [SERIES[when.series][1]] if when.series else None
        return {**times, "recurrence": rule}

    def _is_copy(self, kuerzel: str, resource: dict[str, Any]) -> bool:
        """Whether the event is a copy of a hidden one that has had no Termin of its own yet."""
        key = (kuerzel, resource["id"])
        if key not in self.ledger.copies:
            return False
        mark = property_of(resource, "advoware_frnr")
        if mark in {None, self.ledger.copies[key]}:
            return True
        del self.ledger.copies[key]
        return False

    def _change_event(self, step: EditEvent | DropEvent) -> None:
        calendar = self.calendar(step.kuerzel)
        resources = [
            event
            for event in self.events(step.kuerzel)
            if "recurringEventId" not in event
        ]
        if calendar is None or not resources:
            return
        resource = resources[step.number % len(resources)]
        events = self.google.world.events
        event = events.get(calendar, resource["id"])
        is_copy = self._is_copy(step.kuerzel, resource)
        match step:
            case DropEvent(occurrence=True):
                instances = (
                    events.instances(calendar, event, None, after=None)[1:2]
                    if event.recurrence
                    else []
                )
                for instance in instances:
                    events.delete(calendar, instance)
            case DropEvent():
                self.note_drop(step.kuerzel, resource)
                events.delete(calendar, event)
            case EditEvent(what="text"):
                text = self._new_title_of(step.kuerzel, resource)
                if is_copy:
                    self.ledger.typed_in_copies.add(text)
                events.change(PERSON, calendar, event, {"summary": text}, patch=True)
            case EditEvent(what="move", when=when):
                events.change(
                    PERSON, calendar, event, self.times_of_event(when), patch=True
                )
            case EditEvent(what="strip"):
                events.change(
                    PERSON, calendar, event, {"extendedProperties": None}, patch=True
                )
            case EditEvent():
                events.change(PERSON, calendar, event, {}, patch=True)

    def note_drop(self, kuerzel: str, resource: dict[str, Any]) -> None:
        termin = next(
            (
                t
                for t in self.termine()
                if str(t["frNr"]) == property_of(resource, "advoware_frnr")
            ),
            None,
        )
        own = self.ledger.events.get((kuerzel, resource["id"]))
        of_termin = token_of(termin["text"] if termin else None)
        token = own or token_of(resource.get("summary")) or of_termin
        # A copy that says something of its own may keep the marks of its original.
        is_persons_copy = own is not None and own != of_termin
        if token is None:  # our marks are gone and so is the text: it may be any
            self.ledger.dropped.update(self.ledger.origin)
        elif termin is not None and not termin["anwalt"] and not is_persons_copy:
            self.ledger.copies_dropped.add(token)
        else:
            self.ledger.dropped.add(token)

    # -- trouble ----------------------------------------------------------------------------------------------------

    def _trouble(self, trouble: Trouble) -> None:
        twin: Twin = self.advoware if trouble.system == "advoware" else self.google
        common = {
            "path": DATA_PATHS[trouble.system],
            "skip": trouble.skip,
            "count": trouble.count,
        }
        for method in trouble.methods.split("|"):
            rule = {**TROUBLES[trouble.kind], **common, "method": method or None}
            twin.faults.append(ActiveFault(Fault.model_validate(rule)))

    def _surprise(self, surprise: Surprise) -> None:
        twin: Twin = self.advoware if surprise.system == "advoware" else self.google
        rule = {
            "path": DATA_PATHS[surprise.system],
            "probability": surprise.probability,
        }
        twin.faults.append(
            ActiveFault(
                Fault.model_validate(
                    {**rule, **SURPRISES[surprise.system][surprise.name]}
                )
            )
        )
        if surprise.name.startswith("stores"):
            self.ledger.careless.add(surprise.system)

    def _on_request(self, _entry: Mapping[str, Any]) -> None:
        self._requests += 1
        if self._due is not None and self._requests >= self._due[0]:
            happening, self._due = self._due[1], None
            happening()

    async def _quiet(self) -> None:
        """Wait until the requests of an abandoned run are over."""
        calm = 0
        while calm < 3:
            before = self._requests
            await asyncio.sleep(0.01 * HASTE)
            entries = [
                entry for twin in (self.advoware, self.google) for entry in twin.journal
            ]
            is_calm = self._requests == before and all(
                entry["ms"] is not None for entry in entries[-50:]
            )
            calm = calm + 1 if is_calm else 0

    # -- runs -------------------------------------------------------------------------------------------------------

    async def _sync_disturbed(
        self, kuerzel: str, full_content: bool, at: int, meanwhile: Step | None
    ) -> None:
        run = asyncio.ensure_future(self._sync(kuerzel, full_content))
        if meanwhile is not None:
            happening = (
                run.cancel
                if isinstance(meanwhile, Cancel)
                else lambda: self._do(meanwhile)
            )
            self._due = (self._requests + at, happening)
        self.full_content = full_content
        await asyncio.wait([run])
        self._due = None
        if run.cancelled():
            await self.restart()
        else:
            run.result()

    async def _sync(
        self, kuerzel: str, full_content: bool
    ) -> RunSummary | BitByLawError:
        """One run; what the product understands of its failures is part of the scenario, anything else is a defect."""
        await self._free_the_rate()
        try:
            return await CalendarSync(resources=self.resources).sync_employee(
                kuerzel, full_content=full_content
            )
        except BitByLawError as error:
            faults = [
                active.rule
                for twin in (self.advoware, self.google)
                for active in twin.faults
            ]
            is_odd = not isinstance(error, EntityBusy) and all(
                rule.alters for rule in faults
            )
            if is_odd:
                self.ended.append(f"{kuerzel}: {error!r}")
            return error

    async def _free_the_rate(self) -> None:
        """The rate limit counts by Redis's own clock, for which no test waits."""
        redis = self.resources.calendar_redis
        names = [name async for name in redis.scan_iter("rate_limit*")]
        if names:
            await redis.delete(*names)

    async def run(self, kuerzel: str) -> RunSummary:
        """One run that must not fail."""
        self.now += timedelta(minutes=1)
        result = await self._sync(kuerzel, self.full_content)
        if isinstance(result, BitByLawError):
            raise AssertionError(
                f"a run fails although nothing is wrong: {result!r}"
            ) from result
        return result

    async def settle(self) -> None:
        """The faults end; two runs per employee, the first of which looks at everything."""
        self.advoware.faults.clear()
        self.google.faults.clear()
        await self._quiet()
        self.now += timedelta(hours=25)
        for _ in range(2):
            for kuerzel in KUERZEL:
                await self.run(kuerzel)


def token_of(text: str | None) -> str | None:
    """The token of the appointment that a text belongs to."""
    match = TOKEN.search(text or "")
    return match[0] if match else None


def property_of(resource: dict[str, Any], name: str) -> str | None:
    """One of our private properties of an event."""
    value = resource.get("extendedProperties", {}).get("private", {}).get(name)
    return None if value is None else str(value)
