"""What the take-over has found and done, as values that can be printed or turned into JSON. Pure.

It names records by their ids and fields by their names. No value of a record and no text of an appointment is in it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from typing import Any, Literal

Command = Literal["check", "run", "undo"]

OK, FINDINGS, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Finding:
    """Something that a person should look at; the take-over leaves it alone and goes on."""

    kind: str  #: one word, such as ``doubled_event``
    where: str  #: which record, by its id or number
    reason: str  #: what is the matter, and what becomes of it


@dataclass(frozen=True)
class Announced:
    """A write that the first calendar sync will make, because both sides differ now."""

    action: str  #: the plan's word, such as ``InsertGoogle``
    employee_kuerzel: str
    advoware_frnr: int | None
    google_event_id: str | None


@dataclass(frozen=True)
class Difference:
    """A Beteiligter of whom the two sides say different things: left for the first sync."""

    entity_id: str
    betnr: str
    fields: tuple[str, ...]  #: names of fields, and of the parts that differ


@dataclass
class Report:
    """The answer to one command.

    Attributes:
        command: its name.
        generation: how the old system's table looks: its columns with their types, or that there is none.
        rows: the old table's rows, by kind.
        calendars: for each Kürzel, numbers.
        beteiligte: numbers; by status and by what became of them.
        announced: what the first calendar sync will write.
        differences: Beteiligte whose sides differ.
        findings: what a person should look at.
        signs: signs that the old system still runs.
        settings: variables that are missing or unknown.
        problems: what could not be looked at or done; run the command again.
        done: what was done, one line each.
    """

    command: Command
    generation: str = "there is no table calendar_sync"
    rows: Counter[str] = field(default_factory=Counter)
    calendars: dict[str, dict[str, int]] = field(default_factory=dict)
    beteiligte: Counter[str] = field(default_factory=Counter)
    announced: list[Announced] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    signs: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: in order, 1: something is worth a look, 2: something could not be looked at or done."""
        if self.problems:
            return FAILED
        if self.findings or self.signs or self.settings:
            return FINDINGS
        return OK

    def sort(self) -> None:
        """Bring the lists into an order that does not depend on which answer came first."""
        self.findings.sort(key=attrgetter("kind", "where", "reason"))
        self.differences.sort(key=attrgetter("entity_id"))
        self.announced.sort(
            key=lambda item: (
                item.employee_kuerzel,
                item.action,
                item.advoware_frnr or 0,
                item.google_event_id or "",
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """The whole report."""
        plain = replace(self, rows=Counter(), beteiligte=Counter())
        return {
            **asdict(plain),
            "rows": dict(self.rows),
            "beteiligte": dict(self.beteiligte),
            "exit_code": self.exit_code,
        }
