"""What the parts of a Beteiligter's sync (Kommunikation, Adressen, Bankverbindungen) have in common.

A part is synced inside the lock of its Beteiligter, from records that were read once. It writes to Advoware itself;
what concerns the CBeteiligte record goes back to the caller, who writes it in the one final PUT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
class Problem:
    """Something that only a person can do. The same ``key`` never leads to a second task while the first is open.

    ``details`` holds what the instructions need (field names, old and new values, already masked where necessary).
    """

    action_type: ActionType
    entity_type: str
    entity_id: str
    key: str
    details: Mapping[str, Any] = field(default_factory=dict)


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
            PUT has succeeded (and after it has taken up ``problems`` and ``changes``); if the PUT fails, it does not.
        advoware: the Beteiligter as it was read again after the writes, for the part that comes next.
        standing: what differs between the sides and waits for a person, told now or earlier: one short German sentence
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
        default=None, repr=False, compare=False
    )
