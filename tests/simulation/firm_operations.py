"""What can happen in a story of the firm, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import beteiligte_scenario
import calendar_scenario


@dataclass(frozen=True)
class InOffice:
    """A user works in EspoCRM or on Advoware's Beteiligte, or one of the two misbehaves from now on."""

    step: beteiligte_scenario.Step


@dataclass(frozen=True)
class InCalendar:
    """A user works in Google or on Advoware's Termine, or one of the two misbehaves from now on."""

    step: calendar_scenario.Step


@dataclass(frozen=True)
class Misbehave:
    """From now on a system misbehaves as this rule says (docs/sandbox.md); one that alters is for calendars only."""

    system: Literal["espocrm", "advoware", "google"]
    rule: dict[str, Any]


@dataclass(frozen=True)
class Pass:
    """Time passes; ``to`` the next change of the clocks, or the last minutes of the year, if that is named."""

    minutes: int
    to: Literal["", "clock change", "new year"] = ""


@dataclass(frozen=True)
class Store:
    """Something happens to Redis (``flush``) or PostgreSQL. ``read_only`` and ``disk_full`` last until ``well``."""

    what: Literal["flush", "terminate", "read_only", "disk_full", "well"]


@dataclass(frozen=True)
class Death:
    """The worker dies when what it does waits for the ``after``-th time, in the ``job``-th job that it takes."""

    after: int
    job: int = 0


@dataclass(frozen=True)
class Meanwhile:
    """When the foreign systems get the ``at``-th request from now on, this happens."""

    at: int
    what: InOffice | InCalendar | Misbehave | Pass | Store


@dataclass(frozen=True)
class Mail:
    """EspoCRM sends the webhooks that wait: all of them, twice, or the newest first; or they are lost."""

    what: Literal["send", "twice", "newest first", "lose"] = "send"
    worker: int = 0
    death: Death | None = None


@dataclass(frozen=True)
class Cron:
    """The engine starts a cron's step."""

    what: Literal["beteiligte", "calendar"]
    worker: int = 0
    death: Death | None = None


@dataclass(frozen=True)
class Work:
    """The engine delivers up to so many jobs that are due; with two ``lanes``, two workers take them side by side."""

    jobs: int = 4
    worker: int = 0
    lanes: int = 1
    death: Death | None = None
    meanwhile: tuple[Meanwhile, ...] = ()


@dataclass(frozen=True)
class Release:
    """An operator has looked at all deletions that a guard holds back, and lets them happen."""


@dataclass(frozen=True)
class GiveNumberAgain:
    """Advoware puts back a backup from before its last Beteiligter; the next person who is entered gets his number."""


Operation = (
    InOffice
    | InCalendar
    | Misbehave
    | Pass
    | Store
    | Mail
    | Cron
    | Work
    | Release
    | GiveNumberAgain
)
