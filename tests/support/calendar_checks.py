"""What must hold in every scenario of the calendar sync."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from calendar_clock import comparable, spans_of_event, spans_of_termin
from calendar_scenario import KUERZEL, Scenario, Sync, SyncAll, checks_to_make
from calendar_world import LEAK, CalendarWorld, property_of, token_of

from services.calendar_sync.mapping import (
    ANONYMISED_TITLE,
    read_google_event,
    read_termin,
)
from services.calendar_sync.model import (
    MOVED_AWAY,
    NormalisedEvent,
    Pair,
    Termin,
    content_hash,
)
from services.calendar_sync.view import PlanSettings
from services.values.advoware_protocol import BERLIN


async def play(world: CalendarWorld, scenario: Scenario) -> None:
    """Play a scenario and check everything that must hold."""
    checks = checks_to_make()
    await world.begin(scenario.start, scenario.configuration, scenario.readings)
    for kuerzel in KUERZEL:
        await world.run(kuerzel)
    for step in scenario.steps:
        world.forget_journals()
        was_protected = world.configuration.write_protection
        hidden = await hidden_events(world)
        await world.play(step)
        if was_protected:
            assert not [write for write in world.writes() if "Termine" in write], (
                "written in spite of the protection"
            )
        assert_no_text_came_back(world, checks)
        is_run_alone = isinstance(step, SyncAll) or (
            isinstance(step, Sync) and step.meanwhile is None
        )
        if "hidden stays hidden" in checks and is_run_alone:
            await assert_hidden_stays_hidden(world, hidden)
        if "no run ended" in checks:
            assert not world.ended, "something odd has ended a run"
    await world.settle()
    await assert_both_sides_agree(world)
    await assert_nothing_is_lost(world)
    await assert_nothing_is_there_twice(world)
    assert_what_was_handed_on_stays_so(world)
    if "privacy" in checks:
        assert_private_stays_private(world)
        await assert_no_hidden_text(world)
    world.forget_journals()
    for kuerzel in KUERZEL:
        await world.run(kuerzel)
    assert world.writes() == [], f"the sync does not come to rest: {world.writes()}"


# -- privacy --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """An event or an occurrence in an employee's calendar that rules of privacy apply to."""

    kuerzel: str
    event_id: str
    must_hide: bool
    texts: tuple[str, ...]  #: what its readers can read of an appointment

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return self.kuerzel, self.event_id


async def shown_events(world: CalendarWorld) -> list[Shown]:
    """What is in the employees' calendars and is the sync's: with a pair, or made by it."""
    shown = []
    records = {record["frNr"]: record for record in world.termine()}
    hides_everything = world.configuration.anonymise or not world.full_content
    store = await world.store()
    for kuerzel in KUERZEL:
        pairs = {pair.google_event_id: pair for pair in await store.load_pairs(kuerzel)}
        for resource in world.events(kuerzel):
            pair = pairs.get(resource.get("recurringEventId", resource["id"]))
            fr_nr = pair.advoware_frnr if pair else None
            if pair is None:
                if resource["creator"]["email"] != world.account_name:
                    continue
                mark = property_of(resource, "advoware_frnr")
                fr_nr = int(mark) if mark else None
            record = records.get(fr_nr or 0)
            privat = record is not None and record["privat"] == 1
            # What people enter as private in Google keeps its title there.
            is_own = (
                pair is not None
                and pair.source_system == "google"
                and resource.get("visibility") == "private"
            )
            must_hide = (hides_everything and record is not None) or (
                privat and not is_own
            )
            shown.append(
                Shown(kuerzel, resource["id"], must_hide, tuple(_texts(resource)))
            )
    return shown


def _texts(resource: dict[str, Any]) -> Iterator[str]:
    for name in ("summary", "description", "location"):
        text = resource.get(name)
        if (
            text and text.casefold() != ANONYMISED_TITLE.casefold()
        ):  # Google may store it in another spelling
            yield text


async def hidden_events(world: CalendarWorld) -> set[tuple[str, str]]:
    """The events whose text is hidden, as it must be."""
    return {
        event.key
        for event in await shown_events(world)
        if event.must_hide and not event.texts
    }


async def assert_hidden_stays_hidden(
    world: CalendarWorld, hidden: set[tuple[str, str]]
) -> None:
    """A run shows no text that was hidden and still must be."""
    leaks = [
        event
        for event in await shown_events(world)
        if event.key in hidden and event.must_hide and event.texts
    ]
    assert not leaks, f"a run shows what was hidden: {leaks}"


async def assert_no_hidden_text(world: CalendarWorld) -> None:
    """No text in Google that the rules hide, inside or outside the window, on any event of the sync."""
    leaks = [
        event for event in await shown_events(world) if event.must_hide and event.texts
    ]
    assert not leaks, f"text that must be hidden: {leaks}"


# -- nothing lost, nothing double -----------------------------------------------------------------------------------


def assert_no_text_came_back(world: CalendarWorld, checks: frozenset[str]) -> None:
    """Advoware holds neither our placeholder nor what people typed into events whose text we hide."""
    for record in world.termine():
        assert "no placeholder" not in checks or record["text"] != ANONYMISED_TITLE, (
            "our placeholder is in Advoware"
        )
        texts = f"{record['text']}{record['notiz']}{record['ort']}"
        is_own = record["text"] in world.ledger.typed_in_copies
        assert is_own or LEAK not in texts, "text of a hidden event is in Advoware"


async def assert_nothing_is_there_twice(world: CalendarWorld) -> None:
    """No appointment has two Termine, or two events in one calendar."""
    excused = world.ledger.untraceable | world.ledger.doubles
    store = await world.store()
    assert_single(
        token
        for record in world.termine()
        if (token := token_of(record["text"])) not in excused
    )
    for kuerzel in KUERZEL:
        events = [
            event for event in world.events(kuerzel) if "recurringEventId" not in event
        ]
        # A person's copy may keep our marks as long as it is outside the window, and a hidden one while it
        # cannot become a Termin: they alone name the Termin that knows its text.
        rows = [
            pair
            for pair in await store.load_pairs(kuerzel)
            if pair.advoware_frnr is None
        ]
        waiting = {
            pair.google_event_id for pair in rows if pair.untranslatable is not None
        }
        waiting |= await _unknown_and_over(world, kuerzel, events)
        events = [event for event in events if event["id"] not in waiting]
        own = [
            event for event in events if event["creator"]["email"] == world.account_name
        ]
        assert_single(property_of(event, "advoware_frnr") for event in own)
        assert_single(
            token
            for event in events
            if (token := token_of(event.get("summary"))) not in excused
        )


def assert_private_stays_private(world: CalendarWorld) -> None:
    """What people have made of an event that they keep private is private in Advoware, too."""
    known = world.ledger.private - world.ledger.doubles
    for record in world.termine():
        if token_of(record["text"]) in known:
            assert record["privat"] == 1, f"all may read Termin {record['frNr']}"


def assert_what_was_handed_on_stays_so(world: CalendarWorld) -> None:
    """A Termin is the employee's to whom a person has given it last."""
    for record in world.termine():
        to = world.ledger.given.get(record["frNr"], record["anwalt"])
        assert record["anwalt"] == to, f"Termin {record['frNr']} is not {to}'s any more"


async def _unknown_and_over(
    world: CalendarWorld, kuerzel: str, events: Iterable[dict[str, Any]]
) -> set[str]:
    """The ids of events without a row that were over before the window began: no run has ever had them in it."""
    store = await world.store()
    known = {pair.google_event_id for pair in await store.load_pairs(kuerzel)}
    days_back = world.resources.settings.calendar_sync.days_back
    day = world.now.astimezone(BERLIN).date()
    first_day = day.fromordinal(day.toordinal() - days_back)
    over = set()
    for resource in events:
        content = read_google_event(resource).event
        is_over = isinstance(content, NormalisedEvent) and content.last_day < first_day
        if is_over and resource["id"] not in known:
            over.add(resource["id"])
    return over


def assert_single(names: Iterable[str | None]) -> None:
    doubles = {
        name: count
        for name, count in Counter(names).items()
        if name is not None and count > 1
    }
    assert not doubles, f"there twice: {sorted(doubles)}"


async def assert_nothing_is_lost(world: CalendarWorld) -> None:
    """What no one deleted is still there, or is kept where it was typed into a hidden event."""
    kept = await _kept_from_hidden(world)
    in_advoware = {token_of(record["text"]) for record in world.termine()}
    live = {
        (kuerzel, event["id"]): event
        for kuerzel in KUERZEL
        for event in world.events(kuerzel)
    }
    in_google = {token for key, token in world.ledger.events.items() if key in live}
    for token, origin in world.ledger.origin.items():
        if token not in world.ledger.dropped | kept:
            assert token in in_advoware or (
                origin != "advoware" and token in in_google
            ), f"{token} is lost"


async def _kept_from_hidden(world: CalendarWorld) -> set[str | None]:
    """What was typed into copies of hidden events that took their originals' place."""
    store = await world.store()
    return {
        token_of(str(overwritten.resource.get("summary")))
        for overwritten in await store.overwritten(datetime.fromtimestamp(0, UTC))
        if read_google_event(overwritten.resource).has_foreign_text
    }


async def assert_both_sides_agree(world: CalendarWorld) -> None:
    """Every calendar shows what Advoware says (section 09), and what people entered in it is in Advoware."""
    store = await world.store()
    for kuerzel in KUERZEL:
        pairs = await store.load_pairs(kuerzel)
        unclear = await titles_of_unclear_creates(world, kuerzel)
        await _Agreement(world, kuerzel, pairs, unclear).check()


async def titles_of_unclear_creates(world: CalendarWorld, kuerzel: str) -> set[str]:
    """The appointments (tokens) of which no one can know whether they were created, because a person has moved them.

    They wait for a person, and the run says so.
    """
    store, calendar = await world.store(), world.calendar(kuerzel)
    intents = await store.open_intents(kuerzel)
    if not intents or calendar is None:
        return set()
    summary = await world.run(kuerzel)
    if not any("CreateUnclear" in error for error in summary.errors):
        return set()
    waiting = {intent.google_event_id for intent in intents}
    unclear: set[str | None] = set()
    for resource in world.events(kuerzel):
        if resource["id"] in waiting:
            unclear.add(token_of(resource.get("summary")))
            unclear |= _on_the_day_of(world, resource)
    return {token for token in unclear if token is not None}


def _on_the_day_of(world: CalendarWorld, resource: dict[str, Any]) -> set[str | None]:
    """The Termine that may be what was created of this event, with another text or at another time by now."""
    event = read_google_event(resource).event
    tokens: set[str | None] = set()
    if not isinstance(event, NormalisedEvent):
        return tokens
    for record in world.termine():
        content = read_termin(record).event
        if (
            isinstance(content, NormalisedEvent)
            and content.first_day == event.first_day
        ):
            tokens.add(token_of(record["text"]))
    return tokens


class _Agreement:
    """One employee's side of things, after the sync came to rest."""

    def __init__(
        self,
        world: CalendarWorld,
        kuerzel: str,
        pairs: list[Pair],
        unclear: set[str],
    ) -> None:
        self.world, self.kuerzel, self.unclear = world, kuerzel, unclear
        day = world.now.astimezone(BERLIN).date()
        sync = world.resources.settings.calendar_sync
        self.settings = PlanSettings(
            kuerzel,
            "",
            first_day=day.fromordinal(day.toordinal() - sync.days_back),
            last_day=day.fromordinal(day.toordinal() + sync.days_ahead),
            full_content=world.full_content,
            anonymise=world.configuration.anonymise,
        )
        self.by_fr_nr = {
            pair.advoware_frnr: pair for pair in pairs if pair.advoware_frnr
        }
        self.by_event = {
            pair.google_event_id: pair for pair in pairs if pair.google_event_id
        }
        termine = [
            read_termin(record) for record in world.termine() if record["frNr"] > 0
        ]
        self.termine = {
            termin.fr_nr: termin for termin in termine if termin.belongs_to(kuerzel)
        }
        self.checks = checks_to_make()
        self.calendar = world.calendar(kuerzel)
        everything = world.events(kuerzel)
        self.excepted = {event.get("recurringEventId") for event in everything}
        self.events = {
            event["id"]: event
            for event in everything
            if "recurringEventId" not in event
        }

    async def check(self) -> None:
        for termin in self.termine.values():
            if isinstance(termin.event, NormalisedEvent) and self.in_window(
                termin.event
            ):
                self.check_termin(termin, termin.event)
        for event_id, resource in self.events.items():
            self.check_event(event_id, resource)

    def in_window(self, event: NormalisedEvent) -> bool:
        return self.settings.covers(event.first_day, event.last_day)

    def check_termin(self, termin: Termin, content: NormalisedEvent) -> None:
        token = token_of(termin.record["text"])
        if token in self.world.ledger.odd:
            return
        pair = self.by_fr_nr.get(termin.fr_nr)
        if pair is None and token in self.unclear:
            return
        assert pair is not None, f"{self.kuerzel} has nothing of Termin {termin.fr_nr}"
        if pair.untranslatable in MOVED_AWAY:
            return
        resource = self.events.get(pair.google_event_id or "")
        assert resource is not None, (
            f"{self.kuerzel} lacks the event of Termin {termin.fr_nr}"
        )
        if self.may_differ(termin, pair):
            return
        if "times" in self.checks:
            self.check_times(termin, resource)
        google = read_google_event(resource)
        assert isinstance(google.event, NormalisedEvent), google.event
        is_own_private = (
            pair.source_system == "google"
            and google.is_private
            and not google.event.anonymised
        )
        hides_everything = self.settings.anonymise or not self.settings.full_content
        # What people enter as private in Google keeps its title there.
        shown = (
            content
            if is_own_private and not hides_everything
            else self.settings.shown(content)
        )
        if shown.anonymised:
            assert list(_texts(resource)) == []
        if not self.world.ledger.careless:
            assert content_hash(shown) == content_hash(google.event), (
                shown,
                google.event,
            )

    def may_differ(self, termin: Termin, pair: Pair) -> bool:
        """Whether the event holds what Advoware cannot, and is none of Advoware's."""
        if pair.untranslatable is None:
            return False
        if "source first" not in self.checks:
            return True
        is_from_google = (
            pair.source_system == "google" or pair.sync_strategy == "last_change_wins"
        )
        return is_from_google and not termin.is_for_all_employees

    def check_times(self, termin: Termin, resource: dict[str, Any]) -> None:
        """The clocks in Berlin say the same of both, occurrence by occurrence."""
        assert self.calendar is not None
        until = self.settings.last_day
        event = self.calendar.events[resource["id"]]
        store = self.world.google.world.events
        in_google = comparable(spans_of_event(store, self.calendar, event, until))
        in_advoware = comparable(spans_of_termin(dict(termin.record), until))
        assert in_google[:60] == in_advoware[:60], (
            f"Termin {termin.fr_nr} is at another time in Google"
        )

    def check_event(self, event_id: str, resource: dict[str, Any]) -> None:
        google, pair = read_google_event(resource), self.by_event.get(event_id)
        if not isinstance(google.event, NormalisedEvent) or event_id in self.excepted:
            return
        if not self.in_window(google.event):
            return
        if token_of(resource.get("summary")) in self.unclear:
            return
        assert pair is not None, (
            f"{self.kuerzel}'s event {event_id} is unknown to the sync"
        )
        if pair.untranslatable is None:
            is_known = pair.advoware_frnr in self.termine
            may_wait = pair.advoware_frnr is None and not self.may_post()
            assert is_known or may_wait, (
                f"{self.kuerzel}'s event {event_id} has no Termin"
            )

    def may_post(self) -> bool:
        return not self.world.configuration.write_protection
