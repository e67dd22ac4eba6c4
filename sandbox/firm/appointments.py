"""Appointments of the sample firm: what a calendar sync meets in real life, spread around the given day."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Final, Literal

from sandbox.firm.model import FOR_EVER, Appointment, Series

APPOINTMENT_COUNT: Final = 400
DAYS_BACK: Final = 7
DAYS_AHEAD: Final = 730
FIRST_FR_NR: Final = 20001
FIRST_DERIVED_FR_NR: Final = -501

#: Clock changes that always have entries, wherever the given day lies.
_FIXED_CLOCK_CHANGES: Final = (date(2026, 3, 29), date(2026, 10, 25), date(2027, 3, 28))

_TEXTS: Final = (
    "Besprechung {name}",
    "Gütetermin {name} ./. Leinetal Versicherungs-AG",
    "Verhandlung {name} ./. Land",
    "Telefonat {name} wg. Kündigung",
    "Erstberatung {name}",
    "Frist: Berufungsbegründung {name}",
    "Ortstermin Baumängel {name}",
    "Notartermin Grundstückskauf",
    "Mandantengespräch (Vergleichsvorschlag)",
)
_NAMES: Final = (
    "Müller",
    "O'Brien",
    "Schäfer-Öztürk",
    "Groß",
    "Übelacker",
    "Yıldız",
    "Früh & Söhne",
    "Häusler’sches Erbe",
)
_NOTES: Final = (
    "",
    "",
    "Akte mitnehmen",
    "Mandant bringt Unterlagen mit:\n- Vertrag\n- Schriftwechsel",
    "Rückruf vorher; 5 % Nachlass zugesagt",
)
_PLACES: Final = (
    "",
    "",
    "Besprechungsraum 1",
    "Amtsgericht Hannover, Saal 2114",
    "Landgericht Göttingen",
    "Zoom",
    "Bürgerbüro Süd",
)

_WEEKLY_MEETING: Final = Appointment(
    fr_nr=0,
    text="Anwaltsrunde",
    notiz="",
    ort="Bibliothek",
    day=date.min,
    start=time(8, 30),
    end=time(9, 15),
    last_day=FOR_EVER,
    anwalt="ALLE",
    sb="",
    privat=False,
    all_day=False,
    series=Series(2, 1),
    changed_at=datetime.min.replace(tzinfo=UTC),
)


def make_appointments(
    seed: int,
    today: date,
    kuerzel: Sequence[str],
) -> tuple[Appointment, ...]:
    """Four hundred appointments of these employees, of which a few are derived (negative ``fr_nr``)."""
    maker = _AppointmentMaker(seed, today, kuerzel)
    special = [
        *maker.on_clock_changes(),
        *maker.series(),
        *maker.for_all_employees(),
        *maker.all_day(),
        *maker.odd_ones(),
    ]
    derived = list(maker.derived())
    number_of_ordinary = APPOINTMENT_COUNT - len(special) - len(derived)
    ordinary = islice(maker.ordinary(), number_of_ordinary)
    numbered = []
    for number, entry in enumerate((*special, *ordinary)):
        numbered.append(replace(entry, fr_nr=FIRST_FR_NR + number))
    for number, entry in enumerate(derived):
        numbered.append(replace(entry, fr_nr=FIRST_DERIVED_FR_NR - number))
    return tuple(numbered)


def clock_changes(first: date, last: date) -> list[date]:
    """The days from first to last on which Central Europe changes its clocks: the last Sundays of March and October."""
    days = []
    for year in range(first.year, last.year + 1):
        for month in (3, 10):
            end_of_month = date(year, month, 31)
            days_after_sunday = end_of_month.isoweekday() % 7
            day = end_of_month - timedelta(days=days_after_sunday)
            if first <= day <= last:
                days.append(day)
    return days


TurnusArt = Literal[1, 2, 3, 4]
#: Days from the first to about the last appointment of a series, by its kind.
_SERIES_DAYS = {1: 20, 2: 180, 3: 500, 4: 1200}


class _AppointmentMaker:
    def __init__(self, seed: int, today: date, kuerzel: Sequence[str]) -> None:
        self.dice = random.Random(f"appointments:{seed}")  # noqa: S311 - seeded
        self.first = today - timedelta(days=DAYS_BACK)
        self.last = today + timedelta(days=DAYS_AHEAD)
        self.today = today
        self.kuerzel = list(kuerzel)

    def ordinary(self) -> Iterator[Appointment]:
        """Without end: single appointments within working hours, more in the coming weeks than later on."""
        dice = self.dice
        while True:
            offset = dice.triangular(-DAYS_BACK, DAYS_AHEAD - 7, 14)
            day = self._working_day(round(offset))
            hour = dice.randint(8, 16)
            minute = dice.choice((0, 15, 30, 45))
            start = time(hour, minute)
            length = dice.choice((15, 30, 45, 60, 90, 120))
            yield self._appointment(day, start, _later(start, length))

    def on_clock_changes(self) -> Iterator[Appointment]:
        """In, before and after the hour that does not exist, or exists twice."""
        days = sorted({*_FIXED_CLOCK_CHANGES, *clock_changes(self.first, self.last)})
        for day in days:
            yield self._appointment(
                day,
                time(1, 30),
                time(3, 30),
                text="Nachtschicht Serverumzug",
            )
            yield self._appointment(
                day,
                time(2, 30),
                time(2, 45),
                text="Wartungsfenster Telefonanlage",
            )
            yield self._appointment(day, time(10), time(11), text="Sonntagsbesprechung")

    def series(self) -> Iterator[Appointment]:
        """Each kind of repetition, with and without an end; some start so that the clocks change in between."""
        kinds: tuple[TurnusArt, ...] = (1, 2, 3, 4)
        for number in range(24):
            yield self._series(number, kinds[number % 4])
        yield self._yearly_day()

    def _series(self, number: int, turnus_art: TurnusArt) -> Appointment:
        day = self._working_day(self.dice.randint(-DAYS_BACK, 120))
        if turnus_art == 3 and number == 6:
            day = _next_31st(day)
        last_day = FOR_EVER
        if number % 8 != 5:
            length = timedelta(days=_SERIES_DAYS[turnus_art])
            last_day = day + length
        hour = self.dice.randint(8, 15)
        start = time(hour, 0)
        first = self._appointment(
            day,
            start,
            _later(start, 45),
            text=f"{_series_name(turnus_art)} {number + 1}",
        )
        turnus = 1 + number // 4 % 3
        return replace(first, series=Series(turnus_art, turnus), last_day=last_day)

    def _yearly_day(self) -> Appointment:
        day = self._working_day(20)
        first = self._appointment(day, None, None, text="Geburtstag Kanzlei")
        return replace(first, series=Series(4, 1), last_day=FOR_EVER, all_day=True)

    def for_all_employees(self) -> Iterator[Appointment]:
        """Entries that belong to the calendars of all employees, in the three spellings."""
        monday = self._working_day(1)
        yield replace(_WEEKLY_MEETING, day=monday, changed_at=self._changed_at())
        for number, anwalt in enumerate(("", "ALLE", "Allgemein", "ALLE", "")):
            day = self._working_day(10 + 55 * number)
            meeting = self._appointment(
                day,
                time(12),
                time(13),
                text="Kanzleiversammlung",
            )
            yield replace(meeting, anwalt=anwalt, sb="")
        day = self._working_day(140)
        closed = self._appointment(day, None, None, text="Betriebsausflug nach Münden")
        yield replace(closed, anwalt="ALLE", sb="", all_day=True)

    def all_day(self) -> Iterator[Appointment]:
        """Absences of one and of several days, some of them private."""
        for number, kuerzel in enumerate(self.kuerzel * 3):
            day = self._working_day(self.dice.randint(-DAYS_BACK, 600))
            text, days = (
                ("Urlaub", self.dice.randint(4, 20)),
                ("Fortbildung", 1),
                ("Arzttermin", 0),
            )[number % 3]
            entry = self._appointment(day, None, None, text=text)
            yield replace(
                entry,
                all_day=True,
                anwalt=kuerzel,
                sb=kuerzel,
                last_day=day + timedelta(days=days),
                privat=number % 3 == 2,
            )

    def odd_ones(self) -> Iterator[Appointment]:
        """Several days with times, no times at all, no end, an end before the start, midnight, a very long text."""
        congress = self._appointment(
            self._working_day(60),
            time(14),
            time(12),
            text="Anwaltstag (drei Tage)",
        )
        yield replace(congress, last_day=congress.day + timedelta(days=2))
        overnight = self._appointment(
            self._working_day(33),
            time(22),
            time(6),
            text="Nachtdurchsuchung, Bereitschaft",
        )
        yield replace(overnight, last_day=overnight.day + timedelta(days=1))
        yield self._appointment(
            self._working_day(3),
            None,
            None,
            text="Wiedervorlage ohne Uhrzeit",
        )
        yield self._appointment(
            self._working_day(4),
            time(11),
            None,
            text="Rückruf ohne Ende",
        )
        yield self._appointment(
            self._working_day(5),
            time(11),
            time(10),
            text="Ende vor dem Anfang",
        )
        yield self._appointment(
            self._working_day(6),
            time(0),
            time(0, 30),
            text="Fristablauf Mitternacht",
        )
        yield self._appointment(self._working_day(8), time(9), time(10), text="Ä" * 200)
        yield self._appointment(self._working_day(9), time(9), time(10), text="")

    def derived(self) -> Iterator[Appointment]:
        """What Advoware computes itself: journeys to appointments and public holidays."""
        for offset in (2, 9, 40):
            day = self._working_day(offset)
            journey = self._appointment(
                day,
                time(7, 15),
                time(8, 45),
                text="Fahrt zum Landgericht Göttingen",
            )
            yield replace(journey, notiz="", ort="")
        for year in range(self.first.year, self.last.year + 1):
            day = date(year, 12, 25)
            if self.first <= day <= self.last:
                holiday = self._appointment(day, None, None, text="1. Weihnachtstag")
                yield replace(
                    holiday,
                    notiz="",
                    ort="",
                    anwalt="ALLE",
                    sb="",
                    all_day=True,
                    privat=False,
                )

    def _appointment(
        self,
        day: date,
        start: time | None,
        end: time | None,
        text: str | None = None,
    ) -> Appointment:
        anwalt = self.dice.choice(self.kuerzel)
        if text is None:
            form = self.dice.choice(_TEXTS)
            text = form.format(name=self.dice.choice(_NAMES))
        return Appointment(
            fr_nr=0,
            text=text,
            notiz=self.dice.choice(_NOTES),
            ort=self.dice.choice(_PLACES),
            day=day,
            start=start,
            end=end,
            last_day=day,
            anwalt=anwalt,
            sb=self.dice.choice((anwalt, self.dice.choice(self.kuerzel))),
            privat=self.dice.random() < 0.06,
            all_day=False,
            series=None,
            changed_at=self._changed_at(),
        )

    def _working_day(self, offset: int) -> date:
        """The first working day at or after this many days from the given day."""
        day = self.today + timedelta(days=offset)
        weekday = day.isoweekday()
        if weekday <= 5:
            return day
        return day + timedelta(days=8 - weekday)

    def _changed_at(self) -> datetime:
        days = self.dice.randint(1, 200)
        milliseconds = self.dice.randrange(86_400_000)
        midnight = datetime.combine(self.today, time(0), UTC)
        return midnight - timedelta(days=days, milliseconds=milliseconds)


def _later(start: time, minutes: int) -> time:
    moment = datetime.combine(date.min, start)
    later = moment + timedelta(minutes=minutes)
    return later.time()


def _series_name(turnus_art: int) -> str:
    return {
        1: "Fristenkontrolle",
        2: "Jour fixe",
        3: "Abrechnung",
        4: "Jahresgespräch",
    }[turnus_art]


def _next_31st(day: date) -> date:
    """The next 31st at or after this day: months without one are skipped by a monthly series."""
    while day.day != 31:
        day += timedelta(days=1)
    return day
