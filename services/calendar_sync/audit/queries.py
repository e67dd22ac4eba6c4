"""Questions to the calendar sync: one appointment, its history, the calendars, the numbers. They write nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from redis.exceptions import RedisError

from services.calendar_sync.audit.findings import Finding, pair_findings
from services.calendar_sync.audit.reader import (
    LARGEST_FRNR,
    AuditReader,
    CalendarMissing,
)
from services.calendar_sync.audit.report import (
    Problem,
    Report,
    Row,
    event_row,
    explain,
    pair_row,
    termin_row,
)
from services.calendar_sync.audit.runs import run_findings
from services.calendar_sync.audit.survey import (
    calendar_row,
    firm_findings,
    read_survey,
    survey_findings,
)
from services.calendar_sync.employees import LAST_SUCCESS, active_employees
from services.calendar_sync.mapping import read_google_events
from services.calendar_sync.model import GoogleEvent, Termin
from services.calendar_sync.store import (
    Cursor,
    EmployeeStatistics,
    Hold,
    Run,
    StoredPair,
)
from services.calendar_sync.view import CalendarView, Confirmations, GoogleListing
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    InvalidInput,
    Unavailable,
)
from services.core.resources import Resources

#: Latest lines of the audit that are shown with an appointment.
HISTORY_LINES = 20

#: What `CalendarQuestions.stats` says of an employee, in this order.
_COLUMNS = (
    "employee_kuerzel",
    "live",
    "pending",
    "failed",
    "deleted",
    "open_intents",
    "run",
    "run_ended_at",
    "code",
    "failing_since",
    "failures",
    "held",
    "held_since",
    "released_at",
    "last_change",
    "last_success",
    "age_seconds",
    "last_full_run",
    "calendar_id",
)

Json = dict[str, Any]


class _Shown(NamedTuple):
    """An event, and in whose calendar it is."""

    kuerzel: str
    calendar_id: str
    event: GoogleEvent


class CalendarQuestions:
    """Commands that answer a question. All methods raise the errors of the systems that they ask."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._reader = AuditReader(resources)

    # -- one appointment ------------------------------------------------------------------------------------------

    async def query_frnr(
        self, frnr: int, wanted: Sequence[str] = (), *, show_text: bool = False
    ) -> Report:
        """All that is known about a Termin: pairs, both sides now, the latest lines of the audit.

        Raises:
            InvalidInput: it cannot be a number of Advoware's.
        """
        return await self._appointment(
            "query-frnr", _checked_frnr(frnr), [], [], wanted, show_text=show_text
        )

    async def query_event(
        self, event_id: str, wanted: Sequence[str] = (), *, show_text: bool = False
    ) -> Report:
        """All that is known about a Google event, and about the Termin that it shows; likewise."""
        stored = await self._within(
            wanted, await (await self._reader.store()).pairs_of_event(event_id)
        )
        employees = {found.pair.employee_kuerzel for found in stored} or set(
            await self._reader.employees(wanted)
        )
        shown: list[_Shown] = []
        for kuerzel in sorted(employees):
            calendar_id = await self._calendar(kuerzel)
            event = (
                await self._reader.read_event(calendar_id, event_id)
                if calendar_id
                else None
            )
            if calendar_id and event is not None:
                shown.append(_Shown(kuerzel, calendar_id, event))
        live = [found.pair.advoware_frnr for found in stored if not found.pair.deleted]
        named = [each.event.fr_nr for each in shown]
        known = [*live, *named, *(found.pair.advoware_frnr for found in stored)]
        frnr = _first_frnr(known)
        return await self._appointment(
            "query-event", frnr, stored, shown, wanted, show_text=show_text
        )

    async def _chosen(
        self, employees: Iterable[str], wanted: Sequence[str]
    ) -> list[str]:
        chosen = await self._reader.employees(wanted) if wanted else None
        return sorted(
            kuerzel for kuerzel in employees if chosen is None or kuerzel in chosen
        )

    async def _within(
        self, wanted: Sequence[str], stored: Sequence[StoredPair]
    ) -> list[StoredPair]:
        chosen = await self._chosen(
            {found.pair.employee_kuerzel for found in stored}, wanted
        )
        return [found for found in stored if found.pair.employee_kuerzel in chosen]

    async def _employees_of(
        self, termin: Termin | None, stored: Sequence[StoredPair], wanted: Sequence[str]
    ) -> list[str]:
        """Whose calendars may show the Termin."""
        employees = {found.pair.employee_kuerzel for found in stored}
        if termin is not None and termin.anwalt is not None:
            employees.add(termin.anwalt)
        elif termin is not None or not employees:
            employees.update(await self._reader.employees(wanted))
        return await self._chosen(employees, wanted)

    async def _calendar(self, kuerzel: str) -> str | None:
        try:
            return await self._reader.calendar_id(kuerzel)
        except CalendarMissing:
            return None

    async def _events_of(
        self, frnr: int, stored: Sequence[StoredPair], employees: Sequence[str]
    ) -> list[_Shown]:
        """The events that show the Termin, and those of its pairs, be they cancelled."""
        found: list[_Shown] = []
        for kuerzel in employees:
            calendar_id = await self._calendar(kuerzel)
            if calendar_id is None:
                continue
            try:
                listed = read_google_events(
                    await self._reader.list_events(calendar_id)
                ).items
            except CalendarMissing:
                continue
            pairs = [entry.pair for entry in stored]
            own = [pair for pair in pairs if pair.employee_kuerzel == kuerzel]
            ids = {pair.google_event_id for pair in own}
            events = {
                event.id: event
                for event in listed
                if event.id in ids or event.fr_nr == frnr
            }
            for event_id in sorted(ids - events.keys() - {None}, key=str):
                read = await self._reader.read_event(calendar_id, str(event_id))
                if read is not None:
                    events[read.id] = read
            found += [
                _Shown(kuerzel, calendar_id, event)
                for event in events.values()
                if not event.recurring_event_id
            ]
        return found

    async def _appointment(
        self,
        command: str,
        frnr: int | None,
        stored: Sequence[StoredPair],
        shown: Sequence[_Shown],
        wanted: Sequence[str],
        *,
        show_text: bool,
    ) -> Report:
        """The report about a Termin, and about the rows and events that are known already."""
        termin = None
        if frnr is not None:
            termin = await self._reader.read_termin(frnr)
            of_termin = await self._within(
                wanted, await (await self._reader.store()).pairs_of_termin(frnr)
            )
            stored = list(
                {found.pair.sync_id: found for found in (*stored, *of_termin)}.values()
            )
            listed = await self._events_of(
                frnr, stored, await self._employees_of(termin, stored, wanted)
            )
            shown = list(
                {
                    (each.calendar_id, each.event.id): each
                    for each in (*listed, *shown)
                }.values()
            )
        store = await self._reader.store()
        intents = [
            asdict(intent)
            for intent in await store.open_intents()
            if intent.google_event_id in {each.event.id for each in shown}
            or (frnr is not None and intent.advoware_frnr == frnr)
        ]
        lines = await store.history(frnr=frnr) if frnr is not None else []
        for found in stored:
            lines += await store.history(sync_id=found.pair.sync_id)
        by_id = {line.audit_id: asdict(line) for line in lines}
        findings = self._findings(stored, termin, shown)
        if not (stored or termin or shown or lines):
            findings = [
                Finding(
                    kind="unknown",
                    reason="nothing is known about it",
                    remedy="person",
                    advoware_frnr=frnr,
                )
            ]
        return self._report(
            command,
            findings,
            pairs=[pair_row(found) for found in stored],
            advoware=termin_row(termin, show_text=show_text) if termin else None,
            google=[event_row(*each, show_text=show_text) for each in shown],
            intents=intents,
            history=[by_id[key] for key in sorted(by_id, key=lambda key: key or 0)][
                -HISTORY_LINES:
            ],
        )

    def _findings(
        self,
        stored: Sequence[StoredPair],
        termin: Termin | None,
        shown: Sequence[_Shown],
    ) -> list[Finding]:
        """What is not in order with the live pairs, and events of ours that have none."""
        live = [found.pair for found in stored if not found.pair.deleted]
        paired = {(pair.employee_kuerzel, pair.google_event_id) for pair in live}
        findings = [
            Finding(
                kind="event_without_pair",
                reason="see find-duplicates and find-orphaned",
                remedy="next_sync",
                employee_kuerzel=each.kuerzel,
                advoware_frnr=each.event.fr_nr,
                google_event_id=each.event.id,
                sync_id=each.event.sync_id,
                calendar_id=each.calendar_id,
            )
            for each in shown
            if not each.event.cancelled and each.event.fr_nr is not None
            if (each.kuerzel, each.event.id) not in paired
        ]
        for pair in live:
            own = {
                each.event.id: each.event
                for each in shown
                if each.kuerzel == pair.employee_kuerzel
            }
            event = own.get(pair.google_event_id or "")
            own_termin = (
                termin if termin and termin.fr_nr == pair.advoware_frnr else None
            )
            read = Confirmations(
                {pair.advoware_frnr or 0: own_termin},
                {pair.google_event_id or "": event},
            )
            settings = self._reader.settings_for(pair.employee_kuerzel, "")
            view = CalendarView(
                settings, [], GoogleListing([], full=True), [pair], read
            )
            findings += pair_findings(view, pair)
        return findings

    async def history(self, key: str) -> Report:
        """The audit of a pair (its ``sync_id``) or of all pairs that ever had a Termin (its ``frNr``).

        Raises:
            InvalidInput: it is neither.
        """
        store = await self._reader.store()
        if key.isdecimal():
            lines = await store.history(frnr=_checked_frnr(int(key)))
        else:
            try:
                sync_id = UUID(key)
            except ValueError:
                raise InvalidInput(
                    "history: expected a sync_id (UUID) or a frNr (number)"
                ) from None
            lines = await store.history(sync_id=sync_id)
        unknown = Finding(
            kind="unknown", reason="the audit has no line about it", remedy="person"
        )
        return self._report(
            "history",
            [] if lines else [unknown],
            history=[asdict(line) for line in lines],
        )

    # -- the whole ------------------------------------------------------------------------------------------------

    async def stats(self, wanted: Sequence[str] = ()) -> Report:
        """Numbers per employee, how the latest run ended, and what is not in order with it.

        ``last_success``: when a sync last succeeded, ``age_seconds``: how long ago that is; ``run``: how the latest run
        ended; ``held``: how many appointments wait, and ``released_at`` if an operator has looked at them already.
        """
        store = await self._reader.store()
        numbers = {row.employee_kuerzel: row for row in await store.statistics()}
        cursors = {
            cursor.employee_kuerzel: cursor for cursor in await store.load_cursors()
        }
        intents = [intent.employee_kuerzel for intent in await store.open_intents()]
        successes = await self._last_successes()
        runs = {run.employee_kuerzel: run for run in await store.runs()}
        holds = {hold.employee_kuerzel: hold for hold in await store.holds()}
        known = {*numbers, *cursors, *intents, *successes, *runs, *holds}
        covered, problems = await self._covered(known)
        report = self._report("stats", [], employees=[])
        report.problems += problems
        now = self._resources.clock()
        for kuerzel in await self._chosen(known | covered, wanted):
            run, hold = runs.get(kuerzel), holds.get(kuerzel)
            if kuerzel in covered:
                report.findings += run_findings(kuerzel, run, hold, now)
            row: Json = {
                "employee_kuerzel": kuerzel,
                **_numbers_row(numbers.get(kuerzel), intents.count(kuerzel)),
                **_run_row(run),
                **_hold_row(hold),
                **_success_row(successes.get(kuerzel), now),
                **_cursor_row(cursors.get(kuerzel)),
            }
            # The order in which the columns are shown.
            report.details["employees"].append({name: row[name] for name in _COLUMNS})
        return report

    async def _covered(self, known: set[str]) -> tuple[set[str], list[Problem]]:
        """Whom the sync covers; without Advoware's answer all that are known, because some of them are."""
        try:
            return set(await self._reader.sync.employees()), []
        except (ConfigurationError, ForeignSystemError) as error:
            return known, [
                Problem(None, f"whom the sync covers is not known: {explain(error)}")
            ]

    async def _last_successes(self) -> dict[str, datetime]:
        try:
            noted = await self._resources.calendar_redis.hgetall(LAST_SUCCESS)
        except RedisError as error:
            raise Unavailable("Redis", "cannot be reached") from error
        return {
            str(kuerzel): datetime.fromisoformat(str(moment))
            for kuerzel, moment in noted.items()
        }

    async def list_calendars(self, wanted: Sequence[str] = ()) -> Report:
        """The calendars of the sync with their sharing, and what is not in order with them."""
        settings = self._resources.settings
        active = active_employees(await self._reader.advoware.list_mitarbeiter())
        survey = await read_survey(self._resources, self._reader, active)
        chosen = await self._chosen(
            {*survey.calendars, *survey.cached, *survey.covered}, wanted
        )
        findings: list[Finding] = [] if wanted else firm_findings(survey, settings)
        rows: list[Row] = []
        for kuerzel in chosen:
            findings += survey_findings(survey, settings, kuerzel)
            rows += [
                calendar_row(survey, calendar)
                for calendar in survey.calendars.get(kuerzel, ())
            ]
        return self._report("list-calendars", findings, calendars=rows)

    def _report(self, command: str, findings: list[Finding], **details: Any) -> Report:
        return Report(command, self._resources.clock(), findings, details=details)


def _numbers_row(counted: EmployeeStatistics | None, open_intents: int) -> Json:
    if counted is None:
        counts: Json = dict.fromkeys(("live", "pending", "failed", "deleted"), 0)
        return {**counts, "open_intents": open_intents, "last_change": None}
    return {
        "live": counted.live,
        "pending": counted.pending,
        "failed": counted.failed,
        "deleted": counted.deleted,
        "open_intents": open_intents,
        "last_change": counted.last_sync,
    }


def _run_row(run: Run | None) -> Json:
    if run is None:
        names = ("run", "run_ended_at", "code", "failing_since")
        return {**dict.fromkeys(names), "failures": 0}
    return {
        "run": run.result,
        "run_ended_at": run.ended_at,
        "code": run.code,
        "failing_since": run.failing_since,
        "failures": run.failures,
    }


def _hold_row(hold: Hold | None) -> Json:
    if hold is None:
        return {"held": 0, "held_since": None, "released_at": None}
    return {
        "held": hold.number,
        "held_since": hold.held_since,
        "released_at": hold.released_at,
    }


def _success_row(success: datetime | None, now: datetime) -> Json:
    if success is None:
        return {"last_success": None, "age_seconds": None}
    age = (now - success).total_seconds()
    return {"last_success": success, "age_seconds": round(age)}


def _cursor_row(cursor: Cursor | None) -> Json:
    if cursor is None:
        return {"last_full_run": None, "calendar_id": None}
    return {"last_full_run": cursor.last_full_run, "calendar_id": cursor.calendar_id}


def _first_frnr(numbers: Iterable[int | None]) -> int | None:
    """The first that can be a number of Advoware's."""
    for number in numbers:
        if number is not None and 0 < number <= LARGEST_FRNR:
            return number
    return None


def _checked_frnr(frnr: int) -> int:
    if not 0 < frnr <= LARGEST_FRNR:
        raise InvalidInput(f"a frNr is a number from 1 to {LARGEST_FRNR}")
    return frnr
