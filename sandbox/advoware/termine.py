"""Termine of the Advoware twin: the firm's calendar.

The rules are those of the specification (05); what is assumed there or here carries the mark [A].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from typing import Any, Final

from sandbox.advoware.records import (
    Check,
    History,
    Record,
    RefusedError,
    RowIds,
    clock_time,
    differing,
    local_fractions,
    number,
    parse_moment,
    text,
)
from sandbox.firm.build import FOR_EVER, Appointment

#: What stands in `anwalt` if an entry belongs to all employees.
ALL_EMPLOYEES: Final = frozenset({"", "alle", "allgemein"})

DAY_START: Final = "00:00:00"
#: An all-day entry is stored to end one minute before midnight; likewise the longest occurrence of a series.
DAY_END: Final = "23:59:00"


def _day(value: Any, field: str) -> Any:
    moment = parse_moment(value, field)
    if moment:
        return moment.date().isoformat()
    return None


def _scalar(value: Any, field: str) -> Any:
    """Fields whose type is published nowhere [A]: text, number or null."""
    if isinstance(value, int | None):
        return value
    return text(50)(value, field)


_flag = number(0, 1)

#: Everything a caller may set; a PUT must carry every one of these. Limits are [A].
WRITABLE: Final[dict[str, Check]] = {
    "text": text(1024),
    "notiz": text(8192),
    "ort": text(1024),
    "datum": _day,
    "uhrzeitVon": clock_time,
    "uhrzeitBis": clock_time,
    "datumBis": _day,
    "anwalt": text(20),
    "sb": text(20),
    "privat": _flag,
    "abwesenheit": _flag,
    "dauertermin": _flag,
    "turnus": number(0, 999),
    "turnusArt": number(0, 4),
    "erinnerung": _scalar,
    "erinnerungsDatum": _scalar,
    "vorbereitungsDauer": _scalar,
    "fahrzeit": _scalar,
    "fahrtAnzeigen": _scalar,
}
_DEFAULTS: Final[dict[str, Any]] = {
    **dict.fromkeys(WRITABLE),
    "text": "",
    "notiz": "",
    "ort": "",
    "anwalt": "",
    "sb": "",
    "privat": 0,
    "abwesenheit": 0,
    "dauertermin": 0,
    "turnus": 0,
    "turnusArt": 0,
    "erinnerung": 0,
    "fahrtAnzeigen": 0,
}


class TermineStore:
    """All Termine. Answers are copies; every method raises `RefusedError` for what Advoware refuses."""

    def __init__(
        self,
        row_ids: RowIds,
        now: Callable[[], datetime],
        kuerzel: Iterable[str],
    ) -> None:
        self._row_ids = row_ids
        self._now = now
        self._kuerzel = frozenset(kuerzel)
        self._records: dict[int, Record] = {}
        self._history = History()
        self._next_fr_nr = 20001

    # -- what the API allows ------------------------------------------------------------------------------------

    def all(self) -> list[Record]:
        """Every Termin."""
        answers = []
        for record in self._records.values():
            answers.append(_answer(record))
        return answers

    def admit(self, kuerzel: Iterable[str]) -> None:
        """Let Termine belong to these employees as well."""
        self._kuerzel |= frozenset(kuerzel)

    def find(self, query: Mapping[str, str]) -> list[Record]:
        """Termine by ``frnr``, or by ``kuerzel``, ``from`` and ``to``, each optional; other parameters are ignored.

        ``frNr`` is such another one. A Kürzel also gets what belongs to all, unless no employee has that Kürzel [A].
        An entry lies in the window if any of its days, or of its series' days, does [A].
        """
        if "frnr" in query:
            return self._find_by_number(query["frnr"])
        kuerzel = query.get("kuerzel")
        if kuerzel is not None and kuerzel not in self._kuerzel:
            return []
        first = _day(query.get("from"), "from")
        last = _day(query.get("to"), "to")
        found = []
        for record in self._records.values():
            if _concerns(record, kuerzel) and _lies_within(record, first, last):
                found.append(_answer(record))
        return found

    def _find_by_number(self, number: str) -> list[Record]:
        record = self._records.get(_fr_nr(number))
        if record:
            return [_answer(record)]
        return []

    def peek(self, fr_nr: object) -> Record | None:
        """A copy of what is stored of a Termin; None for an unknown number."""
        record = None
        if isinstance(fr_nr, int):
            record = self._records.get(fr_nr)
        if record is None:
            return None
        return dict(record)

    def create(self, body: Record, fr_nr: int | None = None) -> Record:
        """Add a Termin. A negative ``fr_nr`` makes a derived entry, which only Advoware itself creates."""
        if fr_nr is not None and fr_nr >= 0:
            raise RefusedError(
                400,
                "Nur abgeleitete Termine haben eine Nummer, bevor sie angelegt sind.",
            )
        values = self._checked({**_DEFAULTS, **body})
        if fr_nr is None:
            fr_nr = self._next_fr_nr
        self._remember(fr_nr)
        return _answer(self._insert(fr_nr, values, self._now()))

    def replace(self, fr_nr: int, body: Record) -> Record:
        """Full-object update: every writable attribute must be there; read-only ones are ignored."""
        self._record(fr_nr)
        missing = []
        for field in WRITABLE:
            if field not in body:
                missing.append(field)
        if missing:
            raise RefusedError(
                400,
                f"Das Objekt ist unvollständig. Es fehlen: {', '.join(missing)}.",
            )
        return self.edit(fr_nr, body)

    def edit(self, fr_nr: int, changes: Record) -> Record:
        """Change some attributes, as a person would in the desktop program; others than writable ones are ignored."""
        record = self._record(fr_nr)
        values = self._checked({**record, **changes})
        if changed := differing(record, values):
            self._remember(fr_nr)
            record.update(
                changed,
                rowId=self._row_ids.next(),
                zuletztGeaendertAm=local_fractions(self._now()),
            )
        return _answer(record)

    def leave_behind(self, values: Record) -> Record:
        """A Termin as an import or an older version of the program has left it, which nothing has checked."""
        base = {**_DEFAULTS, "datumBis": values.get("datum"), **values}
        fr_nr = self._next_fr_nr
        self._remember(fr_nr)
        termin = self._insert(fr_nr, base, self._now())
        return _answer(termin)

    def remove(self, fr_nr: int) -> None:
        """Delete a Termin."""
        self._record(fr_nr)
        self._remember(fr_nr)
        del self._records[fr_nr]

    def go_back(self, moment: datetime) -> int:
        """Put back a backup of that time: what was written since is gone, and its numbers are given out again."""
        undone = 0
        for before in self._history.take_back(moment):
            undone += 1
            self._next_fr_nr = before.counters
            if before.record is None:
                self._records.pop(before.key, None)
            else:
                self._records[before.key] = before.record
        return undone

    # -- sample data --------------------------------------------------------------------------------------------

    def load(self, appointments: Iterable[Appointment]) -> None:
        """Take over the sample appointments."""
        for entry in appointments:
            begin: str | None = DAY_START
            end: str | None = DAY_END
            if not entry.all_day:
                begin = _seconds(entry.start)
                end = _seconds(entry.end)
            turnus = 0
            turnus_art = 0
            if entry.series:
                turnus = entry.series.turnus
                turnus_art = entry.series.turnus_art
            values = {
                **_DEFAULTS,
                "text": entry.text,
                "notiz": entry.notiz,
                "ort": entry.ort,
                "datum": entry.day.isoformat(),
                "uhrzeitVon": begin,
                "uhrzeitBis": end,
                "datumBis": entry.last_day.isoformat(),
                "anwalt": entry.anwalt,
                "sb": entry.sb,
                "privat": int(entry.privat),
                "abwesenheit": int(entry.all_day),
                "dauertermin": int(entry.series is not None),
                "turnus": turnus,
                "turnusArt": turnus_art,
            }
            self._insert(entry.fr_nr, values, entry.changed_at)

    # -- inner works --------------------------------------------------------------------------------------------

    def _remember(self, fr_nr: int) -> None:
        self._history.remember(
            self._now(),
            fr_nr,
            self._records.get(fr_nr),
            self._next_fr_nr,
        )

    def _record(self, fr_nr: int) -> Record:
        if fr_nr not in self._records:
            raise RefusedError(404, "")
        if fr_nr < 0:
            raise RefusedError(
                403,
                "Abgeleitete Termine können nicht geändert oder gelöscht werden.",
            )
        return self._records[fr_nr]

    def _insert(self, fr_nr: int, values: Record, changed: datetime) -> Record:
        record = {
            "frNr": fr_nr,
            "rowId": self._row_ids.next(),
            **values,
            "zuletztGeaendertAm": local_fractions(changed),
        }
        self._records[fr_nr] = record
        self._next_fr_nr = max(self._next_fr_nr, fr_nr + 1)
        return record

    def _checked(self, body: Record) -> Record:
        values = {}
        for field, check in WRITABLE.items():
            values[field] = check(body[field], field)
        if values["datum"] is None:
            raise RefusedError(400, "Das Feld 'datum' ist ein Pflichtfeld.")
        _set_times(values, body)
        self._check_employee(values["anwalt"], "anwalt")
        self._check_employee(values["sb"], "sb")
        if values["dauertermin"]:
            _check_series(values)
        if not values["datumBis"]:
            values["datumBis"] = values["datum"]
        if values["datumBis"] < values["datum"]:
            raise RefusedError(400, "Das Enddatum liegt vor dem Anfangsdatum.")
        return values

    def _check_employee(self, kuerzel: str | None, field: str) -> None:
        if _means_all_employees(kuerzel) or kuerzel in self._kuerzel:
            return
        raise RefusedError(400, f"Das Kürzel im Feld '{field}' ist nicht bekannt.")


def _set_times(values: Record, body: Record) -> None:
    """Take the times from the dates where they stand there; an absence lasts all day."""
    if values["abwesenheit"]:
        values["uhrzeitVon"] = DAY_START
        values["uhrzeitBis"] = DAY_END
        return
    start = _time_within(body["datum"])
    if start:
        values["uhrzeitVon"] = start
    if not values["uhrzeitBis"]:
        values["uhrzeitBis"] = _time_within(body["datumBis"])


def _check_series(values: Record) -> None:
    if values["turnusArt"] < 1 or values["turnus"] < 1:
        raise RefusedError(
            400,
            "Ein Dauertermin braucht einen Turnus ab 1 und eine Turnusart von 1 bis 4.",
        )
    if values["datumBis"] is None:
        raise RefusedError(400, "Ein Dauertermin braucht ein Enddatum.")
    if date.fromisoformat(values["datumBis"]) > FOR_EVER:
        raise RefusedError(
            400,
            f"Ein Dauertermin endet spätestens am {FOR_EVER:%d.%m.%Y}.",
        )
    start = values["uhrzeitVon"]
    end = values["uhrzeitBis"]
    # One occurrence stays within its day, so an end before the start would mean one that runs past midnight.
    if end is not None and (end > DAY_END or (start is not None and end < start)):
        raise RefusedError(
            400,
            "Ein einzelner Termin eines Dauertermins darf höchstens 23:59 Stunden dauern.",
        )


def _concerns(record: Record, kuerzel: str | None) -> bool:
    if kuerzel is None:
        return True
    if record["anwalt"] == kuerzel:
        return True
    return _is_for_all_employees(record)


def _lies_within(record: Record, first: str | None, last: str | None) -> bool:
    """Whether one of its days lies in the window; None is an open end."""
    start = record["datum"]
    if last and start and start > last:
        return False
    end = record["datumBis"]
    return not (first and end and end < first)


def _answer(record: Record) -> Record:
    """As sent over the wire: entries with an odd number carry the times within ``datum`` and ``datumBis`` as well.

    The real system does both; which entry does which is not known [A].
    """
    answer = dict(record)
    has_even_number = record["frNr"] % 2 == 0
    if has_even_number:
        return answer
    for day, clock in (("datum", "uhrzeitVon"), ("datumBis", "uhrzeitBis")):
        if record[clock] is not None:
            answer[day] = f"{record[day]}T{record[clock]}"
    return answer


def _time_within(value: Any) -> str | None:
    """The time of a date-time, unless it is midnight, which is how a date alone is written as well."""
    moment = parse_moment(value, "datum")
    if moment and moment.time() != time.min:
        return _seconds(moment.time())
    return None


def _is_for_all_employees(record: Record) -> bool:
    return _means_all_employees(record["anwalt"])


def _means_all_employees(anwalt: str | None) -> bool:
    if anwalt is None:
        return "" in ALL_EMPLOYEES
    return anwalt.casefold() in ALL_EMPLOYEES


def _seconds(clock: time | None) -> str | None:
    if clock:
        return clock.isoformat(timespec="seconds")
    return None


def _fr_nr(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise RefusedError(
            400,
            "Der Parameter 'frnr' muss eine ganze Zahl sein.",
        ) from None
