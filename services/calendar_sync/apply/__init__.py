"""Applies the actions of a plan: one pair at a time, each stored as soon as both systems have it.

What a row remembers is what the systems answered, never what was sent to them. A write whose answer was lost is found
again: an event by its id, which follows from the Termin; a Termin by the intent that was stored before the request.

`applier` has a method for each kind of action; `google_side` and `advoware_side` write to the two systems, `creates`
makes each Termin once, `deletions` deletes on both sides, and `rows` stores what all of them have led to.
"""

from services.calendar_sync.apply.applier import Applier
from services.calendar_sync.apply.clients import Clients, one_event, one_termin
from services.calendar_sync.apply.contents import may_be_created_by
from services.calendar_sync.apply.refusals import REFUSING
from services.calendar_sync.apply.rows import Rows, Saved, action_name

__all__ = [
    "REFUSING",
    "Applier",
    "Clients",
    "Rows",
    "Saved",
    "action_name",
    "may_be_created_by",
    "one_event",
    "one_termin",
]
