"""What all records of the Advoware twin share: refusals in German, row ids, local times, and checks of values.

Marked [A]: assumed, because the vendor publishes no such detail.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

BERLIN: Final = ZoneInfo("Europe/Berlin")

Record = dict[str, Any]
#: Takes a value and the field's name; returns the value to store or raises `RefusedError`.
Check = Callable[[Any, str], Any]

_LETTERS: Final = str.maketrans("0123456789abcdef", "ABCDEFGHIJKLMNOP")


class RefusedError(Exception):
    """The request is refused: an HTTP status and a German text; an empty text means an empty body."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def refuse_missing(missing: list[str]) -> None:
    """Refuse a body in which required fields are empty."""
    if missing:
        raise RefusedError(400, f"Pflichtangaben fehlen: {', '.join(missing)}.")


class RowIds:
    """Hands out row ids: 40 characters A to P, never the same twice."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def next(self) -> str:
        """A row id that no record has had before."""
        self._count += 1
        return (
            hashlib.sha256(f"{self._seed}:{self._count}".encode())
            .hexdigest()[:40]
            .translate(_LETTERS)
        )


@dataclass(frozen=True)
class Before:
    """What a write found."""

    at: datetime
    key: int
    record: Record | None  #: None: there was none
    counters: Any  #: the numbers to be given out next


class History:
    """What every write found, so that a backup can be put back: the state, and the numbers that are given out next."""

    def __init__(self) -> None:
        self._writes: list[Before] = []

    def remember(
        self,
        at: datetime,
        key: int,
        record: Record | None,
        counters: Any,
    ) -> None:
        """Keep what a write is about to change."""
        before = Before(
            at=at,
            key=key,
            record=copy.deepcopy(record),
            counters=copy.copy(counters),
        )
        self._writes.append(before)

    def take_back(self, moment: datetime) -> Iterator[Before]:
        """What the writes after a moment found, the last one first; they are forgotten."""
        while self._writes and self._writes[-1].at > moment:
            yield self._writes.pop()


def local_seconds(moment: datetime) -> str:
    """The firm's wall-clock time without zone, in whole seconds: ``2026-02-10T09:00:00``."""
    local = moment.astimezone(BERLIN).replace(tzinfo=None)
    return local.isoformat(timespec="seconds")


def local_fractions(moment: datetime) -> str:
    """The firm's wall-clock time without zone, with milliseconds: ``2026-02-10T09:00:00.123``."""
    return (
        moment.astimezone(BERLIN)
        .replace(tzinfo=None)
        .isoformat(timespec="milliseconds")
    )


def differing(record: Record, values: Mapping[str, Any]) -> Record:
    """Those of the values that the record does not hold yet; null and an empty text count as equal."""
    different = {}
    for key, value in values.items():
        if _comparable(record.get(key)) != _comparable(value):
            different[key] = value
    return different


def _comparable(value: Any) -> Any:
    if value == "":
        return None
    return value


# -- checks -------------------------------------------------------------------------------------------------------


def text(limit: int) -> Check:
    """Text of at most so many characters, or null. The limits are [A]."""

    def check(value: Any, field: str) -> Any:
        if value is not None and not isinstance(value, str):
            raise RefusedError(400, f"Das Feld '{field}' muss ein Text sein.")
        if value is not None and len(value) > limit:
            raise RefusedError(
                400,
                f"Das Feld '{field}' darf höchstens {limit} Zeichen lang sein.",
            )
        return value

    return check


def number(lowest: int, highest: int) -> Check:
    """A whole number in this range."""

    def check(value: Any, field: str) -> Any:
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not lowest <= value <= highest
        ):
            raise RefusedError(
                400,
                f"Das Feld '{field}' muss eine ganze Zahl von {lowest} bis {highest} sein.",
            )
        return value

    return check


def boolean(value: Any, field: str) -> Any:
    """True or false."""
    if not isinstance(value, bool):
        raise RefusedError(400, f"Das Feld '{field}' muss true oder false sein.")
    return value


def day_at_midnight(value: Any, field: str) -> Any:
    """A date or date-time, or null; stored as ``YYYY-MM-DDT00:00:00``."""
    moment = parse_moment(value, field)
    if moment is None:
        return None
    return f"{moment.date().isoformat()}T00:00:00"


def clock_time(value: Any, field: str) -> Any:
    """``HH:MM:SS`` or null."""
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not re.fullmatch(
        r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d",
        value,
    ):
        raise RefusedError(
            400,
            f"Das Feld '{field}' muss eine Uhrzeit im Format HH:MM:SS sein.",
        )
    return value


def parse_moment(value: Any, field: str) -> datetime | None:
    """A date, or a date-time with or without fractions or zone, as naive local time; null stays null."""
    if value in (None, ""):
        return None
    try:
        if not isinstance(value, str):
            raise TypeError
        if len(value) == len("2026-02-10"):
            return datetime.combine(date.fromisoformat(value), datetime.min.time())
        moment = datetime.fromisoformat(value)
        if moment.tzinfo:
            return moment.astimezone(BERLIN).replace(tzinfo=None)
        return moment
    except (OverflowError, TypeError, ValueError):
        raise RefusedError(
            400,
            f"Das Feld '{field}' enthält kein gültiges Datum.",
        ) from None
