"""What the calendar sync of one employee has to do: pure functions from what was observed to a list of actions.

`phases` puts the phases of specification 09 in their order: `new_in_advoware`, `new_in_google`, `deletions` and
`updates`. A record missing from a list is read directly before it is treated as deleted: the plan asks for that with
`ConfirmAdvoware` and `ConfirmGoogle`, and is made again with the answers.

What is decided first, for each pair: a text that must not be shown is hidden; then a deletion or a reassignment is
followed; then the source's content holds; and only what then remains, because it came from Google and Advoware cannot
hold it, is left alone. Of that, the part that Advoware can hold is synced all the same.

A Termin of all employees belongs to Advoware under either strategy: what one employee does to the copy in his calendar
is undone there and never reaches Advoware, and thereby the others.

A full listing of Google means that what it lacks is deleted, an incremental one that it is unchanged. A Termin outside
the days that were listed is not listed by Advoware, which says nothing about it.

An event with our marks is a pair's event only if the pair says so. People copy, split, move and restore events, and our
marks come along: then it is a person's event, and new in Google.
"""

from services.calendar_sync.plan.deletions import MAX_DELETED_SHARE
from services.calendar_sync.plan.phases import make_plan

__all__ = ["MAX_DELETED_SHARE", "make_plan"]
