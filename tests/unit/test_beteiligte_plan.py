"""The plan for the master data of one Beteiligter, whatever people and systems do to him: nothing is lost, it rests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.espocrm_mapper import (
    BeteiligteMapper,
    shown_by_advoware,
    shown_by_espocrm,
)
from services.values.advoware_protocol import parse_change_time
from services.values.kind import kind_of_espocrm
from services.values.merge import (
    Merge,
    Unknown,
    base_from_json,
    base_to_json,
    compare_after_write,
    only,
    version_member,
)
from services.vmh_sync.beteiligte.plan import (
    Observation,
    Standing,
    change_lines,
    espocrm_after,
    kept_standing,
    kind_problems,
    plan_master_data,
    replaced_problems,
    standing_of_held,
    standing_of_pairs,
    standing_problems,
    without_fields,
)
from services.vmh_sync.store import SyncState

Record = dict[str, Any]
MAPPER = BeteiligteMapper()
ESPOCRM = (
    "rechtsform",
    "salutationName",
    "firstName",
    "lastName",
    "dateOfBirth",
    "firmenname",
    "handelsregisterNummer",
    "handelsregisterArt",
    "registergericht",
)
ADVOWARE = (
    "rechtsform",
    "anrede",
    "vorname",
    "name",
    "geburtsdatum",
    "handelsRegisterNummer",
    "art",
    "registergericht",
)
STORES = {
    "as it is": lambda old, new: new,
    "capitals": lambda old, new: new.upper() if isinstance(new, str) else new,
    "cut": lambda old, new: new[:6] if isinstance(new, str) else new,
    "refused": lambda old, new: old,
}


def _stored(value: Any) -> Any:
    return json.loads(json.dumps(value))


@dataclass
class World:
    """A CBeteiligte and his Beteiligter, and what the sync remembers, writes and reports."""

    store_espocrm: str = "as it is"
    store_advoware: str = "as it is"
    espo: Record = field(default_factory=lambda: {"id": "e1", **dict.fromkeys(ESPOCRM)})
    advo: Record = field(
        default_factory=lambda: {"betNr": 1001, **dict.fromkeys(ADVOWARE)}
    )
    state: SyncState | None = None
    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    lines: list[Any] = field(default_factory=list)
    notices: list[Any] = field(default_factory=list)
    is_clean: bool = False
    writes: int = 0

    def edit(self, side: str, **values: Any) -> None:
        """A person, or the sync in Advoware, stores these values; Advoware notes that in its record."""
        self.now += timedelta(hours=1)
        moment = self.now.isoformat(timespec="seconds")[:19]
        if side == "espocrm":
            self.espo |= {**values, "modifiedAt": moment.replace("T", " ")}
        elif {**self.advo, **values} != self.advo:
            self.advo |= {**values, "geaendertAm": moment, "rowId": f"R{moment}"}

    def sync(
        self, hidden: Iterable[str] = (), hidden_there: Iterable[str] = ()
    ) -> None:
        """One run: rounds until both sides show the fields of one kind. ``hidden`` is what is not shown meanwhile."""
        self.lines, self.notices, self.writes = [], [], 0
        for _ in range(4):
            if not self._round(set(hidden), set(hidden_there)):
                return
        raise AssertionError("it goes on and on")

    def _observe(self, hidden: set[str], hidden_there: set[str]) -> Observation:
        espo = {name: value for name, value in self.espo.items() if name not in hidden}
        advo = {k: v for k, v in self.advo.items() if k not in hidden_there}
        known = base_from_json(self.state.base) if self.state else {}
        if "rechtsform" in known:
            espo.setdefault("rechtsform", known["rechtsform"].espocrm)
        if "name" in known:
            espo = MAPPER.without_doubtful_names(espo, known["name"].espocrm)
        return Observation(espo, advo, self.state)

    def _round(self, hidden: set[str], hidden_there: set[str]) -> bool:
        observed = self._observe(hidden, hidden_there)
        plan = plan_master_data(observed, MAPPER)
        lines = _stored(change_lines(observed, plan, MAPPER))
        self.lines += lines
        self.notices += [line for line in lines if line.get("conflict")]
        standing = standing_of_held(observed, plan, self.now)
        advo, plan, found = self._write_advoware(observed, plan, hidden_there)
        standing = {**kept_standing(observed, plan), **standing, **found}
        problems = [
            *replaced_problems(observed, plan, standing),
            *kind_problems(observed, advo, MAPPER),
        ]
        espo, plan, found = self._write_espocrm(observed, plan, hidden)
        standing |= found
        problems += standing_problems(standing.values(), self.espo, 1001)
        self.notices += [_stored(problem.details.as_json()) for problem in problems]
        self.is_clean = all(item.is_notified_once_only for item in standing.values())
        self._remember(advo, plan, standing)
        return (
            shown_by_espocrm(espo).keys() != shown_by_espocrm(observed.espo).keys()
            or shown_by_advoware(advo).keys() != shown_by_advoware(observed.advo).keys()
        )

    def _write_advoware(
        self, observed: Observation, plan: Merge, hidden: set[str]
    ) -> tuple[Record, Merge, dict[str, Standing]]:
        if not plan.to_advoware:
            return observed.advo, plan, {}
        self.writes += 1
        store = STORES[self.store_advoware]
        sent = MAPPER.to_advoware(dict(plan.to_advoware))
        taken = {name: store(self.advo[name], value) for name, value in sent.items()}
        self.edit("advoware", **taken)
        advo = {name: value for name, value in self.advo.items() if name not in hidden}
        before = MAPPER.comparable_from_advoware(observed.advo)
        shown = MAPPER.comparable_from_advoware(advo)
        refused, altered = compare_after_write(
            plan.to_advoware, before, shown, side="advoware"
        )
        found = {
            **standing_of_pairs(refused, "espocrm", "refused", self.now),
            **standing_of_pairs(altered, "espocrm", "altered", self.now),
        }
        pairs = {**refused, **altered}
        return advo, without_fields(plan, pairs, pairs), found

    def _write_espocrm(
        self, observed: Observation, plan: Merge, hidden: set[str]
    ) -> tuple[Record, Merge, dict[str, Standing]]:
        espo = observed.espo
        kind = kind_of_espocrm(espocrm_after(espo, plan.to_espocrm, MAPPER))
        same = espo if kind == kind_of_espocrm(espo) else None
        sent = MAPPER.to_espocrm(dict(plan.to_espocrm), kind=kind, espo=same)
        if not sent:
            return espo, plan, {}
        self.writes += 1
        store = STORES[self.store_espocrm]
        for name, value in sent.items():
            # The list of legal forms takes them as they are.
            is_list = name == "rechtsform"
            self.espo[name] = value if is_list else store(self.espo[name], value)
        expected = MAPPER.comparable_from_espocrm({**espo, **sent})
        before = MAPPER.comparable_from_espocrm(espo)
        changed = {k: v for k, v in expected.items() if v != before.get(k)}
        now = {k: v for k, v in self.espo.items() if k in sent or k not in hidden}
        shown = MAPPER.comparable_from_espocrm(now)
        refused, altered = compare_after_write(changed, before, shown, side="espocrm")
        pairs = {**refused, **altered}
        found = standing_of_pairs(pairs, "advoware", "altered", self.now)
        return {**espo, **sent}, without_fields(plan, pairs, pairs), found

    def _remember(
        self, advo: Record, plan: Merge, standing: dict[str, Standing]
    ) -> None:
        last = self.state.base if self.state else {}
        settled = only(plan.settled, {*shown_by_advoware(advo), "rechtsform"})
        shown = MAPPER.comparable_from_advoware(advo)
        version = version_member(last, settled, shown, advo.get("rowId"))
        self.state = SyncState(
            "CBeteiligte",
            "e1",
            advoware_id="1001",
            base=_stored({**base_to_json(plan.settled), **version}),
            rejected=_stored({k: v.as_json() for k, v in standing.items()}),
            advoware_row_id=advo.get("rowId"),
            advoware_changed_at=parse_change_time(advo.get("geaendertAm")),
        )

    @property
    def values(self) -> set[str]:
        """All that stands on one of the sides, but the legal forms."""
        found = [self.espo[name] for name in ESPOCRM[1:]]
        found += [self.advo[name] for name in ADVOWARE[1:]]
        return {value.strip() for value in found if isinstance(value, str)}


CHOICES: dict[str, list[Any]] = {
    "rechtsform": ["", None, "Herr", "GmbH", "e.K.", "AG"],
    "salutationName": ["Herr", "Frau", None],
    "anrede": ["Herr", "Frau", "Firma", "", "Dr."],
    "dateOfBirth": ["1980-01-01", "1990-05-05", None],
    "geburtsdatum": ["1980-01-01T00:00:00", None, "0001-01-01T00:00:00", "unklar"],
}
ODD_FORMS = ["Minderjährig", "Sonderform", 7]
CHOSEN = st.integers(0, 8)
EDITS = st.lists(
    st.tuples(st.just("espocrm"), st.sampled_from(ESPOCRM), CHOSEN)
    | st.tuples(st.just("advoware"), st.sampled_from(ADVOWARE), CHOSEN),
    max_size=5,
)
STORE = st.sampled_from(["as it is", "as it is", *sorted(STORES)])
HISTORY = st.lists(
    st.tuples(
        EDITS,
        st.lists(st.sampled_from(ESPOCRM), max_size=2),
        st.lists(st.sampled_from(ADVOWARE), max_size=2),
    ),
    min_size=1,
    max_size=3,
)


def _value(side: str, name: str, chosen: int, word: str) -> Any:
    """One of the values of a list; of a text a word of its own, one that others have too, nothing, or no text."""
    choices = CHOICES.get(name)
    if choices is None:
        choices = [None, "", "Gemeinsam", word, word, word]
        choices += [7] if side == "advoware" else []
    elif (side, name) == ("advoware", "rechtsform"):
        choices = [*choices, *ODD_FORMS]
    return choices[chosen % len(choices)]


def _text(value: str) -> str:
    return value.removesuffix("T00:00:00").casefold()


def _checked_sync(world: World, agreed: set[str], *hidden: Iterable[str]) -> None:
    """One run that loses nothing: a value stands still, or the audit has it; of what is new a person is notified."""
    before = world.values - {"", "0001-01-01T00:00:00"}
    world.sync(*hidden)
    known = json.dumps([world.espo, world.advo, world.notices], ensure_ascii=False)
    audited = json.dumps(world.lines, ensure_ascii=False).casefold()
    for value in before:
        assert _text(value) in known.casefold() + audited, value
        if value.startswith("Wort") and value not in agreed:
            assert _text(value) in known.casefold(), value
    agreed |= world.values


@example(  # the kind changes in Advoware while EspoCRM does not show what decides its own
    start=[("advoware", "rechtsform", 4)],
    history=[
        (
            [
                ("espocrm", "lastName", 2),
                ("espocrm", "firmenname", 3),
                ("advoware", "rechtsform", 0),
            ],
            ["salutationName"],
            [],
        ),
    ],
    store_espocrm="as it is",
    store_advoware="as it is",
)
@example(  # EspoCRM becomes a company; Advoware does not show a number that it has
    start=[("espocrm", "handelsregisterNummer", 3)],
    history=[
        (
            [
                ("advoware", "handelsRegisterNummer", 2),
                ("espocrm", "rechtsform", 3),
                ("espocrm", "firmenname", 3),
            ],
            [],
            ["handelsRegisterNummer"],
        ),
    ],
    store_espocrm="as it is",
    store_advoware="as it is",
)
@given(EDITS, HISTORY, STORE, STORE)
def test_whatever_people_do_no_value_is_lost_and_it_comes_to_rest(
    start: list[Any], history: list[Any], store_espocrm: str, store_advoware: str
) -> None:
    world = World(store_espocrm, store_advoware)
    world.edit("espocrm", lastName="Nachname")
    world.edit("advoware", name="Name dort")
    for side, name, chosen in start:
        if name not in {"lastName", "name"}:
            world.edit(side, **{name: _value(side, name, chosen, "Anfang")})
    agreed: set[str] = set()
    _checked_sync(world, agreed)
    for number, (edits, *hidden) in enumerate(history):
        for step, (side, name, chosen) in enumerate(edits):
            word = f"Wort{number}{step} am Ende"
            world.edit(side, **{name: _value(side, name, chosen, word)})
        _checked_sync(world, agreed, *hidden)
    _checked_sync(world, agreed)
    _checked_sync(world, agreed)
    before = _stored([world.espo, world.advo])

    _checked_sync(world, agreed)

    assert (world.writes, _stored([world.espo, world.advo])) == (0, before)
    if world.is_clean:
        shown = MAPPER.comparable_from_advoware(world.advo)
        differing = MAPPER.get_changed_fields(world.espo, world.advo)
        assert not [k for k in differing if not isinstance(shown[k], Unknown)]
