"""``takeover check | run | undo``: observe what the old system has left, compare, remember.

`check` writes nothing at all. `run` writes to our own tables, removes the old system's endless locks from Redis, and
nothing else. It may be interrupted anywhere: it computes everything again and stores what is not stored yet, each pair
and each record by itself, so the result is the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from services.calendar_sync.model import Pair
from services.calendar_sync.store import AuditLine, CalendarStore, Cursor
from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    InvalidInput,
    failure_code,
)
from services.core.resources import Resources
from services.takeover.beteiligte import (
    BeteiligteReader,
    Firm,
    Outcome,
    Record,
    claims,
    statuses,
)
from services.takeover.calendars import (
    Calendar,
    CalendarReader,
    Taken,
    choose_calendar,
    other_calendars,
)
from services.takeover.old_rows import OldRow, read_row
from services.takeover.old_table import OldTable, Stage
from services.takeover.pairs import Rows, missing_pairs, sort_rows
from services.takeover.report import Announced, Finding, Report
from services.takeover.signs import (
    leftover_keys,
    remove_leftover_keys,
    signs_of_old_system,
)
from services.takeover.variables import odd_settings
from services.vmh_sync.store import SyncStore

#: Beteiligte that are read at the same time.
AT_ONCE = 4
#: Pairs that are stored in one transaction.
PORTION = 500

#: Called with what is being worked on, how much is done, and of how much.
Progress = Callable[[str, int, int], None]


def no_progress(what: str, done: int, total: int) -> None:
    """Shows nothing."""


class Takeover:
    """One command. ``resources`` are opened ``as_it_is``; ``in_file`` are the names of the variables in `.env`."""

    def __init__(
        self,
        resources: Resources,
        in_file: Iterable[str] = (),
        progress: Progress = no_progress,
    ) -> None:
        self._resources = resources
        self._in_file = frozenset(in_file)
        self._progress = progress

    # -- commands -------------------------------------------------------------------------------------------------

    async def check(self) -> Report:
        """What is there; nothing is written.

        Raises:
            ForeignSystemError, ConfigurationError: PostgreSQL or Redis cannot be used.
        """
        report = Report("check")
        table = await self._table()
        stage = await table.stage()
        await self._look_around(report)
        takens = await self._calendars(report, table, stage)
        _report_doubling(report, takens)
        await self._beteiligte(report, None)
        report.sort()
        return report

    async def run(self) -> Report:
        """Take over what is there.

        Raises:
            InvalidInput: our sync works with this database already, or the first sync would enter events in
                Advoware once more.
            ForeignSystemError, ConfigurationError: PostgreSQL or Redis cannot be used.
        """
        report = Report("run")
        table = await self._table()
        stage = await table.stage()
        _require_fresh(stage)
        await self._look_around(report)
        takens = await self._calendars(report, table, stage)
        _require_no_doubling(takens)
        if report.problems:
            report.done.append("nothing: mend the problems and run it again")
            return report
        await table.begin(self._now())
        self._progress("table", 1, 1)
        removed = await remove_leftover_keys(self._resources)
        report.done.append(f"{removed} locks and pending keys without TTL were removed")
        await self._store_all(report, takens)
        store = SyncStore(await self._resources.database())
        await self._beteiligte(report, store)
        if report.problems:
            report.done.append("not finished: mend the problems and run it again")
        else:
            await table.finish(self._now())
            report.done.append("finished: the worker may start")
        report.sort()
        return report

    async def undo(self) -> Report:
        """Bring the old table back.

        Raises:
            InvalidInput: there is nothing to undo, or our sync has worked with the database.
        """
        report = Report("undo")
        table = await self._table()
        report.done += await table.undo()
        return report

    async def _table(self) -> OldTable:
        return OldTable(await self._resources.database())

    # -- around ---------------------------------------------------------------------------------------------------

    async def _look_around(self, report: Report) -> None:
        report.settings += odd_settings(self._resources.settings, self._in_file)
        report.signs += await signs_of_old_system(self._resources)
        for item in await leftover_keys(self._resources):
            if item.is_fresh:
                continue
            why = "has no TTL: whoever needs it would wait for ever; run removes it"
            where = f"Redis {item.database} {item.key}"
            report.findings.append(Finding("endless_key", where, why))

    # -- calendars ------------------------------------------------------------------------------------------------

    async def _calendars(
        self,
        report: Report,
        table: OldTable,
        stage: Stage,
    ) -> list[Taken]:
        """Every calendar, compared; a system that is away is a problem of the report."""
        rows = await self._rows(report, table, stage)
        if not self._resources.settings.google_calendar.is_configured:
            if rows:
                report.problems.append(_NO_GOOGLE)
            return []
        try:
            return await self._compare_calendars(report, rows, stage)
        except (BitByLawError, ConfigurationError) as error:
            report.problems.append(f"calendars: {failure_code(error)}")
            return []

    async def _rows(
        self,
        report: Report,
        table: OldTable,
        stage: Stage,
    ) -> list[OldRow]:
        if stage.table is None:
            return []
        columns = await table.columns(stage.table)
        described = [f"{name} {kind}" for name, kind in columns.items()]
        report.generation = ", ".join(described)
        found = await table.rows(stage.table)
        rows = list(map(read_row, found))
        report.rows = _numbers(rows)
        return rows

    async def _compare_calendars(
        self,
        report: Report,
        rows: list[OldRow],
        stage: Stage,
    ) -> list[Taken]:
        reader = CalendarReader(self._resources)
        active = await reader.employees()
        calendars, findings = await reader.calendars()
        report.findings += findings
        chosen = self._chosen_calendars(report, calendars, rows)
        events = {kuerzel: each.event_ids for kuerzel, each in chosen.items()}
        known = {*active, *chosen}
        sorted_rows = sort_rows(rows, known, events)
        report.findings += sorted_rows.findings
        own_address = await reader.own_address()
        names = sorted({*known, *sorted_rows.chosen})
        takens: list[Taken] = []
        for number, kuerzel in enumerate(names):
            self._progress("calendars", number, len(names))
            stored = await self._stored_pairs(stage, kuerzel)
            calendar = chosen.get(kuerzel)
            why = self._why_not_synced(kuerzel, active)
            if why is None:
                taken = await self._take(
                    reader,
                    kuerzel,
                    calendar,
                    sorted_rows,
                    stored,
                    own_address,
                )
            else:
                taken = self._keep(kuerzel, calendar, sorted_rows, stored, why)
            takens.append(taken)
        _report_taken(report, takens)
        return takens

    def _chosen_calendars(
        self,
        report: Report,
        calendars: list[Calendar],
        rows: list[OldRow],
    ) -> dict[str, Calendar]:
        row_events = _live_events(rows)
        by_name: dict[str, list[Calendar]] = defaultdict(list)
        for calendar in calendars:
            by_name[calendar.kuerzel].append(calendar)
        chosen: dict[str, Calendar] = {}
        for kuerzel, found in by_name.items():
            calendar = choose_calendar(found, row_events)
            chosen[kuerzel] = calendar
            report.findings += other_calendars(found, calendar)
        return chosen

    async def _stored_pairs(self, stage: Stage, kuerzel: str) -> list[Pair]:
        """What an interrupted take-over has stored of an employee."""
        if not stage.has_begun:
            return []
        store = CalendarStore(await self._resources.database())
        return await store.load_pairs(kuerzel)

    async def _take(
        self,
        reader: CalendarReader,
        kuerzel: str,
        calendar: Calendar | None,
        rows: Rows,
        stored: Sequence[Pair],
        own_address: str,
    ) -> Taken:
        if calendar is not None:
            taken = await reader.take(calendar, rows, stored, own_address)
            taken.announced += await reader.announced_for_itself(calendar)
            return taken
        without_events = Rows()
        for row in rows.chosen.get(kuerzel, []):
            if row.fr_nr is not None:
                without_event = replace(row, event_id=None)
                without_events.chosen[kuerzel].append(without_event)
        empty = Calendar(kuerzel, calendar_id="", entry={}, resources=[])
        taken = await reader.take(empty, without_events, stored, own_address)
        taken.calendar_id = None
        creation = Announced("CreateCalendar", kuerzel, None, None)
        taken.announced.append(creation)
        return taken

    def _why_not_synced(self, kuerzel: str, active: Collection[str]) -> str | None:
        """Why no sync looks at an employee's calendar; None if one does."""
        only = self._resources.settings.calendar_sync.only_kuerzel
        if kuerzel not in active:
            return "no active employee of Advoware"
        if only and kuerzel not in only:
            return "left out by CALENDAR_SYNC_DEBUG_KUERZEL"
        return None

    def _keep(
        self,
        kuerzel: str,
        calendar: Calendar | None,
        rows: Rows,
        stored: Sequence[Pair],
        why: str,
    ) -> Taken:
        """The rows of one whom no sync looks at, as they are."""
        taken = Taken(kuerzel)
        if calendar is not None:
            taken.calendar_id = calendar.calendar_id
        chosen = rows.chosen.get(kuerzel, [])
        strategy = self._resources.settings.calendar_sync.strategy
        taken.pairs = [*stored, *missing_pairs(chosen, stored, strategy)]
        if taken.pairs:
            why = f"{why}; {len(taken.pairs)} pairs are kept"
            taken.findings.append(Finding("not_synced", kuerzel, why))
        return taken

    async def _store_all(self, report: Report, takens: Sequence[Taken]) -> None:
        pairs = 0
        for number, taken in enumerate(takens, 1):
            await self._store(taken)
            pairs += len(taken.pairs)
            self._progress("stored calendars", number, len(takens))
        report.done.append(f"{pairs} pairs are taken over")

    async def _store(self, taken: Taken) -> None:
        """Store what is not stored yet of one employee: pairs by portions, then where his calendar is."""
        store = CalendarStore(await self._resources.database())
        now = self._now()
        await self._store_pairs(store, taken, now)
        cursor = await store.load_cursor(taken.kuerzel)
        if taken.calendar_id is None or cursor.calendar_id is not None:
            return
        cursor = Cursor(employee_kuerzel=taken.kuerzel, calendar_id=taken.calendar_id)
        await store.save_cursor(cursor, now)

    async def _store_pairs(
        self,
        store: CalendarStore,
        taken: Taken,
        now: datetime,
    ) -> None:
        stored = {pair.sync_id: pair for pair in await store.load_pairs(taken.kuerzel)}
        new = [pair for pair in taken.pairs if stored.get(pair.sync_id) != pair]
        for start in range(0, len(new), PORTION):
            portion = new[start : start + PORTION]
            lines = map(_line, portion)
            await store.save_pairs(list(zip(portion, lines, strict=True)), now)
            self._progress("pairs", start + len(portion), len(new))

    # -- Beteiligte -----------------------------------------------------------------------------------------------

    async def _beteiligte(self, report: Report, store: SyncStore | None) -> None:
        """Every linked Beteiligter, compared; with a store, what both sides agree on is remembered."""
        settings = self._resources.settings
        if not settings.espocrm.is_configured:
            return
        if not settings.advoware.is_configured:
            return
        reader = BeteiligteReader(self._resources)
        try:
            firm = await reader.firm()
        except BitByLawError as error:
            report.problems.append(f"EspoCRM: {failure_code(error)}")
            return
        counted, unknown = statuses(firm.beteiligte)
        linked, claimed = claims(firm.beteiligte)
        report.beteiligte += counted
        report.beteiligte["all"] = len(firm.beteiligte)
        report.beteiligte["with a betnr"] = len(linked)
        report.findings += unknown
        report.findings += claimed
        await self._take_all(report, reader, firm, linked, store)

    async def _take_all(
        self,
        report: Report,
        reader: BeteiligteReader,
        firm: Firm,
        linked: list[Record],
        store: SyncStore | None,
    ) -> None:
        waiting = iter(linked)
        done = 0

        async def work() -> None:
            nonlocal done
            for row in waiting:
                outcome = await reader.take(row, firm, store)
                _note(report, outcome, store is not None)
                done += 1
                self._progress("Beteiligte", done, len(linked))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as failed:  # one reason is enough to stop
            raise failed.exceptions[0] from None

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


_NO_GOOGLE = (
    "the old system has synced calendars, and Google Calendar is not configured: "
    "set GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH"
)
_DOUBLING = (
    "the old system has marked it, and it is no pair's: the first sync would enter it in Advoware once more; "
    "delete it in Google, or leave ADVOWARE_WRITE_PROTECTION=true until it is gone"
)


def _live_events(rows: Iterable[OldRow]) -> set[str]:
    """The ids of the events that rows name which are not deleted."""
    events: set[str] = set()
    for row in rows:
        if row.event_id and not row.deleted:
            events.add(row.event_id)
    return events


def _report_taken(report: Report, takens: Iterable[Taken]) -> None:
    for taken in takens:
        report.calendars[taken.kuerzel] = taken.numbers()
        report.announced += taken.announced
        report.findings += taken.findings


def _report_doubling(report: Report, takens: Iterable[Taken]) -> None:
    for taken in takens:
        for event_id in taken.doubling:
            where = f"{taken.kuerzel} event {event_id}"
            report.findings.append(Finding("would_double", where, _DOUBLING))


def _require_no_doubling(takens: Iterable[Taken]) -> None:
    number = sum(len(taken.doubling) for taken in takens)
    if number:
        raise InvalidInput(
            f"{number} events of the old system are no pair's: the first sync would enter them in Advoware once "
            "more. Nothing was changed. Either delete them in Google (takeover check names them as "
            "would_double), or set ADVOWARE_WRITE_PROTECTION=true until they are gone",
        )


def _require_fresh(stage: Stage) -> None:
    """Refuse a database that a sync works with: what it remembers must not be replaced.

    Raises:
        InvalidInput: says why.
    """
    if stage.has_synced:
        raise InvalidInput(
            "a sync has worked with this database already; nothing is taken over",
        )
    if stage.has_rows and not stage.has_begun:
        raise InvalidInput(
            "the tables of this database hold rows that no take-over has made; nothing is taken over",
        )


def _numbers(rows: Sequence[OldRow]) -> Counter[str]:
    numbers: Counter[str] = Counter()
    for row in rows:
        if row.deleted:
            numbers["deleted"] += 1
            continue
        strategy = row.strategy or "unknown"
        numbers["live"] += 1
        numbers[f"source {row.source}"] += 1
        numbers[f"strategy {strategy}"] += 1
        numbers["may write Advoware"] += row.write_allowed
        numbers["usable"] += row.is_usable
    return numbers


def _line(pair: Pair) -> AuditLine:
    reason = "both sides agree"
    if pair.sync_status != "synced":
        reason = "left to the first sync"
    return AuditLine(
        employee_kuerzel=pair.employee_kuerzel,
        side="none",
        action="taken_over",
        reason=reason,
        sync_id=pair.sync_id,
        advoware_frnr=pair.advoware_frnr,
        google_event_id=pair.google_event_id,
        after_hash=pair.google.content_hash,
    )


def _note(report: Report, outcome: Outcome, is_stored: bool) -> None:
    word = outcome.word
    if word == "taken over" and not is_stored:
        word = "can be taken over"
    report.beteiligte[word] += 1
    if outcome.difference is not None:
        report.beteiligte["with differences"] += 1
        report.differences.append(outcome.difference)
    report.findings += outcome.findings
    if outcome.problem is not None:
        report.problems.append(outcome.problem)
