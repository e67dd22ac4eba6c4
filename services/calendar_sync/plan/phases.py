"""The phases of a plan, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.calendar_sync.model import Action, Pair, Termin
from services.calendar_sync.plan.deletions import (
    ask_whose_they_are,
    judge,
    plan_deletions,
)
from services.calendar_sync.plan.new_in_advoware import plan_new_in_advoware
from services.calendar_sync.plan.new_in_google import plan_new_in_google
from services.calendar_sync.plan.updates import plan_updates, unlink_deleted_when_over
from services.calendar_sync.view import (
    CalendarView,
    Confirmations,
    GoogleListing,
    Past,
    PlanSettings,
)


def make_plan(
    settings: PlanSettings,
    termine: Sequence[Termin],
    google: GoogleListing,
    pairs: Iterable[Pair],
    confirmations: Confirmations | None = None,
    past: Past | None = None,
) -> list[Action]:
    """The actions, in their order.

    ``termine`` is Advoware's answer for the employee and the listed days; a failed request is an error of the caller's,
    never an empty list. ``pairs`` are the employee's live rows; ``past`` is what other rows know of the listed events.
    """
    pairs = list(pairs)
    view = CalendarView(settings, termine, google, pairs, Confirmations(), past)
    judgement = judge(view)
    if confirmations is not None and (confirmations.termine or confirmations.events):
        held_by_lists = judgement.held
        view = CalendarView(settings, termine, google, pairs, confirmations, past)
        judgement = judge(view)
        # What the lists alone look like stays suspicious, whatever single reads say.
        judgement = judgement.held_first_by(held_by_lists)
    claimed = {copy.id for copy in judgement.copies.values()}
    return [
        *plan_new_in_advoware(view, claimed),
        *plan_new_in_google(view, claimed),
        *plan_deletions(view, judgement),
        *ask_whose_they_are(view),
        *unlink_deleted_when_over(view),
        *plan_updates(view),
    ]
