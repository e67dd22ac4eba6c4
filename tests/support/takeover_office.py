"""A firm on the evening of the switch: what the old system has left, the take-over, and the first syncs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import asyncpg
import pytest
from command_line import run_program
from psycopg.conninfo import conninfo_to_dict
from servers import Stores, google_variables

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.google.app import GoogleTwin
from sandbox.google.event import CANCELLED, render_event
from sandbox.old_firm.calendars import (
    FAULTS,
    OldCalendars,
    make_old_calendars,
)
from sandbox.old_firm.generations import GENERATIONS, Generation
from sandbox.old_firm.load import Loaded, load_beteiligte, load_calendars, load_table
from sandbox.old_firm.people import make_old_parties
from services.beteiligte_sync_utils import BeteiligteSync
from services.calendar_sync.run import CalendarSync, RunSummary
from services.core.resources import Resources
from services.preview.rehearsal import rehearsal
from services.shadow.preview import preview_employee
from services.shadow.report import counts_of
from services.takeover.report import Report
from services.takeover.run import Takeover
from services.vmh_sync.job import SyncEvent

READS = frozenset({"GET", "HEAD"})
KUERZEL = ("SB", "AI")
#: So many appointments hold one fault; in a whole firm there are fewer.
FAULT_EVERY = 10
#: The request that each announced write of the calendars takes.
REQUESTS = {
    "InsertGoogle": "POST events",
    "RecreateGoogle": "POST events",
    "UpdateGoogle": "PATCH events",
    "HideGoogle": "PATCH events",
    "TakeMarksOff": "PATCH events",
    "DeleteGoogle": "DELETE events",
    "DescribeCalendar": "PATCH calendars",
}
#: A write as the journals and the announcements name it: system, method or action, and which record.
Write = tuple[str, str, str]


@dataclass
class TakeoverOffice:
    """The twins, the stores, and who works with them."""

    advoware: AdvowareTwin
    espocrm: EspoCRMTwin
    google: GoogleTwin
    clock: Any
    make_settings: Callable[..., Settings]
    directory: Path
    variables: dict[str, Any] = field(default_factory=dict)
    env_file: str = ""
    made: OldCalendars = field(default_factory=OldCalendars)
    loaded: Loaded = field(default_factory=lambda: Loaded({}, {}))
    ids: list[str] = field(default_factory=list)

    # -- the old system -------------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """The settings of this firm."""
        account = self.directory / "account.json"
        account.write_text(json.dumps(self.google.service_account()))
        variables = {
            **google_variables(self.google, account),
            "CALENDAR_SYNC_DEBUG_KUERZEL": ",".join(KUERZEL),
        }
        return self.make_settings(**(variables | self.variables))

    async def leave(
        self,
        generation: str = "uuid",
        *,
        termine: int = 0,
        beteiligte: int = 0,
        with_faults: bool = True,
        with_marks: bool = True,
        fault_every: int = FAULT_EVERY,
    ) -> None:
        """The old system leaves this firm behind."""
        chosen = GENERATIONS[generation]
        if not with_marks:
            chosen = replace(chosen, mark="")
        today = self.clock().date()
        self.made = make_old_calendars(
            1,
            today,
            KUERZEL,
            termine,
            chosen,
            fault_every=fault_every if with_faults else 0,
        )
        self.loaded = load_calendars(
            self.made, KUERZEL, chosen, self.advoware, self.google
        )
        if beteiligte:
            firm = make_old_parties(1, today, beteiligte)
            load_beteiligte(firm, self.espocrm, self.advoware, with_faults=with_faults)
            self.ids = [party.espocrm_id for party in firm.parties]
        await self.table(chosen)
        self.forget_calls()

    async def table(self, generation: Generation) -> None:
        """The old table with its rows."""
        connection = await self.connect()
        try:
            async with connection.transaction():
                await load_table(connection, self.made, generation, self.loaded.fr_nr)
        finally:
            await connection.close()

    async def connect(self) -> asyncpg.Connection:
        """A connection of an administrator."""
        postgres = self.settings().postgres
        return await asyncpg.connect(
            host=postgres.host, user=postgres.user, database=postgres.db_name
        )

    async def sql(self, *statements: str) -> None:
        """An administrator's statements."""
        connection = await self.connect()
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    async def fetch(self, query: str) -> list[dict[str, Any]]:
        """An administrator's question."""
        connection = await self.connect()
        rows = [dict(row) for row in await connection.fetch(query)]
        await connection.close()
        return rows

    # -- the take-over --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def opened(self, *, as_it_is: bool = False) -> Any:
        """Resources; ``as_it_is`` as the take-over opens them."""
        async with Resources(
            self.settings(), clock=self.clock, as_it_is=as_it_is
        ) as resources:
            yield resources

    async def takeover(self, command: str, in_file: Iterable[str] = ()) -> Report:
        """One command, in this process."""
        async with self.opened(as_it_is=True) as resources:
            report: Report = await getattr(Takeover(resources, in_file), command)()
            return report

    async def command_line(self, *arguments: str) -> tuple[int, str]:
        """``bitbylaw ...``: its exit code and what it prints."""
        environment = self.settings().environment() | {
            "BITBYLAW_ENV_FILE": self.env_file,
            "COLUMNS": "200",
        }
        result = await run_program(arguments, environment)
        return result.exit_code, result.stdout

    # -- the first syncs ------------------------------------------------------------------------------------------

    async def sync_calendars(self) -> list[RunSummary]:
        """One run of each employee's calendar."""
        async with self.opened() as resources:
            keeper = asyncio.create_task(_free_the_rate(resources))
            try:
                sync = CalendarSync(resources=resources)
                return [await sync.sync_employee(kuerzel) for kuerzel in KUERZEL]
            finally:
                keeper.cancel()

    async def preview_calendars(self) -> Counter[str]:
        """What the first run would write to the calendars, as the preview says, named as in `REQUESTS`."""
        async with self.opened() as resources:
            previews = [await preview_employee(resources, name) for name in KUERZEL]
        assert [preview.error for preview in previews] == [None] * len(KUERZEL)
        return requests_of(counts_of(previews))

    async def preview_beteiligte(self, every: int = 1) -> Counter[Write]:
        """What the first sync of each would write, as the preview says; or of one in ``every``."""
        announced: Counter[Write] = Counter()
        async with self.opened() as resources:
            for entity_id in self.ids[::every]:
                async with rehearsal(resources) as (without_writes, guard):
                    sync = BeteiligteSync(resources=without_writes)
                    await sync.rehearse(entity_id)
                for change in guard.changes:
                    if not _is_only_for_its_parts(change):
                        announced[change.system, change.kind, _name(change)] += 1
        return announced

    async def sync_beteiligte(self, every: int = 1) -> Counter[str]:
        """The first sync of each, or of one in ``every``; how often each result came."""
        results: Counter[str] = Counter()
        async with self.opened() as resources:
            for entity_id in self.ids[::every]:
                event = SyncEvent(
                    entity_id=entity_id, action="sync_check", source="cron"
                )
                outcome = await BeteiligteSync(resources=resources).handle(event)
                results[outcome.result] += 1
        return results

    # -- what is there --------------------------------------------------------------------------------------------

    def twins(self) -> dict[str, Any]:
        """All twins by the systems' names."""
        return {
            "EspoCRM": self.espocrm,
            "Advoware": self.advoware,
            "Google": self.google,
        }

    def forget_calls(self) -> None:
        """Count the requests from here on; however many."""
        for twin in self.twins().values():
            twin.journal = deque()

    def writes(self) -> list[str]:
        """The requests that may have changed something in a foreign system, logins left out."""
        found: list[str] = []
        for name, twin in self.twins().items():
            for entry in twin.journal:
                path = unquote(entry["path"].partition("?")[0])
                if entry["method"] in READS or "oken" in path:
                    continue
                found += [
                    f"{name} {write}"
                    for write in entry.get("writes", [f"{entry['method']} {path}"])
                ]
        return found

    def written_records(self) -> Counter[Write]:
        """The records of EspoCRM and Advoware that were written, named as the preview names them."""
        found: Counter[Write] = Counter()
        for write in self.writes():
            system, method, path = write.split(" ", 2)
            parts = path.removeprefix("/api/v1/").strip("/").split("/")
            if parts[0] == "advonet":
                parts = parts[1:] if parts[1] != "Advoware" else parts[2:]
            kind, record_id = parts[0], parts[1] if len(parts) > 1 else "new"
            if len(parts) > 2:  # a part of a Beteiligter
                kind = parts[2]
                record_id = parts[3] if len(parts) > 3 else "new"
            found[system, kind, "new" if method == "POST" else record_id] += 1
        return found

    def events(self, kuerzel: str) -> list[str]:
        """The titles in a calendar, sorted."""
        calendar = self.loaded.calendars[kuerzel]
        live = [each for each in calendar.events.values() if each.status != CANCELLED]
        rendered = [render_event(each, calendar.id, calendar.zone) for each in live]
        return sorted(str(event.get("summary", "")) for event in rendered)

    def espocrm_record(self, entity_id: str) -> dict[str, Any]:
        """A CBeteiligte as it is stored."""
        records = self.espocrm.state()["records"]["CBeteiligte"]
        return next(record for record in records if record["id"] == entity_id)

    def born_in_google(self) -> list[str]:
        """The titles that only Google has."""
        return [
            event["summary"] for _, number, event in self.made.events if number is None
        ]

    def expected_events(self, generation: str) -> Counter[str]:
        """The titles that the calendars are to show after the first sync, together, and how often each."""
        titles: list[str] = []
        for record in self.advoware.termine.all():
            titles.append("Advoware" if record["privat"] else record["text"])
        born_in_google = Counter(self.born_in_google())
        return Counter(titles) + born_in_google + self._left_by_old_system(generation)

    def _left_by_old_system(self, generation: str) -> Counter[str]:
        """Second events that the old system has left: they are reported, and stay."""
        counted = Counter(
            event["summary"] for _, number, event in self.made.events if number
        )
        left = Counter({title: number - 1 for title, number in counted.items()})
        if generation in {"none", "unmarked"}:
            # Without a row nothing says that an event in another's calendar is this Termin's.
            left[self.title_with("event_elsewhere")] += 1
            left[self.title_with("termin_deleted")] += 1
        if generation == "none":
            left[f"{self.title_with('event_changed')} (verlegt)"] += 1
        return +left

    def title_with(self, fault: str) -> str:
        """The title of the first appointment with this fault."""
        return f"Besprechung {FAULT_EVERY * (FAULTS.index(fault) + 1) - 1}"

    def termine(self) -> list[str]:
        """The titles of Advoware's Termine, sorted."""
        return sorted(record["text"] for record in self.advoware.termine.all())


def requests_of(numbers: Counter[str]) -> Counter[str]:
    """What a preview counts of the calendar system, named as in `REQUESTS`."""
    methods = {"create": "POST", "change": "PATCH", "note": "PATCH", "delete": "DELETE"}
    found: Counter[str] = Counter()
    for name, number in numbers.items():
        record, _, operation = name.rpartition(" ")
        if record.startswith("Google"):
            found[f"{methods[operation]} {record.rpartition(' ')[2]}s"] += number
    return found


def requested(office: TakeoverOffice) -> Counter[str]:
    """The writes of the calendar sync that were really made, named as in `REQUESTS`."""
    found: Counter[str] = Counter()
    for write in office.writes():
        _, method, path = write.split(" ", 2)
        kind = "events" if "/events" in path else "calendars"
        found[f"{method} {kind}"] += 1
    return found


#: What a request does to a record; Google's PUT is a change as well.
_OPERATIONS = {
    "POST": "create",
    "PUT": "change",
    "PATCH": "change",
    "DELETE": "delete",
}


def journalled_records(office: TakeoverOffice) -> Counter[str]:
    """What the journals show as written, by ``<system> <kind> <operation> <record>``; the record is ``new`` if created.

    A record that was changed twice counts once.
    """
    found: Counter[str] = Counter()
    for write in office.writes():
        system, method, path = write.split(" ", 2)
        shown = "Google Calendar" if system == "Google" else system
        name = f"{shown} {_kind_of(system, path)} {_OPERATIONS[method]}"
        if method == "POST":
            found[f"{name} new"] += 1
        else:
            found[f"{name} {path.rstrip('/').rpartition('/')[2]}"] = 1
    return found


def announced_records(document: dict[str, Any]) -> Counter[str]:
    """What the JSON document of ``bitbylaw preview`` announces, named as by `journalled_records`.

    A journal shows that a record was changed, not whether its content was or only its status (``note``).
    """
    found: Counter[str] = Counter()
    for preview in document["previews"]:
        writes = {
            (row["system"], row["kind"], row["operation"], row["record"])
            for row in preview["writes"]
        }
        for system, kind, operation, record in writes:
            if operation == "create":
                found[f"{system} {kind} create new"] += 1
            else:
                word = "change" if operation == "note" else operation
                found[f"{system} {kind} {word} {record}"] = 1
    return found


def by_kind(records: Counter[str]) -> Counter[str]:
    """How many records, by ``<system> <kind> <operation>``."""
    found: Counter[str] = Counter()
    for name, number in records.items():
        found[name.rpartition(" ")[0]] += number
    return found


def _kind_of(system: str, path: str) -> str:
    parts = path.removeprefix("/api/v1/").strip("/").split("/")
    if system == "Google":
        kinds = {"events": "event", "acl": "rule"}
        return next((kinds[part] for part in parts if part in kinds), "calendar")
    if parts[0] != "advonet":
        return parts[0]
    parts = parts[1:] if parts[1] != "Advoware" else parts[2:]
    return parts[2] if len(parts) > 2 else parts[0]


def differing(announced: Counter[Write], made: Counter[Write]) -> list[str]:
    """Where writes are not what was announced: which records, and of new ones how many.

    How often a record that is there is written does not count: a status may go before or with its values.
    """
    lines: list[str] = []
    for write in sorted(announced.keys() | made.keys()):
        numbers = (announced[write], made[write])
        if write[2] != "new":
            numbers = (min(numbers[0], 1), min(numbers[1], 1))
        if numbers[0] != numbers[1]:
            lines.append(f"{write}: announced {numbers[0]}, written {numbers[1]}")
    return lines


def _is_only_for_its_parts(change: Any) -> bool:
    """Whether a Beteiligter is named only because parts of his are written."""
    if change.kind != "Beteiligte" or change.before is None:
        return False
    names = change.before.keys() | change.after.keys()
    changed = {
        name for name in names if change.before.get(name) != change.after.get(name)
    }
    return changed <= {"kommunikation", "adressen", "bankkverbindungen", "rowId"}


def _name(change: Any) -> str:
    """The id of a record that is there; one that would be made has none yet."""
    return change.record_id if change.before is not None else "new"


async def _free_the_rate(resources: Resources) -> None:
    """The rate limit counts by Redis's own clock, for which no test waits."""
    while True:
        redis = resources.calendar_redis
        names = [name async for name in redis.scan_iter("rate_limit*")]
        if names:
            await redis.delete(*names)
        await asyncio.sleep(0.2)


@pytest.fixture
def database(stores: Stores) -> Iterator[str]:
    """A database of its own without any table; its name."""
    with stores.empty_database() as url:
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
async def office(
    advoware: AdvowareTwin,
    espocrm: EspoCRMTwin,
    make_settings: Callable[..., Settings],
    clock: Any,
    tmp_path: Path,
) -> AsyncIterator[TakeoverOffice]:
    """The firm, before the old system has left anything."""
    google = GoogleTwin(empty=True, quota_per_minute=None, clock=clock)
    async with running(google):
        opened = TakeoverOffice(
            advoware, espocrm, google, clock, make_settings, tmp_path
        )
        async with opened.opened(as_it_is=True) as resources:
            await resources.redis.flushall()
        yield opened
