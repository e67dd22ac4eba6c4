"""A law firm for the examples of the calendar sync: what people do and see, and what goes wrong, in a few words.

The firm is that of the generated scenarios (`calendar_world`), on a Tuesday morning in February.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from calendar_people import PERSON
from calendar_scenario import Configure
from calendar_world import ZONE, CalendarWorld, property_of
from hasty_loop import hasty_runner
from servers import Stores, known_settings

from config import Settings
from sandbox.control import ActiveFault, Fault
from sandbox.google.calendar_store import Calendar
from services.calendar_sync.model import Pair
from services.calendar_sync.run import RunSummary
from services.core.errors import BitByLawError

#: Nine o'clock in Berlin, on a Tuesday.
START = datetime(2026, 2, 10, 8, tzinfo=UTC)
#: A day in the window on which most appointments take place.
DAY = "2026-02-12"

Json = dict[str, Any]
Test = Callable[..., Coroutine[Any, Any, None]]


class CalendarOffice(CalendarWorld):
    """The firm, and what people and tests do in it. Unless a method says otherwise, it is about SB's calendar."""

    def __init__(self, servers: Stores, folder: Path, runner: asyncio.Runner) -> None:
        self.runner = runner
        self._variables: dict[str, Any] = {}
        self._trap: tuple[str, str, int, Callable[[], object]] | None = None
        super().__init__(servers, folder)

    async def reopen(self) -> None:
        """A new day: nothing is there, nothing is remembered."""
        self._variables, self._trap = {}, None
        await self.begin(START, Configure())

    async def configure(self, **variables: Any) -> None:
        """The worker starts again with these variables."""
        self._variables = variables
        await self.restart()

    async def restart(self) -> None:
        """A new worker, unless the old one has the same settings: a new one takes its time."""
        await self._quiet()
        settings = self._settings()
        if settings != self.resources.settings:
            await self.resources.close()
            self._open_resources()

    def _settings(self) -> Settings:
        return known_settings({**super()._settings().environment(), **self._variables})

    # -- people in Advoware -----------------------------------------------------------------------------------------

    def termin(self, text: str = "Besprechung", day: str = DAY, **fields: Any) -> int:
        """A user enters a Termin of SB's, from ten to eleven; its frNr."""
        times = {
            "datum": day,
            "uhrzeitVon": "10:00:00",
            "uhrzeitBis": "11:00:00",
            "datumBis": day,
        }
        record = {
            **times,
            "text": text,
            "notiz": f"Akte zu {text}",
            "ort": "Hannover",
            "anwalt": "SB",
            **fields,
        }
        return int(self.advoware.termine.create(record)["frNr"])

    def change_termin(self, fr_nr: int, **fields: Any) -> None:
        """A user changes a Termin in the desktop program."""
        self.now += timedelta(seconds=1)
        self.advoware.termine.edit(fr_nr, fields)

    def delete_termin(self, fr_nr: int) -> None:
        """A user deletes a Termin in the desktop program."""
        self.advoware.termine.remove(fr_nr)

    def records(self, text: str | None = None) -> list[Json]:
        """The Termine, or those with this text, as Advoware answers."""
        return [record for record in self.termine() if text in {None, record["text"]}]

    def record(self, text: str) -> Json:
        """The one Termin with this text."""
        (found,) = self.records(text)
        return found

    # -- people in Google -------------------------------------------------------------------------------------------

    def enter(
        self, text: str = "Mandantengespräch", kuerzel: str = "SB", **body: Any
    ) -> str:
        """A person enters an event in an employee's calendar, from 14 to 15 o'clock; its id."""
        calendar = self.calendar(kuerzel)
        assert calendar is not None
        return self.google.world.events.insert(
            PERSON, calendar, {**timed(DAY, "14:00", "15:00"), "summary": text, **body}
        ).id

    def change_event(self, event_id: str, kuerzel: str = "SB", **changes: Any) -> None:
        """A person changes an event."""
        self.now += timedelta(seconds=1)
        calendar = self.calendar(kuerzel)
        assert calendar is not None
        events = self.google.world.events
        events.change(
            PERSON, calendar, events.get(calendar, event_id), changes, patch=True
        )

    def set_beside(self, event_id: str, kuerzel: str = "SB", **fields: Any) -> None:
        """Beside its content an event has these fields, also such as no one may set any more."""
        self.now += timedelta(seconds=1)
        calendar = self.calendar(kuerzel)
        assert calendar is not None
        self.google.world.events.get(calendar, event_id).content.fields.update(fields)

    def delete_event(self, event_id: str, kuerzel: str = "SB") -> None:
        """A person deletes an event, or one occurrence of a series."""
        calendar = self.calendar(kuerzel)
        assert calendar is not None
        self.google.world.events.delete(
            calendar, self.google.world.events.get(calendar, event_id)
        )

    def new_calendar(self, owner: str = "", kuerzel: str = "SB") -> Calendar:
        """A calendar with an employee's name, of our account or of that owner's."""
        owner = owner or self.account_name
        return self.google.world.calendars.insert(
            owner, {"summary": f"AW-{kuerzel}", "timeZone": ZONE}
        )

    def delete_calendar(self, kuerzel: str = "SB") -> None:
        """A user deletes the whole calendar."""
        calendar = self.calendar(kuerzel)
        assert calendar is not None
        self.google.world.calendars.delete(calendar)

    def copies(self, fr_nr: int, kuerzel: str = "SB") -> list[Json]:
        """The events that are marked as a Termin's."""
        return [
            event
            for event in self.events(kuerzel)
            if property_of(event, "advoware_frnr") == str(fr_nr)
        ]

    def copy(self, fr_nr: int, kuerzel: str = "SB") -> Json:
        """The one event that is marked as a Termin's."""
        (found,) = self.copies(fr_nr, kuerzel)
        return found

    def texts(self, kuerzel: str = "SB") -> list[str]:
        """The titles in the calendar, sorted."""
        return sorted(event.get("summary", "") for event in self.events(kuerzel))

    def termin_texts(self) -> list[str]:
        """The titles in Advoware, sorted."""
        return sorted(record["text"] for record in self.termine())

    # -- the sync ---------------------------------------------------------------------------------------------------

    async def sync(
        self, kuerzel: str = "SB", *, full_content: bool = True
    ) -> RunSummary:
        """One run, from which on the journals count; it must not raise."""
        self.full_content = full_content
        self.forget_journals()
        return await self.run(kuerzel)

    async def try_sync(self, kuerzel: str = "SB") -> RunSummary | BitByLawError:
        """One run that may fail."""
        self.now += timedelta(minutes=1)
        self.forget_journals()
        return await self._sync(kuerzel, self.full_content)

    async def sync_until_calm(self, kuerzel: str = "SB", runs: int = 4) -> None:
        """So many runs at the most, until one changes nothing."""
        for _ in range(runs):
            if (await self.sync(kuerzel)).result == "no_change":
                return
        raise AssertionError("the sync does not come to rest")

    @asynccontextmanager
    async def free_of_limits(self) -> AsyncIterator[None]:
        """Many requests that need not wait for the rate limit."""

        is_over = asyncio.Event()

        async def keep_free() -> None:
            while not is_over.is_set():
                await self._free_the_rate()
                await asyncio.sleep(0.1)

        keeper = asyncio.create_task(keep_free())
        try:
            yield
        finally:
            is_over.set()  # a cancellation could get lost in the client of Redis
            await keeper

    async def sync_interrupted(self, method: str, path: str, *, nth: int = 1) -> bool:
        """A run that is cancelled when a system gets the nth such request, which it still executes.

        Returns whether it came to that.
        """
        self.now += timedelta(minutes=1)
        await self._free_the_rate()
        self.forget_journals()
        run = asyncio.ensure_future(self._sync("SB", self.full_content))
        self._trap = (method, path, nth, run.cancel)
        await asyncio.wait([run])
        self._trap = None
        if run.cancelled():
            await self._quiet()
            return True
        assert isinstance(run.result(), RunSummary), run.result()
        return False

    async def meanwhile(
        self, method: str, path: str, happening: Callable[[], object]
    ) -> RunSummary | BitByLawError:
        """A run during which something happens, just when a system gets the first such request."""
        self._trap = (method, path, 1, happening)
        try:
            return await self.try_sync()
        finally:
            assert self._trap is None, "there was no such request"

    def _on_request(self, entry: Mapping[str, Any]) -> None:
        super()._on_request(entry)
        if self._trap is None:
            return
        method, path, nth, happening = self._trap
        calls = [
            call for call in self.calls() if call.startswith(method) and path in call
        ]
        if len(calls) >= nth:
            self._trap = None
            happening()

    # -- what the sync remembers and asked for ----------------------------------------------------------------------

    async def pairs(self, kuerzel: str = "SB") -> list[Pair]:
        """The live rows."""
        return await (await self.store()).load_pairs(kuerzel)

    async def pair(self, kuerzel: str = "SB") -> Pair:
        """The only live row."""
        (found,) = await self.pairs(kuerzel)
        return found

    async def fetch(self, query: str, *arguments: Any) -> list[Json]:
        """Rows of the sync's tables."""
        return [
            dict(row)
            for row in await (await self.resources.database()).fetch(query, *arguments)
        ]

    async def audit(self, *actions: str) -> list[Json]:
        """The lines of the audit, or those about these actions, oldest first."""
        rows = await self.fetch("SELECT * FROM calendar_sync_audit ORDER BY audit_id")
        return [row for row in rows if not actions or row["action"] in actions]

    def calls(self, system: Literal["advoware", "google"] | None = None) -> list[str]:
        """The requests since the journals were forgotten, such as ``GET /calendar/v3/...``; nothing about logins."""
        twins = [
            twin for twin in (self.advoware, self.google) if system in {None, twin.name}
        ]
        entries = [
            entry
            for twin in twins
            for entry in twin.journal
            if entry["status"] != 401 and "oken" not in entry["path"].partition("?")[0]
        ]
        return [f"{entry['method']} {entry['path']}" for entry in entries]

    # -- what goes wrong --------------------------------------------------------------------------------------------

    def strike(self, system: Literal["advoware", "google"], **rule: Any) -> None:
        """The system misbehaves; see `sandbox.control.Fault`."""
        twin = self.advoware if system == "advoware" else self.google
        default_path = "/advonet/Termine" if system == "advoware" else "/calendar/v3/"
        twin.faults.append(
            ActiveFault(Fault.model_validate({"path": default_path, **rule}))
        )

    def recover(self) -> None:
        """All is well again."""
        self.advoware.faults.clear()
        self.google.faults.clear()


def timed(day: str, start: str, end: str, last_day: str | None = None) -> Json:
    """The times of an event, on the clocks of Berlin."""
    return {
        "start": {"dateTime": f"{day}T{start}:00", "timeZone": ZONE},
        "end": {"dateTime": f"{last_day or day}T{end}:00", "timeZone": ZONE},
    }


def days(first: str, last: str) -> Json:
    """The days of an all-day event, both included."""
    after = date.fromisoformat(last) + timedelta(days=1)
    return {"start": {"date": first}, "end": {"date": after.isoformat()}}


def clock_times(event: Json) -> tuple[str, str]:
    """Start and end of an event as a person in Berlin reads them, with a series' zone left out."""
    return event["start"]["dateTime"][:16], event["end"]["dateTime"][:16]


def in_haste(test: Test) -> Callable[..., None]:
    """Let a test run in the loop of its ``office``, in which pauses pass quickly, at the start of a new day."""

    @functools.wraps(test)
    def run(office: CalendarOffice, **fixtures: Any) -> None:
        async def day() -> None:
            await office.reopen()
            await test(office=office, **fixtures)

        office.runner.run(day())

    return run


@pytest.fixture(scope="module")
def office(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CalendarOffice]:
    """One firm for all tests of a module."""
    with hasty_runner() as runner:
        opened = CalendarOffice(stores, tmp_path_factory.mktemp("office"), runner)
        runner.run(opened.open())
        yield opened
        runner.run(opened.close())
