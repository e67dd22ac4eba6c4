"""What the parts of a Beteiligter's sync (Kommunikation, Adressen, Bankverbindungen) have in common.

A part is synced inside the lock of its Beteiligter, from records that were read once. It writes to Advoware itself;
what concerns the CBeteiligte record goes back to the caller, who writes it in the one final PUT.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from services.vmh_sync.store import SyncState

Direction = Literal["both", "to_advoware"]

ActionType = Literal[
    "address_delete_required",
    "address_reactivate_required",
    "address_field_update_required",
    "readonly_field_conflict",
    "missing_in_advoware",
    "general_manual_action",
]


@dataclass(frozen=True)
class FieldLine:
    """A field in the list of fields of a problem.

    Attributes:
        field: its name in EspoCRM or Advoware.
        old: what stands in the record that would have to change.
        new: what should stand there.
        why: why the field waits, in German.
        reason: why it waits, as a word of `problem_texts.text.FIELD_REASONS`.
    """

    field: str
    old: Any
    new: Any
    why: str = ""
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The stored form."""
        line = {"field": self.field, "old": self.old, "new": self.new}
        if self.why:
            line["why"] = self.why
        if self.reason:
            line["reason"] = self.reason
        return line

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> FieldLine:
        """The line of a stored form."""
        return FieldLine(
            stored["field"],
            stored.get("old"),
            stored.get("new"),
            stored.get("why") or "",
            stored.get("reason") or "",
        )


def digest_of_lines(lines: Iterable[FieldLine]) -> str:
    """What distinguishes a set of lines from another, for the key of a problem that is one task for each set."""
    stored = [line.as_json() for line in lines]
    text = json.dumps(stored, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RecordLine:
    """A record in the list of records of a problem that stands for many."""

    betnr: int | str | None
    name: str | None

    def as_json(self) -> dict[str, Any]:
        """The stored form."""
        return {"betnr": self.betnr, "name": self.name}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> RecordLine:
        """The line of a stored form."""
        return RecordLine(stored.get("betnr"), stored.get("name"))


@dataclass(frozen=True)
class Details:
    """What the texts of a problem need; already masked where that is necessary.

    Attributes:
        reason: the word of the catalogue (`problem_texts.CATALOGUE`) for its text; "" for that of the action type.
        betnr: of the Beteiligter.
        name: of the person or firm.
        adresse, konto: what it is about, in one line.
        value: the value that it is about.
        fields: the fields that it is about.
        records: the records of a problem that stands for many; None for every other problem.
        since: when it was found, as ISO time.
        further: other things to be listed, by their German label or a name of `problem_texts.labels`.
    """

    reason: str = ""
    betnr: int | str | None = None
    name: str | None = None
    adresse: str | None = None
    konto: str | None = None
    value: str | None = None
    fields: tuple[FieldLine, ...] = ()
    records: tuple[RecordLine, ...] | None = None
    since: str | None = None
    further: Mapping[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, Any]:
        """The single values that are known, by name, in the order in which they are listed."""
        texts = {}
        for name in _TEXTS:
            value = getattr(self, name)
            if value is not None:
                texts[name] = value
        return texts

    def as_json(self) -> dict[str, Any]:
        """The stored form; what is not known is left out."""
        stored = {**self.texts, **self.further}
        if self.reason:
            stored["reason"] = self.reason
        if self.fields:
            stored["fields"] = [line.as_json() for line in self.fields]
        if self.records is not None:
            stored["records"] = [line.as_json() for line in self.records]
        if self.since is not None:
            stored["since"] = self.since
        return stored

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Details:
        """The details of a stored form, also of an earlier version."""
        rest = dict(stored)
        fields = tuple(map(FieldLine.from_json, rest.pop("fields", None) or ()))
        records = rest.pop("records", None)
        if records is not None:
            records = tuple(map(RecordLine.from_json, records))
        known = {name: rest.pop(name, None) for name in (*_TEXTS, "since")}
        reason = rest.pop("reason", None) or ""
        return Details(
            reason,
            **known,
            fields=fields,
            records=records,
            further=rest,
        )


_TEXTS = ("betnr", "name", "adresse", "konto", "value")


@dataclass(frozen=True)
class Problem:
    """Something that only a person can do. The same ``key`` never leads to a second task while the first is open."""

    action_type: ActionType
    entity_type: str
    entity_id: str
    key: str
    details: Details = field(default_factory=Details)

    def with_details(self, **changes: Any) -> Problem:
        """The same problem with some of its details changed."""
        return replace(self, details=replace(self.details, **changes))


@dataclass(frozen=True)
class PartResult:
    """What the sync of one part led to.

    Attributes:
        espocrm: attributes of the CBeteiligte to be written by the caller.
        changes: lines for the audit, ``{"field", "side", "old", "new"}``; with ``"conflict": True`` if a change lost.
        problems: tasks for people.
        errors: short messages of items that failed; the others were synced all the same.
        wrote_advoware: whether anything was written to Advoware, so that it has to be read again.
        states: what to remember of this sync. True only once ``espocrm`` is written, so the caller saves it after its
            PUT has succeeded (and after it has taken over ``problems`` and ``changes``); if the PUT fails, it does not.
        advoware: the Beteiligter as it was read again after the writes, for the part that comes next.
        standing: what differs between the sides and waits for a person, reported now or earlier: one German sentence
            each (`notification.texts.problem_sentence`). The CBeteiligte then shows ``conflict`` and these sentences.
        not_before: until when a request that was interrupted may still reach Advoware; what depends on it is left to a
            run after that moment.
        latest: the result once the collected writes (`services.vmh_sync.espocrm_writes`) are done; None if there are
            none.
        was_edited: a person edited one of the records while it was synced, so that it has to be synced again.
    """

    espocrm: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    errors: tuple[str, ...] = ()
    wrote_advoware: bool = False
    states: tuple[SyncState, ...] = ()
    standing: tuple[str, ...] = ()
    not_before: datetime | None = None
    was_edited: bool = False
    advoware: Mapping[str, Any] | None = None
    latest: Callable[[], PartResult] | None = field(
        default=None,
        repr=False,
        compare=False,
    )
