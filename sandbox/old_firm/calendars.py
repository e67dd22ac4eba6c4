"""Appointments as the old system leaves them: Termine, events with random ids, and the rows that join them."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sandbox.old_firm.generations import Generation

Json = dict[str, Any]

ZONE: Final = "Europe/Berlin"
_ID_LETTERS: Final = "0123456789abcdefghijklmnopqrstuv"
#: What may be wrong with an appointment.
FAULTS: Final = (
    "event_deleted",
    "termin_deleted",
    "event_doubled",
    "row_missing",
    "event_changed",
    "row_doubled",
    "event_elsewhere",
    "row_deleted",
    "strategy_unknown",
    "frnr_unreadable",
    "born_in_google",
    "termin_private",
)


@dataclass
class OldCalendars:
    """What has to be entered where. ``number`` joins a Termin with its events and rows until Advoware numbers it.

    Attributes:
        termine: number and Advoware's record; those in ``deleted_termine`` are deleted again.
        events: the employee in whose calendar it lies, the number (None: none of Advoware's), and Google's record.
        rows: with the number for ``advoware_frnr``, as Python's own types.
        faults: how many of each kind there are.
    """

    termine: list[tuple[int, Json]] = field(default_factory=list)
    deleted_termine: list[int] = field(default_factory=list)
    events: list[tuple[str, int | None, Json]] = field(default_factory=list)
    rows: list[Json] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)


def make_old_calendars(
    seed: int,
    today: date,
    kuerzel: Sequence[str],
    number: int,
    generation: Generation,
    *,
    fault_every: int,
) -> OldCalendars:
    """So many appointments, around ``today``, of these employees in turn: the same for the same arguments.

    One in ``fault_every`` has one of `FAULTS`, in turn; 0: none has.
    """
    maker = _Maker(seed, today, kuerzel, generation)
    for index in range(number):
        maker.add(index, _fault_of(index, fault_every))
    return maker.made


def _fault_of(index: int, every: int) -> str:
    if not every:
        return ""
    turn, rest = divmod(index, every)
    if rest != every - 1:
        return ""
    return FAULTS[turn % len(FAULTS)]


class _Maker:
    def __init__(
        self,
        seed: int,
        today: date,
        kuerzel: Sequence[str],
        generation: Generation,
    ) -> None:
        self.made = OldCalendars()
        self._dice = random.Random(f"old calendars {seed}")  # noqa: S311 - seeded
        self._today = today
        self._kuerzel = list(kuerzel)
        self._generation = generation

    def add(self, index: int, fault: str) -> None:
        """One appointment, with one fault or none."""
        made = self.made
        owner = self._kuerzel_at(index)
        record = self._record(index, owner)
        event = self._event(record)
        made.faults[fault or "none"] += 1
        if fault == "born_in_google":
            row = self._row(owner, None, event, source="google")
            made.events.append((owner, None, event))
            made.rows.append(row)
            return
        made.termine.append((index, record))
        if fault == "termin_deleted":
            made.deleted_termine.append(index)
        if fault == "termin_private":
            record["privat"] = 1
        home = owner
        if fault == "event_elsewhere":
            home = self._kuerzel_at(index + 1)
        for each in self._events(event, fault):
            made.events.append((home, index, each))
        made.rows += self._rows(owner, index, event, fault)

    def _kuerzel_at(self, index: int) -> str:
        """The employees in turn."""
        return self._kuerzel[index % len(self._kuerzel)]

    def _events(self, event: Json, fault: str) -> Iterator[Json]:
        if fault in {"event_deleted", "row_deleted"}:
            return
        if fault == "event_changed":
            yield {**event, "summary": f"{event['summary']} (verlegt)"}
            return
        yield event
        if fault == "event_doubled" and self._generation.mark:
            yield {**event, "id": self._id()}

    def _rows(self, owner: str, index: int, event: Json, fault: str) -> Iterator[Json]:
        row = self._row(owner, index, event)
        if fault == "row_missing":
            return
        if fault == "row_deleted":
            row["deleted"] = True
        if fault == "strategy_unknown":
            row["sync_strategy"] = "newest_wins"
        if fault == "frnr_unreadable":
            row["advoware_frnr"] = None
            row["sync_status"] = "failed"
        yield row
        if fault == "row_doubled":
            older = row["last_sync"] - timedelta(days=3)
            yield {**row, "sync_id": self._uuid(), "last_sync": older}

    def _row(
        self,
        owner: str,
        index: int | None,
        event: Json,
        source: str = "advoware",
    ) -> Json:
        synced = datetime.combine(self._today, time(3), tzinfo=UTC)
        strategy = "source_system_wins"
        if source == "google" or self._dice.random() < 0.2:
            strategy = "last_change_wins"
        status = "pending"
        if source == "advoware":
            status = "synced"
        return {
            "sync_id": self._uuid(),
            "employee_kuerzel": owner,
            "advoware_frnr": index,
            "google_event_id": event["id"],
            "source_system": source,
            "sync_strategy": strategy,
            "sync_status": status,
            "last_sync": synced - timedelta(days=self._dice.randint(1, 30)),
            "advoware_write_allowed": self._dice.random() < 0.5,
            "deleted": False,
        }

    def _record(self, index: int, owner: str) -> Json:
        day = self._today + timedelta(days=self._dice.randint(-5, 400))
        start = self._dice.randint(8, 16)
        return {
            "datum": day.isoformat(),
            "uhrzeitVon": f"{start:02}:00:00",
            "uhrzeitBis": f"{start + 1:02}:00:00",
            "datumBis": day.isoformat(),
            "text": f"Besprechung {index}",
            "notiz": f"Akte {index}",
            "ort": self._dice.choice(("Hannover", "Saal 3", "Kanzlei")),
            "anwalt": owner,
        }

    def _event(self, record: Json) -> Json:
        day = record["datum"]
        return {
            "id": self._id(),
            "summary": record["text"],
            "description": record["notiz"],
            "location": record["ort"],
            "start": {"dateTime": f"{day}T{record['uhrzeitVon']}", "timeZone": ZONE},
            "end": {"dateTime": f"{day}T{record['uhrzeitBis']}", "timeZone": ZONE},
        }

    def _id(self) -> str:
        letters = self._dice.choices(_ID_LETTERS, k=26)
        return "".join(letters)

    def _uuid(self) -> uuid.UUID:
        number = self._dice.getrandbits(128)
        return uuid.UUID(int=number, version=4)
