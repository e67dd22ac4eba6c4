"""The calendars of the employees as operators see them: ids, numbers, times and reasons. Never a text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from services.calendar_sync.store import (
    OVERDUE_MINUTES,
    CalendarStore,
    EmployeeStatistics,
    Hold,
    Run,
)
from services.operate.parts import (
    PAGE_ROWS,
    Part,
    first_page,
    offset_of,
    page_of,
    part,
)
from services.operate.redact import redacted, redacted_or_none
from services.operate.sources import Sources

OfEmployee = TypeVar("OfEmployee", Run, Hold, EmployeeStatistics)
State = Literal["ok", "held", "failing", "overdue", "unknown"]
STATES: tuple[State, ...] = ("failing", "held", "overdue", "ok", "unknown")
#: What a guard writes into the audit.
GUARD_ACTIONS = ("held", "released", "refused", "protected")


@dataclass(frozen=True)
class Employee:
    """One employee's calendar. ``code`` says why it fails, in our own words."""

    kuerzel: str
    state: State
    last_success: datetime | None = None
    last_run: datetime | None = None
    failing_since: datetime | None = None
    failures: int = 0
    code: str | None = None
    pairs: int = 0
    pending: int = 0
    failed: int = 0
    held: int = 0
    held_reason: str | None = None
    held_since: datetime | None = None
    is_released: bool = False


@dataclass(frozen=True)
class CalendarsView:
    """A page of the employees, those first who need someone."""

    state: str
    search: str
    employees: Part[list[Employee]]
    total: int
    page: int
    has_next: bool


@dataclass(frozen=True)
class Unsettled:
    """A pair that is not in step, with the reason."""

    sync_id: str
    frnr: int | None
    event_id: str | None
    status: str
    reason: str
    attempts: int
    since: datetime


@dataclass(frozen=True)
class HeldAppointment:
    """An appointment that would be deleted, or made again, once what is held is released."""

    frnr: int | None
    event_id: str | None

    @property
    def name(self) -> str:
        """Its number in Advoware, else its id in Google."""
        return str(self.frnr or self.event_id)


@dataclass(frozen=True)
class CalendarLine:
    """One line of the calendar's audit."""

    audit_id: int
    at: datetime
    kuerzel: str
    sync_id: str | None
    frnr: int | None
    event_id: str | None
    side: str
    action: str
    reason: str
    error: str | None
    trace_id: str | None


@dataclass(frozen=True)
class CalendarView:
    """One employee: what is held back, what is not in step, the guards that fired, and a page of the history."""

    kuerzel: str
    employee: Part[Employee | None]
    held: Part[list[HeldAppointment]]
    unsettled: Part[list[Unsettled]]
    guards: Part[list[CalendarLine]]
    history: Part[list[CalendarLine]]
    page: int
    has_next: bool


@dataclass(frozen=True)
class AppointmentView:
    """The history of one appointment, found by its number in Advoware or its id in Google."""

    number: str
    lines: Part[list[CalendarLine]]
    page: int
    has_next: bool


async def calendars_view(
    sources: Sources,
    state: str,
    search: str,
    page: int,
) -> CalendarsView:
    """The employees in this state (empty: all), whose Kürzel contains ``search``."""
    found = await part(employees(sources), "PostgreSQL")
    if found.value is None:
        return CalendarsView(state, search, found, 0, page, has_next=False)
    chosen = [one for one in found.value if _fits(one, state, search)]
    rows, has_next = page_of(Part(chosen), page)
    with_numbers = _with_numbers(sources, rows.value or [])
    shown = await part(with_numbers, "PostgreSQL")
    return CalendarsView(
        state=state,
        search=search,
        employees=shown,
        total=len(chosen),
        page=page,
        has_next=has_next,
    )


def _fits(employee: Employee, state: str, search: str) -> bool:
    if state and employee.state != state:
        return False
    return search.casefold() in employee.kuerzel.casefold()


async def employees(sources: Sources) -> list[Employee]:
    """All employees of whom the sync knows something, those first who need someone. The numbers of their pairs are 0:
    to count all pairs takes the longer the more there are.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    store = CalendarStore(await sources.resources.database())
    paired = await store.employees_with_pairs()
    runs = _by_kuerzel(await store.runs())
    holds = _by_kuerzel(await store.holds())
    overdue_since = sources.resources.clock() - timedelta(minutes=OVERDUE_MINUTES)
    rows = []
    for kuerzel in {*paired, *runs, *holds}:
        run = runs.get(kuerzel)
        hold = holds.get(kuerzel)
        rows.append(_employee(kuerzel, run, hold, overdue_since))
    return sorted(rows, key=_urgency)


def _by_kuerzel(rows: Iterable[OfEmployee]) -> dict[str, OfEmployee]:
    return {row.employee_kuerzel: row for row in rows}


def _urgency(employee: Employee) -> tuple[int, str]:
    """The order of the list: the states as `STATES` has them, then the Kürzel."""
    return STATES.index(employee.state), employee.kuerzel


async def _with_numbers(
    sources: Sources,
    employees: Sequence[Employee],
) -> list[Employee]:
    """The same employees with the numbers of their pairs."""
    store = CalendarStore(await sources.resources.database())
    names = [employee.kuerzel for employee in employees]
    numbers = _by_kuerzel(await store.statistics(names))
    counted = []
    for employee in employees:
        of_employee = numbers.get(employee.kuerzel)
        counted.append(_counted(employee, of_employee))
    return counted


def _counted(employee: Employee, numbers: EmployeeStatistics | None) -> Employee:
    if numbers is None:
        return employee
    return replace(
        employee,
        pairs=numbers.live,
        pending=numbers.pending,
        failed=numbers.failed,
    )


def _employee(
    kuerzel: str,
    run: Run | None,
    hold: Hold | None,
    overdue_since: datetime,
) -> Employee:
    found = Employee(kuerzel=kuerzel, state=_state(run, hold, overdue_since))
    if run is not None:
        found = replace(
            found,
            last_success=run.succeeded_at,
            last_run=run.ended_at,
            failing_since=run.failing_since,
            failures=run.failures,
            code=redacted_or_none(run.code),
        )
    if hold is None:
        return found
    return replace(
        found,
        held=hold.number,
        held_reason=hold.reason,
        held_since=hold.held_since,
        is_released=hold.released_at is not None,
    )


def _state(run: Run | None, hold: Hold | None, overdue_since: datetime) -> State:
    if run is not None and run.result == "failed":
        return "failing"
    if _is_held(hold):
        return "held"
    if run is None:
        return "unknown"
    if run.ended_at < overdue_since:
        return "overdue"
    return "ok"


def _is_held(hold: Hold | None) -> bool:
    return hold is not None and hold.released_at is None


async def counts_by_state(sources: Sources) -> dict[str, int]:
    """How many employees are in each state.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    counts: dict[str, int] = dict.fromkeys(STATES, 0)
    for employee in await employees(sources):
        counts[employee.state] += 1
    return counts


async def calendar_view(sources: Sources, kuerzel: str, page: int) -> CalendarView:
    """One employee."""
    history_page = (PAGE_ROWS + 1, offset_of(page))
    employee, held, unsettled, guards, history = await asyncio.gather(
        part(find_employee(sources, kuerzel), "PostgreSQL"),
        part(held_appointments(sources, kuerzel), "PostgreSQL"),
        part(_unsettled(sources, kuerzel), "PostgreSQL"),
        part(_lines(sources, _GUARDS, kuerzel, list(GUARD_ACTIONS)), "PostgreSQL"),
        part(_lines(sources, _HISTORY, kuerzel, *history_page), "PostgreSQL"),
    )
    shown, has_next = first_page(history)
    return CalendarView(
        kuerzel=kuerzel,
        employee=employee,
        held=held,
        unsettled=unsettled,
        guards=guards,
        history=shown,
        page=page,
        has_next=has_next,
    )


async def held_appointments(sources: Sources, kuerzel: str) -> list[HeldAppointment]:
    """What is held back for an employee.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    store = CalendarStore(await sources.resources.database())
    return [HeldAppointment(*ids) for ids in await store.held_pairs(kuerzel)]


async def find_employee(sources: Sources, kuerzel: str) -> Employee | None:
    """The employee with this Kürzel.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    for employee in await employees(sources):
        if employee.kuerzel == kuerzel:
            counted = await _with_numbers(sources, [employee])
            return counted[0]
    return None


async def appointment_view(sources: Sources, number: str, page: int) -> AppointmentView:
    """The history of the appointment with this number (Advoware) or id (Google), the newest first."""
    history_page = (PAGE_ROWS + 1, offset_of(page))
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    if is_number:
        history = _lines(sources, _OF_TERMIN, int(number), *history_page)
    else:
        history = _lines(sources, _OF_EVENT, number, *history_page)
    found = await part(history, "PostgreSQL")
    shown, has_next = first_page(found)
    return AppointmentView(number=number, lines=shown, page=page, has_next=has_next)


_COLUMNS = """
audit_id, at, employee_kuerzel, sync_id::text AS sync_id, advoware_frnr, google_event_id, side, action, reason, error,
trace_id
"""
_HISTORY = f"""
SELECT {_COLUMNS} FROM calendar_sync_audit WHERE employee_kuerzel = $1 ORDER BY audit_id DESC LIMIT $2 OFFSET $3
"""  # noqa: S608 - our own text
_GUARDS = f"""
SELECT {_COLUMNS} FROM calendar_sync_audit WHERE employee_kuerzel = $1 AND action = ANY($2)
ORDER BY audit_id DESC LIMIT 20
"""  # noqa: S608 - our own text
_OF_TERMIN = f"""
SELECT {_COLUMNS} FROM calendar_sync_audit WHERE advoware_frnr = $1 ORDER BY audit_id DESC LIMIT $2 OFFSET $3
"""  # noqa: S608 - our own text
_OF_EVENT = f"""
SELECT {_COLUMNS} FROM calendar_sync_audit WHERE google_event_id = $1 ORDER BY audit_id DESC LIMIT $2 OFFSET $3
"""  # noqa: S608 - our own text


async def _lines(sources: Sources, query: str, *values: Any) -> list[CalendarLine]:
    return await sources.rows(_line, query, *values)


def _line(row: Mapping[str, Any]) -> CalendarLine:
    return CalendarLine(
        audit_id=row["audit_id"],
        at=row["at"],
        kuerzel=row["employee_kuerzel"],
        sync_id=row["sync_id"],
        frnr=row["advoware_frnr"],
        event_id=row["google_event_id"],
        side=row["side"],
        action=redacted(row["action"]),
        reason=redacted(row["reason"]),
        error=redacted_or_none(row["error"]),
        trace_id=row["trace_id"],
    )


async def _unsettled(sources: Sources, kuerzel: str) -> list[Unsettled]:
    return await sources.rows(
        _unsettled_pair,
        """
        SELECT sync_id::text AS sync_id, advoware_frnr, google_event_id, sync_status, error, attempts, updated_at
        FROM calendar_sync WHERE employee_kuerzel = $1 AND NOT deleted
            AND (sync_status <> 'synced' OR error IS NOT NULL)
        ORDER BY updated_at LIMIT 200
        """,
        kuerzel,
    )


def _unsettled_pair(row: Mapping[str, Any]) -> Unsettled:
    return Unsettled(
        sync_id=row["sync_id"],
        frnr=row["advoware_frnr"],
        event_id=row["google_event_id"],
        status=row["sync_status"],
        reason=redacted(row["error"] or ""),
        attempts=row["attempts"],
        since=row["updated_at"],
    )
