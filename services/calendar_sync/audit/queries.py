"""Questions to the calendar sync: one appointment, its history, the calendars, the numbers. They write nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from redis.exceptions import RedisError

from services.calendar_sync.audit.appointment import (
    Appointment,
    AppointmentReader,
    appointment_findings,
)
from services.calendar_sync.audit.findings import Finding
from services.calendar_sync.audit.reader import LARGEST_FRNR, AuditReader
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
from services.calendar_sync.employees import active_employees
from services.calendar_sync.model import LAST_SUCCESS
from services.calendar_sync.store import (
    AuditLine,
    Cursor,
    EmployeeStatistics,
    Hold,
    Intent,
    Run,
)
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    InvalidInput,
    Unavailable,
)
from services.core.resources import Resources

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


class _OfEmployee(Protocol):
    """A row of an employee's."""

    @property
    def employee_kuerzel(self) -> str:
        """Whose it is."""


OfEmployee = TypeVar("OfEmployee", bound=_OfEmployee)


@dataclass(frozen=True)
class _Statistics:
    """What the tables and Redis know of the employees, each by Kürzel."""

    numbers: dict[str, EmployeeStatistics]
    cursors: dict[str, Cursor]
    runs: dict[str, Run]
    holds: dict[str, Hold]
    open_intents: Counter[str]
    successes: dict[str, datetime]

    @property
    def employees(self) -> set[str]:
        """All of whom something is known."""
        known = {*self.numbers, *self.cursors, *self.runs, *self.holds}
        return known | {*self.open_intents, *self.successes}

    def row(self, kuerzel: str, now: datetime) -> Json:
        """What is known of one employee, the columns in the order in which they are shown."""
        values: Json = {
            "employee_kuerzel": kuerzel,
            **_numbers_row(self.numbers.get(kuerzel), self.open_intents[kuerzel]),
            **_run_row(self.runs.get(kuerzel)),
            **_hold_row(self.holds.get(kuerzel)),
            **_success_row(self.successes.get(kuerzel), now),
            **_cursor_row(self.cursors.get(kuerzel)),
        }
        return {name: values[name] for name in _COLUMNS}


class CalendarQuestions:
    """Commands that answer a question. All methods raise the errors of the systems that they ask."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._reader = AuditReader(resources)

    # -- one appointment ------------------------------------------------------------------------------------------

    async def query_frnr(
        self,
        frnr: int,
        wanted: Sequence[str] = (),
        *,
        show_text: bool = False,
    ) -> Report:
        """All that is known about a Termin: pairs, both sides now, the latest lines of the audit.

        Raises:
            InvalidInput: it cannot be a number of Advoware's.
        """
        _check_frnr(frnr)
        appointments = await self._appointments(wanted)
        found = await appointments.of_termin(frnr)
        return self._about(found, "query-frnr", show_text=show_text)

    async def query_event(
        self,
        event_id: str,
        wanted: Sequence[str] = (),
        *,
        show_text: bool = False,
    ) -> Report:
        """All that is known about a Google event, and about the Termin that it shows; likewise."""
        appointments = await self._appointments(wanted)
        found = await appointments.of_event(event_id)
        return self._about(found, "query-event", show_text=show_text)

    async def _appointments(self, wanted: Sequence[str]) -> AppointmentReader:
        store = await self._reader.store()
        selection = await self._reader.select(wanted)
        return AppointmentReader(self._reader, store, selection, wanted)

    def _about(self, found: Appointment, command: str, *, show_text: bool) -> Report:
        advoware = None
        if found.termin is not None:
            advoware = termin_row(found.termin, show_text=show_text)
        google: list[Row] = []
        for each in found.shown.values():
            row = event_row(
                each.kuerzel,
                each.calendar_id,
                each.event,
                show_text=show_text,
            )
            google.append(row)
        return self._report(
            command,
            appointment_findings(self._reader, found),
            pairs=[pair_row(row) for row in found.stored.values()],
            advoware=advoware,
            google=google,
            intents=_as_rows(found.intents),
            history=_as_rows(found.history),
        )

    async def history(self, key: str) -> Report:
        """The audit of a pair (its ``sync_id``) or of all pairs that ever had a Termin (its ``frNr``).

        Raises:
            InvalidInput: it is neither.
        """
        lines = await self._history_of(key)
        if lines:
            return self._report("history", [], history=_as_rows(lines))
        unknown = Finding(
            kind="unknown",
            reason="the audit has no line about it",
            remedy="person",
        )
        return self._report("history", [unknown], history=[])

    async def _history_of(self, key: str) -> list[AuditLine]:
        store = await self._reader.store()
        if key.isdecimal():
            frnr = int(key)
            _check_frnr(frnr)
            return await store.history(frnr=frnr)
        try:
            sync_id = UUID(key)
        except ValueError:
            raise InvalidInput(
                "history: expected a sync_id (UUID) or a frNr (number)",
            ) from None
        return await store.history(sync_id=sync_id)

    # -- the whole ------------------------------------------------------------------------------------------------

    async def stats(self, wanted: Sequence[str] = ()) -> Report:
        """Numbers per employee, how the latest run ended, and what is not in order with it.

        ``last_success``: when a sync last succeeded, ``age_seconds``: how long ago that is; ``run``: how the latest run
        ended; ``held``: how many appointments wait, and ``released_at`` if an operator has looked at them already.
        """
        known = await self._statistics()
        covered, problems = await self._covered(known.employees)
        report = self._report("stats", [], employees=[])
        report.problems += problems
        now = self._resources.clock()
        selection = await self._reader.select(wanted)
        for kuerzel in selection.of(known.employees | covered):
            if kuerzel in covered:
                run = known.runs.get(kuerzel)
                hold = known.holds.get(kuerzel)
                report.findings += run_findings(kuerzel, run, hold, now)
            report.details["employees"].append(known.row(kuerzel, now))
        return report

    async def _statistics(self) -> _Statistics:
        store = await self._reader.store()
        intents = await store.open_intents()
        return _Statistics(
            numbers=_by_kuerzel(await store.statistics()),
            cursors=_by_kuerzel(await store.load_cursors()),
            runs=_by_kuerzel(await store.runs()),
            holds=_by_kuerzel(await store.holds()),
            open_intents=Counter(intent.employee_kuerzel for intent in intents),
            successes=await self._last_successes(),
        )

    async def _covered(self, known: set[str]) -> tuple[set[str], list[Problem]]:
        """Whom the sync covers; without Advoware's answer all that are known, because some of them are."""
        try:
            return set(await self._reader.sync.employees()), []
        except (ConfigurationError, ForeignSystemError) as error:
            return known, [
                Problem(None, f"whom the sync covers is not known: {explain(error)}"),
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
        listed = await self._reader.advoware.list_mitarbeiter()
        active = active_employees(listed)
        survey = await read_survey(self._resources, self._reader, active)
        selection = await self._reader.select(wanted)
        findings: list[Finding] = []
        if not wanted:
            findings += firm_findings(survey, settings)
        rows: list[Row] = []
        known = {*survey.calendars, *survey.cached, *survey.covered}
        for kuerzel in selection.of(known):
            findings += survey_findings(survey, settings, kuerzel)
            for calendar in survey.calendars.get(kuerzel, ()):
                rows.append(calendar_row(survey, calendar))
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


def _by_kuerzel(rows: Iterable[OfEmployee]) -> dict[str, OfEmployee]:
    return {row.employee_kuerzel: row for row in rows}


def _as_rows(values: Iterable[Intent | AuditLine]) -> list[Row]:
    return [asdict(value) for value in values]


def _check_frnr(frnr: int) -> None:
    if not 0 < frnr <= LARGEST_FRNR:
        raise InvalidInput(f"a frNr is a number from 1 to {LARGEST_FRNR}")
