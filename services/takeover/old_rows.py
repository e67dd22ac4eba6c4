"""Reads the rows of the old system's table ``calendar_sync``, whatever types its columns have. Pure.

What a row does not say in a way that can be understood is replaced by what writes least, and named in ``odd``. A row
that names no employee, or neither Termin nor event, cannot become a pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import NAMESPACE_OID, UUID, uuid5

from services.calendar_sync.model import SourceSystem, SyncStrategy

#: Larger numbers are none of Advoware's.
LARGEST_FRNR = 2**31 - 1
_TRUE = frozenset({"true", "t", "yes", "y", "1", "on", "ja"})
_SOURCES = ("advoware", "google")
_STRATEGIES = ("source_system_wins", "last_change_wins")


@dataclass(frozen=True)
class OldRow:
    """One row of the old table.

    Attributes:
        sync_id: the row's own if it is a UUID, else one that is made of what the row says: the same each time.
        strategy: None: unknown, that of new pairs is taken.
        last_sync: aware; what has no zone is read as UTC.
        odd: what could not be understood, in words.
    """

    sync_id: UUID
    kuerzel: str
    fr_nr: int | None
    event_id: str | None
    source: SourceSystem
    strategy: SyncStrategy | None
    write_allowed: bool
    deleted: bool
    last_sync: datetime | None
    odd: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How a report names it."""
        fr_nr = self.fr_nr or "-"
        event_id = self.event_id or "-"
        return f"{self.kuerzel} frNr {fr_nr} event {event_id}"

    @property
    def is_usable(self) -> bool:
        """Whether it can become a pair."""
        names_something = self.fr_nr is not None or self.event_id is not None
        return bool(self.kuerzel) and names_something


def read_row(row: Mapping[str, Any]) -> OldRow:
    """A row as it was read from PostgreSQL; columns that are not there count as empty."""
    odd: list[str] = []
    kuerzel = _text(row.get("employee_kuerzel"))
    event_id = _text(row.get("google_event_id")) or None
    fr_nr = _fr_nr(row.get("advoware_frnr"), odd)
    if not kuerzel:
        odd.append("names no employee")
    elif fr_nr is None and event_id is None:
        odd.append("names neither a Termin nor an event")
    source = _source(row, fr_nr, odd)
    return OldRow(
        sync_id=_sync_id(row.get("sync_id"), kuerzel, fr_nr, event_id),
        kuerzel=kuerzel,
        fr_nr=fr_nr,
        event_id=event_id,
        source=source,
        strategy=_strategy(row.get("sync_strategy"), odd),
        write_allowed=_flag(row.get("advoware_write_allowed")),
        deleted=_flag(row.get("deleted")),
        last_sync=_moment(row.get("last_sync")),
        odd=tuple(odd),
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).strip()


def _fr_nr(value: Any, odd: list[str]) -> int | None:
    text = _text(value)
    if not text:
        return None
    try:
        number = int(text.removesuffix(".0"))
    except ValueError:
        odd.append("its frNr is no number")
        return None
    if 0 < number <= LARGEST_FRNR:
        return number
    odd.append("its frNr is none of a Termin that can be synced")
    return None


def _source(row: Mapping[str, Any], fr_nr: int | None, odd: list[str]) -> SourceSystem:
    text = _text(row.get("source_system")).casefold()
    if text in _SOURCES:
        return cast(SourceSystem, text)
    if "source_system" in row:
        odd.append("its source is unknown; Advoware counts as the source")
    if fr_nr is None:
        return "google"
    return "advoware"


def _strategy(value: Any, odd: list[str]) -> SyncStrategy | None:
    text = _text(value).casefold()
    if text in _STRATEGIES:
        return cast(SyncStrategy, text)
    if text:
        odd.append("its strategy is unknown; that of new pairs is taken")
    return None


def _flag(value: Any) -> bool:
    """A boolean, be it a number or a text; what is unknown is no permission."""
    return _text(value).casefold() in _TRUE


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _sync_id(value: Any, kuerzel: str, fr_nr: int | None, event_id: str | None) -> UUID:
    try:
        return UUID(_text(value))
    except ValueError:
        return made_up_id(kuerzel, fr_nr, event_id)


def made_up_id(kuerzel: str, fr_nr: int | None, event_id: str | None) -> UUID:
    """The ``sync_id`` of a pair that has none: the same each time for the same pair."""
    return uuid5(NAMESPACE_OID, f"takeover {kuerzel} {fr_nr} {event_id}")
