"""Scenarios of the calendar sync as plain values: what people do, what goes wrong, and when the sync runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

# -- steps ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class When:
    """When an appointment takes place: days from the scenario's present, a clock time, a length, perhaps a series."""

    days: int
    clock: str = "10:00"
    minutes: int = 45
    all_day: bool = False
    series: Literal["", "daily", "weekly", "monthly", "other"] = ""


@dataclass(frozen=True)
class EnterTermin:
    """Somebody enters a Termin in Advoware; ``anwalt`` empty: for everybody."""

    anwalt: str
    when: When
    privat: bool = False


@dataclass(frozen=True)
class EditTermin:
    """Somebody changes one of the Termine. ``anwalt`` hands it on to ``to``."""

    number: int
    what: Literal["text", "move", "privat", "anwalt"]
    when: When
    to: str = ""


@dataclass(frozen=True)
class DropTermin:
    """Somebody deletes one of the Termine."""

    number: int


@dataclass(frozen=True)
class EnterEvent:
    """An employee enters an event in Google."""

    kuerzel: str
    when: When


@dataclass(frozen=True)
class EditEvent:
    """An employee changes an event; ``strip``: a program drops our properties; ``repeat``: it becomes a series."""

    kuerzel: str
    number: int
    what: Literal["text", "move", "strip", "touch"]
    when: When


@dataclass(frozen=True)
class DropEvent:
    """An employee deletes an event, or one occurrence of a series."""

    kuerzel: str
    number: int
    occurrence: bool = False


@dataclass(frozen=True)
class Trouble:
    """One of the systems misbehaves in the next requests of these methods, after ``skip`` good ones."""

    system: Literal["advoware", "google"]
    kind: str
    methods: str = ""
    skip: int = 0
    count: int = 1


@dataclass(frozen=True)
class Cancel:
    """The run is cancelled and the worker starts anew."""


@dataclass(frozen=True)
class Sync:
    """A run; when the foreign systems get its ``at``-th request, ``meanwhile`` happens."""

    kuerzel: str
    full_content: bool = True
    at: int = 0
    meanwhile: Step | None = None


@dataclass(frozen=True)
class SyncAll:
    """Runs for both employees at the same time."""

    full_content: bool = True


@dataclass(frozen=True)
class Configure:
    """The worker starts anew with other settings."""

    write_protection: bool = False
    anonymise: bool = False
    strategy: Literal["source_system_wins", "last_change_wins"] = "source_system_wins"


@dataclass(frozen=True)
class Forget:
    """Redis is emptied, sync tokens expire, or access tokens are revoked."""

    what: Literal["redis", "sync_tokens", "access_tokens"]


@dataclass(frozen=True)
class Jump:
    """Time passes."""

    hours: int


Step = (
    EnterTermin
    | EditTermin
    | DropTermin
    | EnterEvent
    | EditEvent
    | DropEvent
    | Trouble
    | Cancel
    | Sync
    | SyncAll
    | Configure
    | Forget
    | Jump
)

_QUOTA = {"error": {"code": 403, "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}]}}
#: Faults by name; the data requests of both systems meet them, logins do not.
TROUBLES: dict[str, dict[str, Any]] = {
    "unavailable": {"status": 503},
    "error": {"status": 500},
    "throttled": {"status": 429, "headers": {"Retry-After": "1"}},
    "quota": {"status": 403, "body": _QUOTA},
    "slow": {"latency_ms": 200},
    "cut": {"reset": True},
    "cut_after": {"reset": True, "when": "after"},
    "error_after": {"status": 503, "when": "after"},
    "half": {"truncate_json": True},
    "changed": {"status": 412},
    "refused": {"status": 400},
    "empty": {"empty_list": True, "query": "kuerzel="},
}
#: The requests that carry data.
DATA_PATHS = {"advoware": "/advonet/Termine", "google": "/calendar/v3/"}
#: Advoware's ``turnusArt`` and Google's rule; the last rule is one that Advoware cannot hold.
SERIES = {
    "daily": (1, "RRULE:FREQ=DAILY;INTERVAL=2"),
    "weekly": (2, "RRULE:FREQ=WEEKLY"),
    "monthly": (3, "RRULE:FREQ=MONTHLY;COUNT=4"),
    "other": (4, "RRULE:FREQ=WEEKLY;BYDAY=TU,TH"),
}
