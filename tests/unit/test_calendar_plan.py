"""The plan of the calendar sync: what it does, what it never does, and that it comes to rest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.calendar_sync.mapping import (
    changed_termin,
    generation_of,
    google_body,
    google_event_id,
    hide_body,
    new_termin,
    read_google_event,
    read_termin,
)
from services.calendar_sync.model import (
    ADVOWARE_WRITES,
    HAS_EXCEPTIONS,
    WAITS_FOR_PERMISSION,
    Action,
    AdoptGoogle,
    ConfirmAdvoware,
    ConfirmGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    Fingerprint,
    FollowCopy,
    GoogleEvent,
    HideGoogle,
    HoldDeletions,
    InsertGoogle,
    ListGoogle,
    MarkUntranslatable,
    NormalisedEvent,
    NotPlanned,
    Pair,
    PostAdvoware,
    RecordFingerprints,
    RecreateAdvoware,
    RecreateGoogle,
    RememberPending,
    ReplaceGoogle,
    SoftDelete,
    TakeMarksOff,
    Termin,
    Unlink,
    Untranslatable,
    UpdateAdvoware,
    UpdateGoogle,
    content_hash,
    untranslatable_error,
)
from services.calendar_sync.plan import make_plan
from services.calendar_sync.view import (
    Confirmations,
    GoogleListing,
    Past,
    PlanSettings,
)
from services.values.advoware_protocol import BERLIN

SETTINGS = PlanSettings(
    "SB", "kalender@example.org", date(2026, 2, 1), date(2028, 2, 1)
)
WRITING = replace(SETTINGS, advoware_write_allowed=True, write_protection=False)
LAST_CHANGE = replace(WRITING, strategy="last_change_wins")


@dataclass
class World:
    """Both systems and the table, in memory; actions are executed as the sync would."""

    settings: PlanSettings = WRITING
    advoware: dict[int, dict[str, Any]] = field(default_factory=dict)
    google: dict[str, dict[str, Any]] = field(default_factory=dict)
    pairs: dict[UUID, Pair] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    ticks: itertools.count = field(default_factory=lambda: itertools.count(1))
    last_fr_nr: int = 0

    # -- what people do ---------------------------------------------------------------------------------------------

    def enter_termin(self, fr_nr: int | None = None, **values: Any) -> int:
        fr_nr = self._take_fr_nr(fr_nr)
        base = {
            "text": f"Termin {fr_nr}",
            "notiz": "",
            "ort": "",
            "datum": "2026-03-02",
            "datumBis": None,
        }
        base |= {
            "uhrzeitVon": "10:00:00",
            "uhrzeitBis": "11:00:00",
            "anwalt": "SB",
            "privat": 0,
        }
        base |= {"abwesenheit": 0, "dauertermin": 0, "turnus": 0, "turnusArt": 0}
        self.advoware[fr_nr] = {**base, "frNr": fr_nr}
        self.edit_termin(fr_nr, **values)
        return fr_nr

    def edit_termin(self, fr_nr: int, **values: Any) -> None:
        changed_at = self._now().astimezone(BERLIN).replace(tzinfo=None).isoformat()
        self.advoware[fr_nr] |= {**values, "zuletztGeaendertAm": changed_at}

    def enter_event(self, event_id: str = "person1", **values: Any) -> str:
        times = {
            "start": "2026-03-03T10:00:00+01:00",
            "end": "2026-03-03T11:00:00+01:00",
        }
        body = {
            side: {"dateTime": moment, "timeZone": "Europe/Berlin"}
            for side, moment in times.items()
        }
        self.google[event_id] = {"summary": f"Notiz {event_id}", **body}
        self.edit_event(event_id, **values)
        return event_id

    def edit_event(self, event_id: str, **values: Any) -> None:
        tick = self._now()
        event = {**self.google.get(event_id, {}), "status": "confirmed", **values}
        event |= {
            "id": event_id,
            "etag": f'"{tick.timestamp()}"',
            "updated": tick.isoformat(),
        }
        self.google[event_id] = {
            name: value for name, value in event.items() if value is not None
        }
        self.changed.add(event_id)

    def delete_event(self, event_id: str) -> None:
        self.edit_event(event_id, status="cancelled")

    def _take_fr_nr(self, wanted: int | None = None) -> int:
        """The number of a new Termin; that of a deleted one is not used again."""
        fr_nr = wanted or self.last_fr_nr + 1
        self.last_fr_nr = max(self.last_fr_nr, fr_nr)
        return fr_nr

    def _now(self) -> datetime:
        return datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=next(self.ticks))

    # -- what the sync sees -----------------------------------------------------------------------------------------

    def termine(self) -> list[Termin]:
        observed = [read_termin(record) for record in self.advoware.values()]
        return [
            t
            for t in observed
            if not isinstance(t.event, NormalisedEvent) or self._is_listed(t.event)
        ]

    def _is_listed(self, event: NormalisedEvent) -> bool:
        return self.settings.lists(event.first_day, event.last_day)

    def listing(self, *, full: bool) -> GoogleListing:
        events = [
            read_google_event(event)
            for event in self.google.values()
            if full or event["id"] in self.changed
        ]
        return GoogleListing(
            [event for event in events if not (full and event.cancelled)], full
        )

    def plan(self, *, full: bool = True) -> list[Action]:
        confirmations = Confirmations()
        for _ in range(4):
            sides = self.termine(), self.listing(full=full), self.pairs.values()
            actions = make_plan(
                self.settings, *sides, confirmations, Past(self.once_paired())
            )
            if any(isinstance(action, ListGoogle) for action in actions):
                full = True
                continue
            asked = [
                action.pair
                for action in actions
                if isinstance(action, ConfirmAdvoware | ConfirmGoogle)
            ]
            if not asked:
                return actions
            termine = {
                pair.advoware_frnr: self.termin_of(pair.advoware_frnr)
                for pair in asked
                if pair.advoware_frnr
            }
            events = {
                pair.google_event_id: self.event_of(pair.google_event_id)
                for pair in asked
                if pair.google_event_id
            }
            confirmations = Confirmations(
                {**confirmations.termine, **termine}, {**confirmations.events, **events}
            )
        raise AssertionError("the plan asks again and again")

    def once_paired(self) -> frozenset[str]:
        return frozenset(
            pair.google_event_id or "" for pair in self.pairs.values() if pair.deleted
        )

    def termin_of(self, fr_nr: int) -> Termin | None:
        return read_termin(self.advoware[fr_nr]) if fr_nr in self.advoware else None

    def event_of(self, event_id: str) -> GoogleEvent | None:
        return (
            read_google_event(self.google[event_id])
            if event_id in self.google
            else None
        )

    # -- what the sync does -----------------------------------------------------------------------------------------

    def run(self, *, full: bool = True) -> list[Action]:
        actions = self.plan(full=full)
        self.changed.clear()
        for action in actions:
            self.apply(action)
        return actions

    def settle(self, *, full: bool = True) -> None:
        """Run until nothing is left to do."""
        for _ in range(3):
            self.run(full=full)
        assert self.plan(full=full) == []

    def apply(self, action: Action) -> None:
        match action:
            case InsertGoogle(termin, event_id, event, pair):
                pair = pair or self._new_pair(termin.fr_nr, event_id, "advoware")
                self._write_event(replace(pair, google_event_id=event_id), event)
            case AdoptGoogle(termin, google, event, source, _, pair):
                pair = replace(
                    pair or self._new_pair(termin.fr_nr, google.id, source),
                    advoware_frnr=termin.fr_nr,
                )
                self._write_event(
                    replace(pair, google_event_id=google.id, source_system=source),
                    event,
                )
            case PostAdvoware(google, event, shown, pair) | RecreateAdvoware(
                pair, google, event, shown
            ):
                fr_nr = self._take_fr_nr()
                self.advoware[fr_nr] = {
                    "frNr": fr_nr,
                    **new_termin(event, self.settings.kuerzel),
                }
                self.edit_termin(fr_nr)
                pair = pair or self._new_pair(fr_nr, google.id, "google")
                self._write_event(replace(pair, advoware_frnr=fr_nr), shown)
            case RememberPending(google, pair):
                pair = pair or self._new_pair(None, google.id, "google")
                self._save(
                    replace(pair, advoware_frnr=None, sync_status="pending", error=None)
                )
            case DeleteGoogle(pair):
                self.delete_event(pair.google_event_id or "")
                self._save(replace(pair, deleted=True))
            case DeleteAdvoware(pair, termin):
                del self.advoware[termin.fr_nr]
                self._save(replace(pair, deleted=True))
            case SoftDelete(pair):
                self._save(replace(pair, deleted=True))
            case RecreateGoogle(pair, _, event_id, event):
                self._write_event(replace(pair, google_event_id=event_id), event)
            case ReplaceGoogle(pair, termin, event, google):
                self.google = {
                    key: value
                    for key, value in self.google.items()
                    if value.get("recurringEventId") != google.id
                }
                self.delete_event(google.id)
                number = generation_of(
                    google.id, termin.fr_nr, self.settings.calendar_id
                )
                next_id = google_event_id(
                    termin.fr_nr,
                    self.settings.calendar_id,
                    0 if number is None else number + 1,
                )
                self._write_event(replace(pair, google_event_id=next_id), event)
            case HideGoogle(pair, etag, occurrences):
                body = hide_body(pair.advoware_frnr, pair.sync_id)
                for event_id in (
                    pair.google_event_id or "",
                    *(item.id for item in occurrences),
                ):
                    self.edit_event(event_id, **body)
                hidden = read_google_event(self.google[pair.google_event_id or ""])
                google = Fingerprint(
                    content_hash(hidden.event), hidden.updated, hidden.etag
                )
                self._save(replace(self.pairs[pair.sync_id], google=google))
            case FollowCopy(pair, google):
                self._save(replace(pair, google_event_id=google.id))
            case Unlink(pair):
                self._save(replace(pair, google_event_id=None, google=Fingerprint()))
            case TakeMarksOff(google):
                self.edit_event(google.id, extendedProperties=None)
            case UpdateGoogle(pair, _, event, etag):
                assert etag == self.google[pair.google_event_id or ""]["etag"]
                self._write_event(pair, event)
            case UpdateAdvoware(pair, termin, google, event, shown):
                self.edit_termin(
                    termin.fr_nr, **changed_termin(event, self.advoware[termin.fr_nr])
                )
                if shown is not None:
                    self._write_event(pair, shown)
                self._remember(pair)
                if isinstance(
                    google.event, Untranslatable
                ):  # exceptions are known to the plan only
                    left = replace(
                        self.pairs[pair.sync_id],
                        error=untranslatable_error(google.event.reason),
                    )
                    observed = replace(
                        left.google, content_hash=content_hash(google.event)
                    )
                    self._save(replace(left, sync_status="failed", google=observed))
            case RecordFingerprints(pair):
                self._remember(pair)
            case MarkUntranslatable(reason, pair, termin, google):
                ids = termin.fr_nr if termin else None, google.id if google else None
                marked = pair or self._new_pair(
                    *ids, "advoware" if termin else "google"
                )
                if pair is not None and termin is not None:
                    marked = replace(
                        marked,
                        advoware=Fingerprint(
                            content_hash(termin.event), termin.changed_at
                        ),
                    )
                if pair is not None and google is not None:
                    observed = Fingerprint(
                        content_hash(google.event), google.updated, google.etag
                    )
                    marked = replace(marked, google=observed)
                self._save(
                    replace(
                        marked, error=untranslatable_error(reason), sync_status="failed"
                    )
                )

    def _new_pair(self, fr_nr: int | None, event_id: str | None, source: Any) -> Pair:
        allowed = self.settings.advoware_write_allowed
        return Pair(
            UUID(int=len(self.pairs) + 1),
            "SB",
            fr_nr,
            event_id,
            source,
            self.settings.strategy,
            allowed,
        )

    def _write_event(self, pair: Pair, event: NormalisedEvent) -> None:
        is_own = pair.source_system == "advoware"
        current = self.event_of(pair.google_event_id or "")
        body = google_body(
            event, pair.advoware_frnr or 0, pair.sync_id, current=current, is_own=is_own
        )
        times = {
            side: {k: v for k, v in body[side].items() if v is not None}
            for side in ("start", "end")
        }
        self.edit_event(pair.google_event_id or "", **{**body, **times})
        self._remember(pair)

    def _remember(self, pair: Pair) -> None:
        termin, google = (
            self.termin_of(pair.advoware_frnr or 0),
            self.event_of(pair.google_event_id or ""),
        )
        assert termin
        assert google
        assert isinstance(termin.event, NormalisedEvent)
        problem = (
            google.event.reason if isinstance(google.event, Untranslatable) else None
        )
        self._save(
            replace(
                pair,
                sync_status="failed" if problem else "synced",
                error=untranslatable_error(problem) if problem else None,
                persons_private=pair.source_system == "google"
                and google.is_private
                and google.shows_text,
                advoware=Fingerprint(content_hash(termin.event), termin.changed_at),
                google=Fingerprint(
                    content_hash(google.event), google.updated, google.etag
                ),
                first_day=termin.event.first_day,
                last_day=termin.event.last_day,
            )
        )

    def _save(self, pair: Pair) -> None:
        self.pairs[pair.sync_id] = pair

    @property
    def live(self) -> list[Pair]:
        return [pair for pair in self.pairs.values() if not pair.deleted]


def kinds(actions: Sequence[Action]) -> list[type]:
    return [type(action) for action in actions]


def synced(settings: PlanSettings = WRITING, count: int = 1, **values: Any) -> World:
    """Termine that are in Google as well."""
    world = World(settings)
    for number in range(count):
        world.enter_termin(20001 + number, **values)
    world.settle()
    return world


def posted(settings: PlanSettings = WRITING) -> World:
    """A person's event that is in Advoware as well."""
    world = World(settings)
    world.enter_event()
    world.settle()
    return world


# -- phases 1 and 2 -------------------------------------------------------------------------------------------------


def test_a_new_termin_is_inserted_under_its_deterministic_id() -> None:
    world = World()
    world.enter_termin(20001)
    [action] = world.run()
    assert isinstance(action, InsertGoogle)
    assert action.event_id == google_event_id(20001, SETTINGS.calendar_id)
    assert world.plan() == []


@pytest.mark.parametrize(
    "values",
    [{"anwalt": "AI"}, {"datum": "2025-01-01"}, {"datum": "2030-01-01"}],
    ids=["other", "before", "after"],
)
def test_what_is_not_the_employees_or_outside_the_window_is_left_out(
    values: dict[str, Any],
) -> None:
    world = World()
    world.enter_termin(20001, **values)
    assert world.plan() == []


def test_derived_termine_are_ignored() -> None:
    world = World()
    world.enter_termin(-5)
    assert world.plan() == []


def test_an_event_left_by_a_crash_is_adopted_and_not_written_if_it_is_right() -> None:
    world = synced()
    world.pairs.clear()
    [action] = world.run()
    assert isinstance(action, AdoptGoogle)
    assert (action.write, action.source_system) == (False, "advoware")
    assert world.plan() == []


def test_an_event_left_by_a_crash_is_adopted_even_if_its_marks_are_gone_and_its_termin_has_changed() -> (
    None
):
    world = synced(count=2)
    world.pairs.clear()
    world.edit_event(
        google_event_id(20002, SETTINGS.calendar_id), extendedProperties=None
    )
    world.edit_termin(20002, text="Neu")
    actions = world.run()
    assert [
        type(action) for action in actions if action.source_system == "advoware"
    ] == [AdoptGoogle, AdoptGoogle]
    assert (
        world.google[google_event_id(20002, SETTINGS.calendar_id)]["summary"] == "Neu"
    )
    assert world.plan() == []


def test_a_post_whose_answer_was_lost_is_not_repeated() -> None:
    world = World()
    world.enter_event(summary="Zahnarzt")
    times = {"datum": "2026-03-03", "uhrzeitVon": "10:00:00", "uhrzeitBis": "11:00:00"}
    world.enter_termin(20001, text="Zahnarzt", **times)
    [action] = world.run()
    assert isinstance(action, AdoptGoogle)
    assert action.source_system == "google"
    assert world.plan() == []


def test_a_persons_event_is_posted_if_writing_is_allowed_and_remembered_if_not() -> (
    None
):
    world = World(SETTINGS)
    world.enter_event()
    assert kinds(world.run()) == [RememberPending]
    assert world.plan() == []
    world.settings = WRITING
    assert kinds(world.run(full=False)) == [PostAdvoware]
    assert len(world.advoware) == 1
    assert world.plan() == []


def test_a_persons_event_that_advoware_cannot_hold_is_marked_once_and_left_alone() -> (
    None
):
    world = World()
    world.enter_event(recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"])
    before = dict(world.google)
    assert kinds(world.run()) == [MarkUntranslatable]
    assert world.plan() == []
    assert world.google == before


# -- phase 3 --------------------------------------------------------------------------------------------------------


def test_nothing_is_deleted_before_a_direct_read() -> None:
    world = synced(count=2)
    del world.advoware[20001]
    actions = make_plan(
        WRITING, world.termine(), world.listing(full=True), world.pairs.values()
    )
    assert kinds(actions) == [ConfirmAdvoware]


def test_a_deleted_termin_takes_its_event_along() -> None:
    world = synced(count=2)
    del world.advoware[20001]
    assert kinds(world.run()) == [DeleteGoogle]
    assert world.plan() == []


@pytest.mark.parametrize("full", [True, False])
def test_a_deleted_copy_is_created_again(full: bool) -> None:
    world = synced()
    world.delete_event(world.live[0].google_event_id or "")
    assert kinds(world.run(full=full)) == [RecreateGoogle]
    assert world.plan() == []


@pytest.mark.parametrize("settings", [WRITING, SETTINGS])
def test_with_last_change_wins_a_deleted_event_takes_its_termin_along_if_writing_is_allowed(
    settings: PlanSettings,
) -> None:
    world = synced(replace(settings, strategy="last_change_wins"))
    world.delete_event(world.live[0].google_event_id or "")
    assert kinds(world.run()) == [
        DeleteAdvoware if settings is WRITING else RecreateGoogle
    ]
    assert world.plan() == []


def test_a_persons_deleted_event_takes_its_termin_along_and_a_deleted_copy_comes_back() -> (
    None
):
    world = posted()
    world.advoware.clear()
    assert kinds(world.run(full=False)) == [RecreateAdvoware]
    world.settle()
    world.delete_event("person1")
    assert kinds(world.run()) == [DeleteAdvoware]
    assert not world.live


@pytest.mark.parametrize("anwalt", ["", "ALLE"])
@pytest.mark.parametrize("settings", [WRITING, LAST_CHANGE])
def test_deleting_ones_copy_of_a_termin_of_all_brings_it_back_and_deletes_it_for_no_one_else(
    settings: PlanSettings, anwalt: str
) -> None:
    world = posted(settings)
    world.edit_termin(1, anwalt=anwalt)
    world.settle()
    world.delete_event("person1")
    assert kinds(world.run()) == [RecreateGoogle]
    assert 1 in world.advoware
    assert world.plan() == []


def test_a_persons_event_whose_termin_is_gone_waits_while_writing_is_forbidden() -> (
    None
):
    world = posted()
    world.settings = replace(WRITING, write_protection=True)
    world.advoware.clear()
    assert kinds(world.run()) == [RememberPending]
    assert world.plan() == []


def test_what_is_gone_on_both_sides_is_forgotten() -> None:
    world = synced()
    world.delete_event(world.live[0].google_event_id or "")
    world.advoware.clear()
    assert kinds(world.run()) == [SoftDelete]


def test_an_incremental_listing_without_an_event_means_that_it_is_unchanged() -> None:
    assert synced(LAST_CHANGE, count=3).plan(full=False) == []


def test_leaving_the_window_is_not_a_deletion() -> None:
    world = synced(LAST_CHANGE)
    world.settings = replace(LAST_CHANGE, first_day=date(2026, 4, 1))
    assert world.plan() == []
    world.google.clear()
    assert kinds(world.run()) == [Unlink]
    assert world.plan() == []
    assert 20001 in world.advoware


def test_a_termin_moved_out_of_the_window_moves_its_event() -> None:
    world = synced()
    world.edit_termin(20001, datum="2030-01-01")
    assert kinds(world.run()) == [UpdateGoogle]
    assert world.plan() == []


def test_a_termin_that_another_person_took_over_leaves_this_calendar_only() -> None:
    world = synced(LAST_CHANGE)
    world.edit_termin(20001, anwalt="AI")
    assert kinds(world.run()) == [DeleteGoogle]
    assert 20001 in world.advoware


def test_an_empty_answer_of_advoware_changes_nothing() -> None:
    world = synced(count=6)
    world.advoware.clear()
    [action] = world.plan()
    assert action == HoldDeletions("advoware_empty", 6, 6)


@pytest.mark.parametrize(("lost", "held"), [(5, False), (6, True)])
def test_more_than_five_deletions_of_few_pairs_are_not_believed(
    lost: int, held: bool
) -> None:
    world = synced(count=12)
    for number in range(lost):
        del world.advoware[20001 + number]
    actions = world.plan()
    assert kinds(actions) == ([HoldDeletions] if held else [DeleteGoogle] * lost)


@pytest.mark.parametrize(("lost", "held"), [(8, False), (9, True)])
def test_more_than_a_fifth_of_many_pairs_is_not_believed(lost: int, held: bool) -> None:
    world = synced(LAST_CHANGE, count=40)
    for pair in world.live[:lost]:
        world.delete_event(pair.google_event_id or "")
    assert kinds(world.plan()) == ([HoldDeletions] if held else [DeleteAdvoware] * lost)


def test_updates_go_on_while_deletions_are_held() -> None:
    world = synced(count=12)
    for number in range(11):
        del world.advoware[20001 + number]
    world.edit_termin(20012, text="Neu")
    assert kinds(world.plan()) == [HoldDeletions, UpdateGoogle]


def test_a_copy_that_advoware_cannot_hold_any_more_goes_with_its_termin_all_the_same() -> (
    None
):
    world = synced(count=2)
    event_id = google_event_id(20001, SETTINGS.calendar_id)
    world.edit_event(event_id, recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"])
    del world.advoware[20001]
    assert kinds(world.run(full=False)) == [DeleteGoogle]
    assert world.plan(full=False) == []


@pytest.mark.parametrize("change", ["deleted", "handed on"])
def test_an_event_left_by_a_crash_disappears_if_its_termin_is_not_the_employees_any_more(
    change: str,
) -> None:
    world = synced(count=2)
    event_id = google_event_id(20001, SETTINGS.calendar_id)
    world.pairs = {
        pair.sync_id: pair for pair in world.live if pair.google_event_id != event_id
    }
    if change == "deleted":
        del world.advoware[20001]
    else:
        world.edit_termin(20001, anwalt="AI")
    own = [termin for termin in world.termine() if termin.belongs_to("SB")]
    unread = make_plan(WRITING, own, world.listing(full=True), world.pairs.values())
    assert kinds(unread) == [ConfirmAdvoware]
    assert kinds(world.run()) == [DeleteGoogle]
    assert world.google[event_id]["status"] == "cancelled"
    assert world.plan() == []


@pytest.mark.parametrize("settings", [WRITING, LAST_CHANGE, SETTINGS])
def test_a_persons_copy_of_an_event_of_the_sync_is_not_deleted_with_its_termin(
    settings: PlanSettings,
) -> None:
    world = synced(settings, count=2)
    original = world.google[google_event_id(20001, SETTINGS.calendar_id)]
    world.google["copy0of0ours"] = {**original, "id": "copy0of0ours"}
    del world.advoware[20001]
    world.settle()
    assert world.google["copy0of0ours"]["status"] == "confirmed"


def test_a_persons_event_left_by_a_crash_is_posted_again_if_its_termin_is_gone() -> (
    None
):
    world = posted()
    world.pairs.clear()
    world.advoware.clear()
    world.enter_termin()
    world.settle()
    assert [record["text"] for record in world.advoware.values()] == [
        "Termin 2",
        "Notiz person1",
    ]


# -- phase 4 --------------------------------------------------------------------------------------------------------


def test_a_changed_termin_is_copied_and_a_touched_one_is_not() -> None:
    world = synced()
    world.edit_termin(20001, text="Neu")
    assert kinds(world.run(full=False)) == [UpdateGoogle]
    world.edit_termin(20001, notiz=None)
    assert kinds(world.run()) == [RecordFingerprints]
    assert world.plan() == []


def test_with_source_system_wins_an_edited_copy_is_put_back() -> None:
    world = synced()
    event_id = world.live[0].google_event_id or ""
    world.edit_event(event_id, summary="Umbenannt")
    assert kinds(world.run()) == [UpdateGoogle]
    assert world.google[event_id]["summary"] == "Termin 20001"
    mine = posted()
    mine.edit_termin(1, text="Umbenannt")
    assert kinds(mine.run(full=False)) == [UpdateAdvoware]
    assert mine.plan() == []


def test_with_last_change_wins_the_changed_side_is_copied() -> None:
    world = synced(LAST_CHANGE)
    world.edit_event(world.live[0].google_event_id or "", summary="Umbenannt")
    assert kinds(world.run()) == [UpdateAdvoware]
    assert world.advoware[20001]["text"] == "Umbenannt"
    assert world.plan() == []


@pytest.mark.parametrize("google_last", [True, False])
def test_with_last_change_wins_the_later_of_two_changes_stays(
    google_last: bool,
) -> None:
    world = synced(LAST_CHANGE)
    event_id = world.live[0].google_event_id or ""
    edits = [
        lambda: world.edit_termin(20001, text="Neu"),
        lambda: world.edit_event(event_id, summary="Anders"),
    ]
    for edit in edits if google_last else reversed(edits):
        edit()
    assert kinds(world.run()) == [UpdateAdvoware if google_last else UpdateGoogle]


@pytest.mark.parametrize("settings", [WRITING, LAST_CHANGE])
def test_editing_ones_copy_of_a_termin_of_all_changes_it_for_no_one_else(
    settings: PlanSettings,
) -> None:
    world = posted(settings)
    world.edit_termin(1, anwalt="ALLE")
    world.settle()
    world.edit_event("person1", summary="Umbenannt")
    assert kinds(world.run()) == [UpdateGoogle]
    assert (
        world.google["person1"]["summary"]
        == world.advoware[1]["text"]
        == "Notiz person1"
    )
    assert world.plan() == []


def test_the_event_of_a_person_with_the_content_of_a_termin_of_all_becomes_its_copy() -> (
    None
):
    world = World()
    world.enter_event(summary="Betriebsfeier")
    times = {"datum": "2026-03-03", "uhrzeitVon": "10:00:00", "uhrzeitBis": "11:00:00"}
    world.enter_termin(20001, text="Betriebsfeier", anwalt="", **times)
    world.settle()
    [pair] = world.live
    assert (pair.google_event_id, pair.source_system) == ("person1", "advoware")


def test_the_same_change_on_both_sides_writes_nothing() -> None:
    world = synced(LAST_CHANGE)
    world.edit_termin(20001, text="Neu")
    world.edit_event(world.live[0].google_event_id or "", summary=" Neu")
    assert kinds(world.run()) == [RecordFingerprints]
    assert world.plan() == []


@pytest.mark.parametrize("full", [True, False])
def test_a_persons_edit_waits_while_advoware_may_not_be_written(full: bool) -> None:
    world = posted()
    world.settings = replace(WRITING, write_protection=True)
    world.edit_event("person1", summary="Umbenannt")
    assert kinds(world.run(full=full)) == [MarkUntranslatable]
    assert world.live[0].untranslatable == WAITS_FOR_PERMISSION
    assert world.plan(full=full) == []
    world.settings = WRITING
    assert kinds(world.run(full=full)) == [UpdateAdvoware]
    assert world.advoware[1]["text"] == "Umbenannt"
    assert world.plan(full=full) == []
    assert world.live[0].untranslatable is None


def test_a_persons_edit_that_waits_is_hidden_all_the_same() -> None:
    world = posted()
    world.settings = replace(WRITING, write_protection=True, anonymise=True)
    world.edit_event("person1", summary="Umbenannt")
    [marked, hidden] = world.run()
    assert (type(marked), type(hidden)) == (MarkUntranslatable, HideGoogle)
    assert [event.record["summary"] for event in hidden.undone] == ["Umbenannt"]
    assert world.google["person1"]["summary"] == "Advoware"
    world.settle()


SERIES = {"dauertermin": 1, "turnus": 1, "turnusArt": 2, "datumBis": "2026-12-31"}


def with_exception(world: World, event_id: str, **values: Any) -> None:
    """A person moves one occurrence of a series."""
    times = {"start": "2026-03-09T12:00:00+01:00", "end": "2026-03-09T13:00:00+01:00"}
    moved = {
        side: {"dateTime": moment, "timeZone": "Europe/Berlin"}
        for side, moment in times.items()
    }
    original = {"dateTime": "2026-03-09T10:00:00+01:00", "timeZone": "Europe/Berlin"}
    world.edit_event(
        f"{event_id}_20260309T090000Z",
        recurringEventId=event_id,
        originalStartTime=original,
        summary=world.google[event_id].get("summary"),
        **moved,
    )
    world.edit_event(f"{event_id}_20260309T090000Z", **values)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("kind", ["moved", "cancelled", "renamed"])
def test_a_copy_with_a_changed_occurrence_is_put_back_under_a_new_id(
    kind: str, full: bool
) -> None:
    world = synced(**SERIES)
    event_id = world.live[0].google_event_id or ""
    original = (
        {"dateTime": "2026-03-09T10:00:00+01:00"},
        {"dateTime": "2026-03-09T11:00:00+01:00"},
    )
    values: dict[str, Any] = {"moved": {}, "cancelled": {"status": "cancelled"}}.get(
        kind, {"start": original[0], "end": original[1], "summary": "Anders"}
    )
    with_exception(world, event_id, **values)
    listing = world.listing
    world.listing = lambda *, full: replace(
        listing(full=full),
        events=[  # type: ignore[method-assign]
            read_google_event(event)
            for event in world.google.values()
            if event.get("recurringEventId") or full or event["id"] in world.changed
        ],
    )
    world.edit_termin(20001, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")
    [action] = world.run(full=full)
    assert isinstance(action, ReplaceGoogle)
    assert world.live[0].google_event_id == google_event_id(
        20001, SETTINGS.calendar_id, 1
    )
    assert world.google[world.live[0].google_event_id or ""]["start"][
        "dateTime"
    ].startswith("2026-03-02T14:00")
    world.settle()


def test_an_occurrence_of_which_only_the_colour_was_changed_is_no_edit() -> None:
    world = synced(**SERIES)
    event_id = world.live[0].google_event_id or ""
    times = {"start": "2026-03-09T10:00:00+01:00", "end": "2026-03-09T11:00:00+01:00"}
    same = {
        side: {"dateTime": moment, "timeZone": "Europe/Berlin"}
        for side, moment in times.items()
    }
    with_exception(world, event_id, **same, colorId="5")
    assert world.plan() == []
    assert world.plan(full=False) == []


def test_under_google_a_series_with_a_moved_occurrence_keeps_its_times_and_syncs_its_texts() -> (
    None
):
    world = World(LAST_CHANGE)
    world.enter_event(recurrence=["RRULE:FREQ=DAILY;UNTIL=20261231T225959Z"])
    world.settle()
    with_exception(world, "person1")
    assert kinds(world.run()) == [MarkUntranslatable]
    assert world.live[0].untranslatable == HAS_EXCEPTIONS
    assert world.plan() == []
    world.edit_event("person1", summary="Umbenannt")
    assert kinds(world.run()) == [UpdateAdvoware]
    assert (world.advoware[1]["text"], world.advoware[1]["uhrzeitVon"]) == (
        "Umbenannt",
        "10:00:00",
    )
    assert world.live[0].untranslatable == HAS_EXCEPTIONS
    assert world.plan() == []
    del world.google["person1_20260309T090000Z"]
    assert kinds(world.run()) == [RecordFingerprints]


@pytest.mark.parametrize("settings", [WRITING, LAST_CHANGE])
def test_a_rule_that_advoware_cannot_hold_is_put_back_or_left_alone_by_its_source(
    settings: PlanSettings,
) -> None:
    world = synced(settings, **SERIES)
    event_id = world.live[0].google_event_id or ""
    world.edit_event(
        event_id, recurrence=["RRULE:FREQ=WEEKLY;BYDAY=MO,TU"], summary="Umbenannt"
    )
    [action] = world.run()
    if settings is WRITING:
        assert isinstance(action, UpdateGoogle)
        assert [event.record["summary"] for event in action.undone] == ["Umbenannt"]
        assert world.google[event_id]["recurrence"] == [
            "RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO;UNTIL=20261231T225959Z"
        ]
    else:
        assert isinstance(action, UpdateAdvoware)
        assert world.advoware[20001]["text"] == "Umbenannt"
        assert world.advoware[20001]["turnusArt"] == 2
        # The court moves it: that is the later change.
        world.edit_termin(20001, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")
        assert kinds(world.run()) == [UpdateGoogle]
    assert world.plan() == []


@pytest.mark.parametrize(
    "event",
    [{"recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=MO,TU"]}, {"description": "x" * 9000}],
)
@pytest.mark.parametrize("change", ["private", "anonymised", "handed on", "deleted"])
def test_what_advoware_cannot_hold_is_hidden_and_goes_like_everything_else(
    change: str, event: dict[str, Any]
) -> None:
    world = synced(LAST_CHANGE, count=2)
    event_id = google_event_id(20001, SETTINGS.calendar_id)
    world.edit_event(event_id, **event)
    world.settle()
    if change == "private":
        world.edit_termin(20001, privat=1)
    elif change == "anonymised":
        world.settings = replace(LAST_CHANGE, anonymise=True)
    elif change == "handed on":
        world.edit_termin(20001, anwalt="AI")
    else:
        del world.advoware[20001]
    world.run()
    if change in {"private", "anonymised"}:
        assert not read_google_event(world.google[event_id]).shows_text
    else:
        assert world.google[event_id]["status"] == "cancelled"
    world.settle()


def test_a_termin_that_was_unreadable_recovers_without_a_full_listing() -> None:
    world = synced()
    world.edit_termin(20001, datum="unlesbar")
    assert kinds(world.run(full=False)) == [MarkUntranslatable]
    assert world.plan(full=False) == []
    world.edit_termin(20001, datum="2026-03-02")
    assert kinds(world.run(full=False)) == [RecordFingerprints]


# -- secrecy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"anonymise": True}, {"full_content": False}])
@pytest.mark.parametrize("full", [True, False])
def test_switching_secrecy_rewrites_the_events_that_are_there(
    change: dict[str, Any], full: bool
) -> None:
    world = synced()
    event_id = world.live[0].google_event_id or ""
    world.settings = replace(WRITING, **change)
    assert kinds(world.run(full=full)) == [UpdateGoogle]
    assert world.google[event_id]["summary"] == "Advoware"
    assert world.plan() == []
    world.settings = WRITING
    assert kinds(world.run(full=full)) == [UpdateGoogle]
    assert world.google[event_id]["summary"] == "Termin 20001"


def test_a_termin_marked_as_private_hides_its_text_in_google() -> None:
    world = synced()
    world.edit_termin(20001, privat=1)
    assert kinds(world.run(full=False)) == [UpdateGoogle]
    assert world.google[world.live[0].google_event_id or ""]["summary"] == "Advoware"


def test_moving_an_anonymised_event_moves_the_termin_and_keeps_its_text() -> None:
    world = synced(replace(LAST_CHANGE, anonymise=True), notiz="Akte", ort="LG")
    times = {
        "start": {"dateTime": "2026-03-05T08:00:00+01:00"},
        "end": {"dateTime": "2026-03-05T09:00:00+01:00"},
    }
    world.edit_event(world.live[0].google_event_id or "", **times)
    assert kinds(world.run()) == [UpdateAdvoware]
    record = world.advoware[20001]
    assert [record[name] for name in ("text", "notiz", "ort", "datum")] == [
        "Termin 20001",
        "Akte",
        "LG",
        "2026-03-05",
    ]
    assert world.plan() == []


def test_text_typed_into_an_anonymised_event_that_was_moved_as_well_is_removed_at_once() -> (
    None
):
    world = synced(replace(LAST_CHANGE, anonymise=True))
    event_id = world.live[0].google_event_id or ""
    times = {
        "start": {"dateTime": "2026-03-05T08:00:00+01:00"},
        "end": {"dateTime": "2026-03-05T09:00:00+01:00"},
    }
    world.edit_event(event_id, summary="Mandant", **times)
    world.run(full=False)
    assert (world.advoware[20001]["datum"], world.advoware[20001]["text"]) == (
        "2026-03-05",
        "Termin 20001",
    )
    assert world.google[event_id]["summary"] == "Advoware"
    assert world.plan() == []


@pytest.mark.parametrize("properties", ["kept", "dropped"])
def test_text_typed_into_an_anonymised_event_is_removed_and_does_not_reach_advoware(
    properties: str,
) -> None:
    world = synced(replace(LAST_CHANGE, anonymise=True))
    event_id = world.live[0].google_event_id or ""
    world.edit_event(
        event_id,
        summary="Mandant",
        **({"extendedProperties": None} if properties == "dropped" else {}),
    )
    assert kinds(world.run()) == [UpdateGoogle]
    assert world.google[event_id]["summary"] == "Advoware"
    assert world.plan() == []


# -- properties -----------------------------------------------------------------------------------------------------

NIGHTS = ["2026-03-29", "2026-10-25", "2027-03-28", "2026-03-02", "2026-07-01"]
settings_of = st.builds(
    lambda strategy, allowed, protection, anonymise: replace(
        SETTINGS,
        strategy=strategy,
        advoware_write_allowed=allowed,
        write_protection=protection,
        anonymise=anonymise,
    ),
    st.sampled_from(["source_system_wins", "last_change_wins"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
edits = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(
                    "termin",
                    "event",
                    "text",
                    "summary",
                    "move",
                    "shift",
                    "private",
                    "drop",
                    "cancel",
                    "series",
                ),
                *("other", "absence", "whole", "repeat", "strip"),
            ]
        ),
        st.integers(0, 20),
        st.sampled_from(NIGHTS),
        st.sampled_from(["01:30", "02:30", "10:00", "23:45"]),
    ),
    max_size=12,
)


def carry_out(world: World, edit: tuple[str, int, str, str]) -> None:
    """One thing that people do; nothing if there is nothing to do it to."""
    kind, number, day, clock = edit
    own = sorted(world.advoware)
    there = sorted(
        event_id
        for event_id, event in world.google.items()
        if event["status"] != "cancelled"
    )
    fr_nr = own[number % len(own)] if own else None
    event_id = there[number % len(there)] if there else None
    start = datetime.fromisoformat(f"{day}T{clock}")
    times = {
        side: {"dateTime": moment.isoformat(), "timeZone": "Europe/Berlin"}
        for side, moment in (("start", start), ("end", start + timedelta(minutes=45)))
    }
    if kind == "termin":
        world.enter_termin(
            datum=day, uhrzeitVon=clock, uhrzeitBis=None, text=f"T{number % 3}"
        )
    elif kind == "event":
        world.enter_event(
            f"person{number}",
            **times,
            extendedProperties=None,
            recurrence=None,
            visibility=None,
        )
    elif fr_nr is not None and kind in {
        "text",
        "move",
        "private",
        "drop",
        "series",
        "other",
        "absence",
    }:
        if kind == "drop":
            del world.advoware[fr_nr]
            return
        changes: dict[str, dict[str, Any]] = {
            "text": {"text": f"T{number}"},
            "move": {"datum": day, "uhrzeitVon": clock, "uhrzeitBis": None},
            "private": {"privat": number % 2},
            "series": {
                "dauertermin": 1,
                "turnus": 1,
                "turnusArt": number % 5,
                "datumBis": "2027-12-31",
            },
            "other": {"anwalt": ["AI", "", "SB"][number % 3]},
            "absence": {"abwesenheit": number % 2, "datum": day, "datumBis": None},
        }
        world.edit_termin(fr_nr, **changes[kind])
    elif event_id is not None and kind == "cancel":
        world.delete_event(event_id)
    elif event_id is not None:
        rules = [
            None,
            ["RRULE:FREQ=WEEKLY"],
            ["RRULE:FREQ=MONTHLY;COUNT=5"],
            ["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"],
        ]
        next_day = (start + timedelta(days=1)).date().isoformat()
        event_changes: dict[str, dict[str, Any]] = {
            "summary": {"summary": f"Geheim {number}"},
            "shift": {**times, "recurrence": None},
            "whole": {
                "start": {"date": day},
                "end": {"date": next_day},
                "recurrence": None,
            },
            "repeat": {"recurrence": rules[number % 4]},
            "strip": {"extendedProperties": None},
        }
        world.edit_event(event_id, **event_changes.get(kind, {}))


@given(settings_of, edits, edits, settings_of, st.booleans())
@example(
    # The deleted Termin's number is not that of the one which is created in the same run.
    replace(WRITING, anonymise=True),
    [("event", 1, "2026-03-29", "01:30")],
    [("event", 0, "2026-03-29", "02:30"), ("drop", 0, "2026-03-29", "01:30")],
    replace(WRITING, anonymise=True),
    True,
)
@example(
    # Text typed into an anonymised event that wins, found by one incremental listing only.
    replace(WRITING, anonymise=True),
    [("event", 0, "2026-03-29", "01:30")],
    [("summary", 0, "2026-03-29", "01:30"), ("move", 0, "2026-03-29", "01:30")],
    replace(WRITING, anonymise=True),
    False,
)
def test_whatever_people_do_the_sync_comes_to_rest(
    settings: PlanSettings,
    first: list[Any],
    second: list[Any],
    changed: PlanSettings,
    full: bool,
) -> None:
    world = World(settings)
    for listing, changes, now in ((True, first, settings), (full, second, changed)):
        world.settings = now
        for edit in changes:
            carry_out(world, edit)
        for _ in range(3):
            world.run(full=listing)
        left = world.plan(full=listing)
        assert set(kinds(left)) <= {HoldDeletions}
        if (
            not left
            and not now.write_protection
            and settings.advoware_write_allowed
            and now.advoware_write_allowed
        ):
            assert_both_sides_agree(world)


def assert_both_sides_agree(world: World) -> None:
    """Every pair that is not left alone shows in Google what Advoware says, and nothing is without a pair."""
    pairs = [pair for pair in world.live if not pair.untranslatable]
    termine = {
        termin.fr_nr: termin for termin in world.termine() if termin.belongs_to("SB")
    }
    for pair in pairs:
        termin, google = (
            termine[pair.advoware_frnr or 0],
            world.event_of(pair.google_event_id or ""),
        )
        assert google is not None
        assert isinstance(termin.event, NormalisedEvent)
        assert isinstance(google.event, NormalisedEvent)
        assert content_hash(world.settings.shown(termin.event)) == content_hash(
            google.event
        )
        assert not google.has_foreign_text
    assert termine.keys() <= {pair.advoware_frnr for pair in world.live}
    people = {
        event_id
        for event_id, event in world.google.items()
        if event["status"] != "cancelled"
    }
    assert people <= {pair.google_event_id for pair in world.live}


@given(settings_of, edits, edits, st.booleans())
def test_write_protection_forbids_every_write_to_advoware(
    settings: PlanSettings, first: list[Any], second: list[Any], full: bool
) -> None:
    world = World(replace(settings, write_protection=False))
    for edit in first:
        carry_out(world, edit)
    world.run()
    world.settings = replace(settings, write_protection=True)
    for edit in second:
        carry_out(world, edit)
    assert not [
        action
        for action in world.plan(full=full)
        if isinstance(action, ADVOWARE_WRITES)
    ]


@given(settings_of, edits, edits, st.booleans())
def test_no_calendar_decides_about_termine_of_all_employees(
    settings: PlanSettings, first: list[Any], second: list[Any], full: bool
) -> None:
    world = World(settings)
    for edit in first:
        carry_out(world, edit)
    world.run()
    for edit in second:
        carry_out(world, edit)
    for action in world.plan(full=full):
        if isinstance(action, UpdateAdvoware | DeleteAdvoware):
            assert not action.termin.is_for_all_employees


@given(settings_of, edits, edits, st.booleans())
def test_text_of_an_anonymised_event_never_reaches_advoware(
    settings: PlanSettings, first: list[Any], second: list[Any], full: bool
) -> None:
    world = World(replace(settings, anonymise=True, strategy="last_change_wins"))
    for edit in first:
        carry_out(world, edit)
    for _ in range(3):
        world.run()
    hidden = {pair.google_event_id for pair in world.live if pair.advoware_frnr}
    for edit in second:
        if edit[0] != "event":
            carry_out(world, edit)
    for action in world.plan(full=full):
        if isinstance(action, PostAdvoware | RecreateAdvoware):
            assert action.google.id not in hidden
        if isinstance(action, UpdateAdvoware):
            assert action.event.anonymised
            body = changed_termin(action.event, action.termin.record)
            assert [body[name] for name in ("text", "notiz", "ort")] == [
                action.termin.record[name] for name in ("text", "notiz", "ort")
            ]


@example(  # a row that says only that its Termin cannot be read
    WRITING,
    [("termin", 0, "2026-03-29", "01:30"), ("series", 0, "2026-03-29", "01:30")],
    True,
    False,
)
@given(settings_of, edits, st.booleans(), st.booleans())
def test_no_listing_deletes_anything_without_a_direct_read(
    settings: PlanSettings, first: list[Any], advoware_empty: bool, google_empty: bool
) -> None:
    world = World(settings)
    for edit in first:
        carry_out(world, edit)
    world.run()
    termine = [] if advoware_empty else world.termine()[::2]
    events = [] if google_empty else world.listing(full=True).events[::2]
    for full in (True, False):
        actions = make_plan(
            settings, termine, GoogleListing(events, full), world.pairs.values()
        )
        deletions = [
            action
            for action in actions
            if isinstance(action, DeleteGoogle | DeleteAdvoware | SoftDelete)
        ]
        # A row without event is nothing that could be lost.
        assert [a for a in deletions if a.pair.google_event_id is not None] == []


@given(settings_of, edits)
def test_what_a_direct_read_finds_is_not_deleted(
    settings: PlanSettings, first: list[Any]
) -> None:
    world = World(settings)
    for edit in first:
        carry_out(world, edit)
    for _ in range(3):
        world.run()
    found = Confirmations(
        {fr_nr: read_termin(record) for fr_nr, record in world.advoware.items()},
        {
            event_id: read_google_event(event)
            for event_id, event in world.google.items()
        },
    )
    actions = make_plan(
        settings, [], GoogleListing([], True), world.pairs.values(), found
    )
    assert not [
        a for a in actions if isinstance(a, DeleteGoogle | DeleteAdvoware | SoftDelete)
    ]


# -- outside the window ---------------------------------------------------------------------------------------------


def long_ago(settings: PlanSettings = WRITING, count: int = 1, **values: Any) -> World:
    """Pairs whose days the window has left behind."""
    world = synced(settings, count, **values)
    later = replace(settings, first_day=date(2026, 6, 1), last_day=date(2027, 6, 1))
    world.settings = later
    assert world.plan() == []
    return world


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("change", [{"anonymise": True}, {"full_content": False}])
def test_what_is_over_is_hidden_by_its_fingerprint_alone(
    change: dict[str, Any], full: bool
) -> None:
    world = long_ago()
    world.settings = replace(world.settings, **change)
    assert kinds(world.run(full=full)) == [HideGoogle]
    assert world.plan(full=full) == []
    [event] = world.google.values()
    assert (event["summary"], event["visibility"]) == ("Advoware", "private")


def test_a_run_that_lists_all_days_follows_what_happens_to_what_is_over() -> None:
    world = long_ago(count=4)
    world.edit_termin(20001, privat=1)
    world.edit_termin(20002, anwalt="AI")
    del world.advoware[20003]
    assert world.plan() == []
    world.settings = replace(world.settings, listed_from=date(2026, 1, 1))
    assert sorted(kind.__name__ for kind in kinds(world.run())) == [
        "DeleteGoogle",
        "DeleteGoogle",
        "UpdateGoogle",
    ]
    assert world.plan() == []
    shown = [
        read_google_event(event).shows_text
        for event in world.google.values()
        if event["status"] == "confirmed"
    ]
    assert sorted(shown) == [False, True]


def test_what_is_over_and_deleted_in_google_is_not_brought_back() -> None:
    world = long_ago()
    world.delete_event(world.live[0].google_event_id or "")
    assert kinds(world.run()) == [Unlink]
    assert world.live[0].google_event_id is None
    world.settings = replace(
        world.settings, listed_from=date(2026, 1, 1), anonymise=True
    )
    assert world.plan() == []


# -- marks without a pair -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [WRITING, LAST_CHANGE])
def test_the_second_half_of_a_split_series_is_a_new_event(
    settings: PlanSettings,
) -> None:
    world = synced(settings, **SERIES)
    event_id = world.live[0].google_event_id or ""
    half = {
        **world.google[event_id],
        "start": {"dateTime": "2026-06-01T10:00:00+02:00"},
    }
    half |= {"end": {"dateTime": "2026-06-01T11:00:00+02:00"}}
    world.edit_event("second0half", **half)
    world.edit_event(event_id, recurrence=["RRULE:FREQ=WEEKLY;UNTIL=20260531T215959Z"])
    world.settle()
    new = [record for fr_nr, record in world.advoware.items() if fr_nr != 20001]
    assert [record["datum"] for record in new] == ["2026-06-01"]
    assert len(world.live) == 2


def test_without_permission_the_marks_of_a_copy_are_taken_off_and_it_waits() -> None:
    world = synced(SETTINGS)
    world.edit_event(
        "copy0of0ours",
        **{**world.google[world.live[0].google_event_id or ""], "summary": "Kopie"},
    )
    assert kinds(world.run()) == [TakeMarksOff]
    assert kinds(world.run()) == [RememberPending]
    assert world.plan() == []
    assert "extendedProperties" not in world.google["copy0of0ours"]


def test_what_was_brought_back_from_the_bin_is_a_persons_event() -> None:
    world = synced(count=2)
    event_id = google_event_id(20001, SETTINGS.calendar_id)
    del world.advoware[20001]
    world.settle()
    world.edit_event(event_id, status="confirmed")
    world.settle()
    assert world.google[event_id]["status"] == "confirmed"
    assert sorted(record["text"] for record in world.advoware.values()) == [
        "Termin 20001",
        "Termin 20002",
    ]


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("settings", [LAST_CHANGE, WRITING])
def test_no_termin_goes_because_the_original_of_a_copy_went(
    settings: PlanSettings, marks: bool
) -> None:
    world = posted(settings)
    copy = {**world.google["person1"], "summary": "Kopie"}
    if not marks:
        copy["extendedProperties"] = None
    world.edit_event("copy1", **copy)
    world.delete_event("person1")
    world.settle()
    assert [record["text"] for record in world.advoware.values()] == ["Kopie"]
    assert world.google["copy1"]["status"] == "confirmed"


def test_of_two_copies_one_takes_the_place_of_the_original() -> None:
    world = posted(LAST_CHANGE)
    for number in (1, 2):
        world.edit_event(
            f"copy{number}", **{**world.google["person1"], "summary": f"Kopie {number}"}
        )
    world.delete_event("person1")
    world.settle()
    assert sorted(record["text"] for record in world.advoware.values()) == [
        "Kopie 1",
        "Kopie 2",
    ]
    assert 1 in world.advoware


# -- guards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write_protection", [False, True])
def test_what_would_be_made_again_because_a_list_lacks_it_is_held_like_deletions(
    write_protection: bool,
) -> None:
    world = World()
    for number in range(30):
        world.enter_event(f"person{number}")
    world.settle()
    world.settings = replace(WRITING, write_protection=write_protection)
    lost = {fr_nr: world.advoware.pop(fr_nr) for fr_nr in list(world.advoware)[:7]}
    [action] = world.plan()
    assert action == HoldDeletions("too_many", 7, 30)
    released = frozenset(action.sync_ids)
    world.settings = replace(world.settings, released=released)
    assert len(world.plan()) == 7
    world.settings = replace(world.settings, released=released - {min(released)})
    assert world.plan() == [action]
    world.advoware |= lost
    assert world.plan() == []


def test_events_that_a_list_of_google_lacks_are_held_as_well() -> None:
    world = synced(count=30)
    for event in list(world.google.values())[:7]:
        world.delete_event(event["id"])
    assert world.plan() == [HoldDeletions("too_many", 7, 30)]


def test_what_is_held_is_hidden_if_it_must_be() -> None:
    world = synced(count=10)
    for number in range(6):
        world.edit_termin(20001 + number, anwalt="AI")
    own = world.termine()
    held, *hidden = make_plan(
        world.settings, own, world.listing(full=True), world.pairs.values()
    )
    assert held == HoldDeletions("too_many", 6, 10)
    assert kinds(hidden) == [HideGoogle] * 6


# -- isolation ------------------------------------------------------------------------------------------------------


def test_one_pair_with_which_planning_fails_does_not_stop_the_others() -> None:
    world = synced(count=3)
    world.edit_termin(20002, text="Neu")
    broken = next(pair for pair in world.live if pair.advoware_frnr == 20001)
    world.pairs[broken.sync_id] = replace(broken, google=None)  # type: ignore[arg-type]
    assert kinds(world.plan()) == [NotPlanned, UpdateGoogle]


# -- visibility -----------------------------------------------------------------------------------------------------


def test_a_copy_that_an_earlier_version_made_private_is_opened_once() -> None:
    world = synced()
    event_id = world.live[0].google_event_id or ""
    world.edit_event(event_id, visibility="private")
    assert kinds(world.run()) == [UpdateGoogle]
    assert world.google[event_id]["visibility"] == "default"
    assert world.plan() == []


def test_a_private_event_of_a_person_keeps_its_title() -> None:
    world = World()
    world.enter_event(visibility="private", summary="Zahnarzt")
    world.settle()
    assert [
        (record["text"], record["privat"]) for record in world.advoware.values()
    ] == [("Zahnarzt", 1)]
    event = world.google["person1"]
    assert (event["summary"], event["visibility"]) == ("Zahnarzt", "private")
    assert world.plan(full=False) == []
    world.edit_event("person1", visibility="default")
    assert kinds(world.run()) == [UpdateGoogle]
    assert world.google["person1"]["summary"] == "Advoware"
    world.settle()


def test_a_persons_event_whose_termin_becomes_private_is_hidden() -> None:
    world = posted()
    world.edit_termin(1, privat=1)
    assert kinds(world.run(full=False)) == [UpdateGoogle]
    assert world.google["person1"]["summary"] == "Advoware"
    world.settle()


@pytest.mark.parametrize("settings", [WRITING, LAST_CHANGE])
def test_hashes_of_an_earlier_version_are_no_edits(settings: PlanSettings) -> None:
    world = synced(settings, count=2)
    world.enter_event()
    world.settle()
    for pair in world.live:
        older = [
            replace(side, content_hash=(side.content_hash or "")[2:])
            for side in (pair.advoware, pair.google)
        ]
        world.pairs[pair.sync_id] = replace(pair, advoware=older[0], google=older[1])
    world.edit_event(google_event_id(20002, SETTINGS.calendar_id), summary="Umbenannt")
    written = {kind for kind in kinds(world.run()) if kind is not RecordFingerprints}
    assert written == {UpdateGoogle if settings is WRITING else UpdateAdvoware}
    assert world.plan() == []


def test_a_list_that_looks_dangerous_stays_so_whatever_single_reads_say() -> None:
    world = synced(count=10)
    listed = [termin for termin in world.termine() if termin.fr_nr > 20007]
    read = {
        fr_nr: world.termin_of(fr_nr) if fr_nr > 20003 else None
        for fr_nr in range(20001, 20008)
    }
    plan = make_plan(
        world.settings,
        listed,
        world.listing(full=True),
        world.pairs.values(),
        Confirmations(read, {}),
    )
    assert plan == [HoldDeletions("too_many", 7, 10)]
