"""What must hold in every scenario of the calendar sync."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from calendar_scenario import KUERZEL, Scenario
from calendar_world import LEAK, CalendarWorld, property_of, token_of

from services.advoware_models import BERLIN
from services.calendar_sync.mapping import ANONYMISED_TITLE, read_google_event, read_termin
from services.calendar_sync.model import NormalisedEvent, Pair, Termin, content_hash
from services.calendar_sync.observation import PlanSettings


async def play(world: CalendarWorld, scenario: Scenario) -> None:
    """Play a scenario and check everything that must hold."""
    await world.begin(scenario.start, scenario.configuration)
    for kuerzel in KUERZEL:
        await world.run(kuerzel)
    for step in scenario.steps:
        world.forget_journals()
        was_protected = world.configuration.write_protection
        await world.play(step)
        if was_protected:
            assert not [write for write in world.writes() if "Termine" in write], "written in spite of the protection"
        assert_no_text_came_back(world)
    await world.settle()
    await assert_both_sides_agree(world)
    assert_nothing_is_lost(world)
    assert_nothing_is_there_twice(world)
    world.forget_journals()
    for kuerzel in KUERZEL:
        await world.run(kuerzel)
    assert world.writes() == [], "the sync does not come to rest"


def assert_no_text_came_back(world: CalendarWorld) -> None:
    """Advoware holds neither our placeholder nor what people typed into events whose text we hide."""
    for record in world.termine():
        assert record["text"] != ANONYMISED_TITLE
        assert LEAK not in f"{record['text']}{record['notiz']}{record['ort']}"


def assert_nothing_is_there_twice(world: CalendarWorld) -> None:
    """No appointment has two Termine, or two events in one calendar."""
    excused = world.ledger.untraceable
    assert_single(token for record in world.termine() if (token := token_of(record["text"])) not in excused)
    for kuerzel in KUERZEL:
        events = [event for event in world.events(kuerzel) if "recurringEventId" not in event]
        assert_single(property_of(event, "advoware_frnr") for event in events)
        assert_single(token for event in events if (token := token_of(event.get("summary"))) not in excused)


def assert_single(names: Iterable[str | None]) -> None:
    doubles = {name: count for name, count in Counter(names).items() if name is not None and count > 1}
    assert not doubles


def assert_nothing_is_lost(world: CalendarWorld) -> None:
    """What nobody deleted is still there."""
    in_advoware = {token_of(record["text"]) for record in world.termine()}
    live = {(kuerzel, event["id"]) for kuerzel in KUERZEL for event in world.events(kuerzel)}
    in_google = {token for key, token in world.ledger.events.items() if key in live}
    for token, origin in world.ledger.origin.items():
        if token not in world.ledger.dropped:
            assert token in in_advoware or (origin != "advoware" and token in in_google), f"{token} is lost"


async def assert_both_sides_agree(world: CalendarWorld) -> None:
    """Every calendar shows what Advoware says (section 09), and what people entered in it is in Advoware."""
    store = await world.store()
    for kuerzel in KUERZEL:
        pairs = await store.load_pairs(kuerzel)
        await _Agreement(world, kuerzel, pairs).check()


class _Agreement:
    """One employee's side of things, after the sync came to rest."""

    def __init__(self, world: CalendarWorld, kuerzel: str, pairs: list[Pair]) -> None:
        self.world, self.kuerzel = world, kuerzel
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
        self.by_fr_nr = {pair.advoware_frnr: pair for pair in pairs if pair.advoware_frnr}
        self.by_event = {pair.google_event_id: pair for pair in pairs if pair.google_event_id}
        termine = [read_termin(record) for record in world.termine() if record["frNr"] > 0]
        self.termine = {termin.fr_nr: termin for termin in termine if termin.belongs_to(kuerzel)}
        everything = world.events(kuerzel)
        self.excepted = {event.get("recurringEventId") for event in everything}
        self.events = {event["id"]: event for event in everything if "recurringEventId" not in event}

    async def check(self) -> None:
        for termin in self.termine.values():
            if isinstance(termin.event, NormalisedEvent) and self.in_window(termin.event):
                self.check_termin(termin, termin.event)
        for event_id, resource in self.events.items():
            self.check_event(event_id, resource)

    def in_window(self, event: NormalisedEvent) -> bool:
        return self.settings.covers(event.first_day, event.last_day)

    def check_termin(self, termin: Termin, content: NormalisedEvent) -> None:
        pair = self.by_fr_nr.get(termin.fr_nr)
        assert pair is not None, f"{self.kuerzel} has nothing of Termin {termin.fr_nr}"
        resource = self.events.get(pair.google_event_id or "")
        assert resource is not None, f"{self.kuerzel} lacks the event of Termin {termin.fr_nr}"
        if pair.untranslatable is not None:
            return
        google = read_google_event(resource)
        assert isinstance(google.event, NormalisedEvent)
        shown = self.settings.shown(content)
        assert content_hash(shown) == content_hash(google.event), (shown, google.event)
        if shown.anonymised:
            texts = [resource.get(name) for name in ("summary", "description", "location")]
            assert texts == [ANONYMISED_TITLE, None, None]

    def check_event(self, event_id: str, resource: dict[str, Any]) -> None:
        google, pair = read_google_event(resource), self.by_event.get(event_id)
        if not isinstance(google.event, NormalisedEvent) or event_id in self.excepted:
            return
        if not self.in_window(google.event):
            return
        assert pair is not None, f"{self.kuerzel}'s event {event_id} is unknown to the sync"
        if pair.untranslatable is None:
            is_known = pair.advoware_frnr in self.termine
            may_wait = pair.advoware_frnr is None and not self.may_post()
            assert is_known or may_wait, f"{self.kuerzel}'s event {event_id} has no Termin"

    def may_post(self) -> bool:
        return not self.world.configuration.write_protection
