"""Who belongs to whom: the CAdressen of a CBeteiligte and the Adressen of his Beteiligter, paired. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from services.adressen_mapper import AdressenMapper, espocrm_id_of, has_content
from services.values.merge import (
    SENDING,
    Pair,
    Value,
    base_to_json,
    may_be_stored_form,
    text_of,
    values_to_json,
    without,
)
from services.vmh_sync.result import Direction
from services.vmh_sync.sending import may_be_edited, with_sent
from services.vmh_sync.store import SyncState

ENTITY_TYPE = "CAdressen"
MAIN = "standardAnschrift"
#: Whose CAdressen it is now, in the base of what it has left behind, and what a create has noted: an erasure finds it.
OWNER_ID = "beteiligteId"
#: Of which Beteiligter a create has sent its request.
BETNR = "betnr"
#: So much of an id in a mark names a record for certain, if the rest was cut off.
_SHORTEST_MARK = 8

#: What a direct read says about a record that EspoCRM's list does not contain.
Whereabouts = Literal["here", "elsewhere", "gone"]

Record = dict[str, Any]

_mapper = AdressenMapper()


@dataclass(frozen=True)
class Observation:
    """Both sides and what is remembered of them.

    Attributes:
        beteiligte_id: EspoCRM's id of the CBeteiligte.
        beteiligter: the Beteiligter as read from Advoware.
        owner: ``assignedUserId`` and ``teamsIds`` of the CBeteiligte, as far as it has them.
        rows: all CAdressen of the CBeteiligte.
        adressen: all Adressen of the Beteiligter that are readable, in the order of their ids.
        states: by CAdressen id; also those of deleted CAdressen, and what `left_behind` has kept.
        stored: the states as they are in the store; `states` has more of them (`states_with_sent`, `regained`).
        unsettled: ids of the CAdressen that wait for another run, because what their create has left is not known.
        direction: with ``to_advoware`` nothing is brought over to EspoCRM in this run.
        now: the present, aware.
    """

    beteiligte_id: str
    beteiligter: Mapping[str, Any]
    owner: Mapping[str, Any]
    rows: Sequence[Record]
    adressen: Sequence[Record]
    states: Mapping[str, SyncState]
    direction: Direction
    now: datetime
    stored: Mapping[str, SyncState] = field(default_factory=dict)
    unsettled: Collection[str] = frozenset()

    @property
    def betnr(self) -> str:
        """The Beteiligter's number."""
        return str(self.beteiligter["betNr"])

    def link_of(self, adresse: Mapping[str, Any]) -> str:
        """The ``advoware_id`` of an Adresse: its id is only known to be unique within the Beteiligter [A]."""
        return f"{self.betnr}/{adresse['id']}"

    def state_of(self, entity_id: str) -> SyncState | None:
        """The state of a CAdressen that is linked with this Beteiligter; None for one that is new to him."""
        state = self.states.get(entity_id)
        if state is None or not state.belongs_to(self.betnr):
            return None
        return state

    def may_follow_advoware_id(self, entity_id: str) -> bool:
        """Whether a row's ``advowareId`` counts: not if the row is known to be linked with another Beteiligter."""
        state = self.states.get(entity_id)
        if state is None or state.is_released:
            return True
        return replace(state, deleted_at=None).belongs_to(self.betnr)

    def is_marked_as(self, adresse: Mapping[str, Any], entity_id: str) -> bool:
        """Whether the Adresse carries the mark of this CAdressen."""
        return self.marked_row(adresse) == entity_id

    def marked_row(self, adresse: Mapping[str, Any]) -> str | None:
        """The CAdressen that the mark in ``bemerkung`` names, unless that was released with its CBeteiligte."""
        mark = espocrm_id_of(adresse.get("bemerkung"))
        if mark is None:
            return None
        ids = [str(row["id"]) for row in self.rows]
        entity_id = _named_id(mark, ids)
        state = self.states.get(entity_id)
        if state is not None and state.is_released and entity_id not in ids:
            return None
        return entity_id


def shown_values(
    rows: Sequence[Record],
    adressen: Sequence[Record],
) -> list[Sequence[Any]]:
    """All that both sides show, as it is read and as it is compared; for `SyncStore.opened`."""
    compared = []
    for row in rows:
        values = _mapper.comparable_from_espocrm(row)
        compared.append(values_to_json(values))
    for adresse in adressen:
        values = _mapper.comparable_from_advoware(adresse)
        compared.append(values_to_json(values))
    return [rows, adressen, compared]


def regained(
    states: Mapping[str, SyncState],
    rows: Sequence[Record],
    adressen: Sequence[Record],
    betnr: str,
) -> dict[str, SyncState]:
    """The states of CAdressen that are here again, with the links that they had.

    So it is after one was deleted and restored, it or its CBeteiligte, or was moved to another Beteiligter and back.
    Without what both sides agreed on then, an edit on either side would give way to the other one's old value.
    """
    links = [f"{betnr}/{adresse['id']}" for adresse in adressen]
    found: dict[str, SyncState] = {}
    for row in rows:
        state = _released_before(states, row, betnr) or _linked_before(
            states,
            row,
            links,
        )
        if state is not None:
            base = without(state.base, {OWNER_ID})
            found[row["id"]] = replace(
                state,
                entity_id=row["id"],
                base=base,
                deleted_at=None,
            )
    return found


def _released_before(
    states: Mapping[str, SyncState],
    row: Record,
    betnr: str,
) -> SyncState | None:
    """The state of a CAdressen whose CBeteiligte was deleted, with the link that it had."""
    state = states.get(row["id"])
    adresse_id = row.get("advowareId")
    if state is None or not state.is_released or not isinstance(adresse_id, int):
        return None
    if state.released_from != betnr:
        return None
    return replace(state, advoware_id=f"{betnr}/{adresse_id}")


def _linked_before(
    states: Mapping[str, SyncState],
    row: Record,
    links: Sequence[str],
) -> SyncState | None:
    """The state of a CAdressen that was deleted, or was linked elsewhere since, if its Adresse is still there."""
    state = states.get(row["id"])
    if state is not None and state.advoware_id in links:
        return state
    for link in links:
        left = states.get(f"{row['id']}{LEFT_BEHIND}{link}")
        if left is not None and left.advoware_id == link:
            return left
    return None


def left_by_creates(
    sent: Mapping[str, Mapping[str, Any]],
    states: Mapping[str, SyncState],
    rows: Sequence[Record],
    adressen: Sequence[Record],
    betnr: str,
) -> dict[str, Record]:
    """The Adressen that unanswered creates have left here, by the ids of their CAdressen.

    They are known by the mark, and by what was ``sent`` if a person has removed that.
    """
    if not sent:
        return {}
    ids = [*(str(row["id"]) for row in rows), *sent]
    unmarked = _unclaimed(states, rows, adressen, betnr)
    found: dict[str, Record] = {}
    for entity_id, values in sent.items():
        if not _may_be_left_here(states.get(entity_id), values, betnr):
            continue
        key = _value_key(values)
        for adresse in adressen:
            mark = espocrm_id_of(adresse.get("bemerkung"))
            if mark is not None and _named_id(mark, ids) == entity_id:
                found.setdefault(entity_id, adresse)
        if entity_id not in found and unmarked.get(key):
            found[entity_id] = unmarked[key].pop(0)
    return found


def _may_be_left_here(
    state: SyncState | None,
    sent: Mapping[str, Any],
    betnr: str,
) -> bool:
    """Whether a create that has sent this was made here, by the number that it has noted."""
    if state is not None and state.belongs_to(betnr):
        return False
    noted = sent.get(BETNR)
    if noted is None:  # begun by a version that did not note it
        return state is None
    return bool(noted == betnr)


def _unclaimed(
    states: Mapping[str, SyncState],
    rows: Sequence[Record],
    adressen: Sequence[Record],
    betnr: str,
) -> dict[tuple[str, ...] | None, list[Record]]:
    """The Adressen that neither a mark, nor a link, nor a CAdressen claims, by what makes them the same to a user."""
    links = {state.advoware_id for state in states.values()}
    linked = {row.get("advowareId") for row in rows}
    by_values: dict[tuple[str, ...] | None, list[Record]] = {}
    for adresse in adressen:
        is_linked = adresse["id"] in linked or f"{betnr}/{adresse['id']}" in links
        key = _value_key(_mapper.comparable_from_advoware(adresse))
        if key is None or is_linked or espocrm_id_of(adresse.get("bemerkung")):
            continue
        by_values.setdefault(key, []).append(adresse)
    return by_values


def state_of_unanswered(
    entity_id: str,
    link: str,
    adresse: Record,
    sent: Mapping[str, Any],
) -> SyncState:
    """What is known of such an Adresse: both sides held what was sent, so what differs from that is an edit.

    Not where Advoware shows the same in other letters, cut off or not at all: it may have stored it like that.
    """
    shown = _mapper.comparable_from_advoware(adresse)
    pairs = {
        name: Pair(value, value)
        for name, value in sent.items()
        if name in shown and not may_be_stored_form(value, shown[name])
    }
    return SyncState(ENTITY_TYPE, entity_id, advoware_id=link, base=base_to_json(pairs))


def interrupted(states: Mapping[str, SyncState]) -> frozenset[str]:
    """The ids of the CAdressen of which a run could not store what it had written."""
    return frozenset(name for name, state in states.items() if SENDING in state.base)


def states_with_sent(
    states: Mapping[str, SyncState],
    rows: Sequence[Record],
    adressen: Sequence[Record],
) -> dict[str, SyncState]:
    """The states with what interrupted runs have written, as far as a side shows it."""
    unresolved = interrupted(states)
    if not unresolved:
        return dict(states)
    espocrm = _values_by_row(rows)
    advoware = _values_by_adresse(adressen)
    unedited = {row["id"] for row in rows if not may_be_edited(row)}
    resolved = dict(states)
    for entity_id in unresolved:
        state = states[entity_id]
        _, _, adresse_id = (state.advoware_id or "").partition("/")
        in_espocrm = espocrm.get(entity_id, {})
        in_advoware = advoware.get(adresse_id, {})
        resolved[entity_id] = with_sent(
            state,
            in_espocrm,
            in_advoware,
            is_edited=entity_id not in unedited,
        )
    return resolved


def _values_by_row(rows: Sequence[Record]) -> dict[str, Mapping[str, Value]]:
    values: dict[str, Mapping[str, Value]] = {}
    for row in rows:
        values[row["id"]] = _mapper.comparable_from_espocrm(row)
    return values


def _values_by_adresse(adressen: Sequence[Record]) -> dict[str, Mapping[str, Value]]:
    values: dict[str, Mapping[str, Value]] = {}
    for adresse in adressen:
        adresse_id = str(adresse["id"])
        values[adresse_id] = _mapper.comparable_from_advoware(adresse)
    return values


def _named_id(mark: str, ids: Sequence[str]) -> str:
    """The one of the ids that a mark names, also one that Advoware has stored in capitals or cut off; else the mark."""
    if mark in ids:
        return mark
    alike = _alike_ids(mark, ids)
    if len(alike) == 1:
        return alike[0]
    return mark


def _alike_ids(mark: str, ids: Sequence[str]) -> list[str]:
    """The ids that are the mark in other capitals; if there are none, those that begin with a mark of some length."""
    folded = mark.casefold()
    alike = [entity_id for entity_id in ids if entity_id.casefold() == folded]
    if alike or len(mark) < _SHORTEST_MARK:
        return alike
    return [entity_id for entity_id in ids if entity_id.casefold().startswith(folded)]


@dataclass(frozen=True)
class Match:
    """Who belongs to whom.

    Attributes:
        pairs: CAdressen with their Adresse.
        missing: CAdressen whose Adresse is not in Advoware's answer.
        new_rows: CAdressen that Advoware does not know yet.
        new_adressen: Adressen that EspoCRM does not know yet.
        vanished: ids of CAdressen that are not in EspoCRM's list, with their Adresse, None if that is gone too.
        foreign: Adressen with a mark that names a CAdressen which is not in EspoCRM's list, with its id.
    """

    pairs: list[tuple[Record, Record]] = field(default_factory=list)
    missing: list[Record] = field(default_factory=list)
    new_rows: list[Record] = field(default_factory=list)
    new_adressen: list[Record] = field(default_factory=list)
    vanished: dict[str, Record | None] = field(default_factory=dict)
    foreign: list[tuple[str, Record]] = field(default_factory=list)


def is_active(row: Record) -> bool:
    """Whether a CAdressen is in use; one that does not say so is."""
    return row.get("isActive") is not False


def is_main_there(adresse: Mapping[str, Any]) -> bool:
    """Whether Advoware says that this is the main address."""
    return adresse.get(MAIN) is True


def match_addresses(observed: Observation) -> Match:
    """Pair both sides: by the stored link, by ``advowareId``, by the mark in ``bemerkung``, by equal values.

    Equal values pair only what nothing else claims, so that a first sync does not double what both sides have. Of two
    Adressen with the same mark the older one (the smaller id) is the pair, unless a link says otherwise.
    """
    matcher = _Matcher(
        rows={row["id"]: row for row in observed.rows},
        rest={int(adresse["id"]): adresse for adresse in observed.adressen},
    )
    matcher.pair_linked(observed)
    matcher.pair_marked(observed)
    matcher.pair_equal(matcher.without_foreign(observed))
    rest = list(matcher.rest.values())
    return _with_rest(observed, matcher.rows, rest, matcher.pairs)


@dataclass
class _Matcher:
    """Pairs rows with Adressen; ``rest`` are the Adressen without a row so far."""

    rows: dict[str, Record]
    rest: dict[int, Record]
    pairs: dict[str, Record] = field(default_factory=dict)

    def pair_linked(self, observed: Observation) -> None:
        for entity_id in self.rows:
            state = observed.state_of(entity_id)
            self._pair(entity_id, _number_of(state))
        for entity_id, row in self.rows.items():
            if observed.may_follow_advoware_id(entity_id):
                self._pair(entity_id, row.get("advowareId"))

    def pair_marked(self, observed: Observation) -> None:
        for adresse_id, adresse in list(self.rest.items()):
            self._pair(observed.marked_row(adresse), adresse_id)

    def without_foreign(self, observed: Observation) -> list[Record]:
        """The Adressen without a row that are of no CAdressen outside EspoCRM's list.

        A mark that names a row of the list was copied by a user, or the two would be paired.
        """
        own = []
        for adresse in self.rest.values():
            mark = observed.marked_row(adresse)
            is_own = mark is None or mark in self.rows
            if is_own and not _belongs_to_deleted(observed, adresse):
                own.append(adresse)
        return own

    def pair_equal(self, adressen: Iterable[Record]) -> None:
        by_values = self._rows_by_values()
        for adresse in adressen:
            key = _value_key(_mapper.comparable_from_advoware(adresse))
            equal_rows = by_values.get(key)
            if key is not None and equal_rows:
                self._pair(equal_rows.pop(0), int(adresse["id"]))

    def _rows_by_values(self) -> dict[tuple[str, ...] | None, list[str]]:
        """The ids of the rows in use that have no Adresse so far, by what makes them the same to a user."""
        by_values: dict[tuple[str, ...] | None, list[str]] = {}
        for entity_id, row in self.rows.items():
            if entity_id in self.pairs or not is_active(row):
                continue
            values = _mapper.comparable_from_espocrm(row)
            by_values.setdefault(_value_key(values), []).append(entity_id)
        return by_values

    def _pair(self, entity_id: str | None, adresse_id: Any) -> None:
        """Pair the two unless one of them is unknown or has its pair already."""
        if not isinstance(adresse_id, int) or adresse_id not in self.rest:
            return
        if entity_id in self.rows and entity_id not in self.pairs:
            self.pairs[entity_id] = self.rest.pop(adresse_id)


def is_equal(row: Record, adresse: Record) -> bool:
    """Whether a user takes the two for the same address."""
    key = _value_key(_mapper.comparable_from_espocrm(row))
    return key is not None and key == _value_key(
        _mapper.comparable_from_advoware(adresse),
    )


def _value_key(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What makes two addresses the same to a user; None for an empty one, which is like no other."""
    if not has_content(values):
        return None
    key = []
    for name in ("strasse", "plz", "ort", "postfach"):
        text = str(text_of(values.get(name)) or "")
        key.append(text.casefold())
    return tuple(key)


def _number_of(state: SyncState | None) -> int | None:
    """The id of the Adresse that a state links."""
    if state is None:
        return None
    _, _, number = str(state.advoware_id).partition("/")
    if not number.isdecimal():
        return None
    return int(number)


def _belongs_to_deleted(observed: Observation, adresse: Record) -> bool:
    link = observed.link_of(adresse)
    states = observed.states.values()
    return any(state.deleted_at and state.advoware_id == link for state in states)


def _with_rest(
    observed: Observation,
    rows: Mapping[str, Record],
    rest: Sequence[Record],
    pairs: Mapping[str, Record],
) -> Match:
    result = Match()
    for entity_id, row in rows.items():
        _sort_row(observed, row, pairs.get(entity_id), result)
    owners = _owners_outside(rows, observed)
    for adresse in rest:
        owner = owners.get(observed.link_of(adresse))
        if owner is None:
            _sort_unlinked(observed, adresse, rows, result)
        else:
            result.vanished[owner] = adresse
    for entity_id in observed.states:
        if entity_id not in rows and observed.state_of(entity_id) is not None:
            result.vanished.setdefault(entity_id, None)
    return result


def _sort_row(
    observed: Observation,
    row: Record,
    adresse: Record | None,
    result: Match,
) -> None:
    """A CAdressen with the Adresse that it is paired with, None if there is none."""
    if adresse is not None:
        result.pairs.append((row, adresse))
    elif _is_linked(observed, row):
        result.missing.append(row)
    else:
        result.new_rows.append(row)


def _sort_unlinked(
    observed: Observation,
    adresse: Record,
    rows: Collection[str],
    result: Match,
) -> None:
    """An Adresse that no CAdressen is linked with: new, or marked with a CAdressen outside EspoCRM's list."""
    mark = observed.marked_row(adresse)
    # A mark that names a row already paired with another Adresse was copied by a user: a new address.
    if mark is None or mark in rows:
        result.new_adressen.append(adresse)
    else:
        result.foreign.append((mark, adresse))


def _owners_outside(
    rows: Mapping[str, Record],
    observed: Observation,
) -> dict[str | None, str]:
    """The CAdressen outside EspoCRM's list, by the link of their Adresse."""
    owners = {}
    for entity_id, state in _by_age(observed):
        if entity_id not in rows:
            owners[state.advoware_id] = entity_id
    return owners


def _is_linked(observed: Observation, row: Record) -> bool:
    """Whether a row without an Adresse is known to have had one."""
    if observed.state_of(row["id"]) is not None:
        return True
    return bool(row.get("advowareId")) and observed.may_follow_advoware_id(row["id"])


def _by_age(observed: Observation) -> list[tuple[str, SyncState]]:
    """The states; those of links that a CAdressen has left behind come last, so that they count."""
    return sorted(observed.states.items(), key=lambda item: LEFT_BEHIND in item[0])


#: Between the id of a CAdressen and the link that it has left behind, as the id of a state of its own.
LEFT_BEHIND = "@"


def left_behind(
    state: SyncState,
    now: datetime,
    owner_id: str | None = None,
) -> SyncState:
    """What to remember of a link that a CAdressen has given up because it belongs to another Beteiligter now.

    Its own state follows it there; without this the Adresse it leaves would look like a new one, and what was agreed on
    would be lost when it comes back (`regained`). ``owner_id`` is the CBeteiligte that it belongs to now.
    """
    base = dict(state.base)
    if owner_id is not None:
        base[OWNER_ID] = owner_id
    return replace(
        state,
        entity_id=f"{state.entity_id}{LEFT_BEHIND}{state.advoware_id}",
        base=base,
        deleted_at=state.deleted_at or now,
    )


def with_whereabouts(
    observed: Observation,
    found: Match,
    whereabouts: Mapping[str, Whereabouts],
) -> Match:
    """The match after direct reads: what a mark means that names a CAdressen outside EspoCRM's list.

    A CAdressen of another Beteiligter: this Adresse is a copy, or came with a merge in Advoware: a new address. One
    that is gone from EspoCRM: deleted there, unless it was linked with another Adresse, of which this is a copy then.
    One that is here after all, or that could not be read: nothing is decided.
    """
    new_adressen = list(found.new_adressen)
    vanished = dict(found.vanished)
    for mark, adresse in found.foreign:
        place = whereabouts.get(mark)
        is_copy = mark in vanished or _is_linked_with_other(observed, mark, adresse)
        if place == "elsewhere" or (place == "gone" and is_copy):
            new_adressen.append(adresse)
        elif place == "gone":
            vanished[mark] = adresse
    found = replace(found, new_adressen=new_adressen, vanished=vanished)
    return _with_equal_pairs(found)


def _with_equal_pairs(found: Match) -> Match:
    """The match with what is new on both sides, and equal, as pairs."""
    matcher = _Matcher(
        rows={row["id"]: row for row in found.new_rows},
        rest={int(adresse["id"]): adresse for adresse in found.new_adressen},
    )
    matcher.pair_equal(found.new_adressen)
    new_pairs = [(matcher.rows[name], item) for name, item in matcher.pairs.items()]
    return replace(
        found,
        pairs=[*found.pairs, *new_pairs],
        new_rows=[row for row in found.new_rows if row["id"] not in matcher.pairs],
        new_adressen=list(matcher.rest.values()),
    )


def _is_linked_with_other(
    observed: Observation,
    entity_id: str,
    adresse: Record,
) -> bool:
    state = observed.states.get(entity_id)
    return state is not None and state.advoware_id != observed.link_of(adresse)


@dataclass(frozen=True)
class MainAddress:
    """Which address is the main one. Keys are the ids of CAdressen, or `adresse_key` of one that EspoCRM lacks.

    Attributes:
        wanted: what EspoCRM shall show; None if there is no telling.
        agreed: what both sides agree on (or will after this run); None before they do.
        is_task: whether a user has to make ``wanted`` the main address in Advoware.
    """

    wanted: str | None
    agreed: str | None
    is_task: bool


def choose_main(observed: Observation, found: Match) -> MainAddress:
    """Exactly one address is the main one: the one newly chosen in EspoCRM, else Advoware's, else EspoCRM's."""
    rows = _active_rows(found)
    in_espocrm = _marked_as_main(rows)
    base = _main_before(observed, rows)
    chosen = [entity_id for entity_id in in_espocrm if entity_id != base]
    advoware = _main_in_advoware(found, _ids(rows), chosen)
    wanted = _wanted_main(observed, in_espocrm, chosen, advoware)
    # A POST can make a new one the main one.
    if wanted == advoware or wanted in _ids(found.new_rows):
        return MainAddress(wanted, wanted, is_task=False)
    # Advoware's may be one that EspoCRM has deleted, or does not use any more.
    has_other = any(map(is_main_there, observed.adressen))
    is_change = has_other or base is not None
    return MainAddress(wanted, base, is_task=bool(chosen) and is_change)


def _wanted_main(
    observed: Observation,
    in_espocrm: Sequence[str],
    chosen: Sequence[str],
    advoware: str | None,
) -> str | None:
    """The newly chosen one; else Advoware's, if it may be brought over; else EspoCRM's."""
    if chosen:
        return _newly_chosen(chosen, advoware)
    if observed.direction == "both" and advoware is not None:
        return advoware
    return _first(in_espocrm)


def _newly_chosen(chosen: Sequence[str], advoware: str | None) -> str:
    """The one of several newly chosen addresses that counts: Advoware's main address, else the latest."""
    if advoware is not None and advoware in chosen:
        return advoware
    return chosen[-1]


def _marked_as_main(rows: Iterable[Record]) -> list[str]:
    """The ids of the rows that say that they are the main one."""
    return [row["id"] for row in rows if row.get("istStandard")]


def _main_before(observed: Observation, rows: Iterable[Record]) -> str | None:
    """The row that was the main one when both sides last agreed."""
    for row in rows:
        state = observed.state_of(row["id"])
        if state is not None and state.base.get(MAIN):
            return str(row["id"])
    return None


def _ids(rows: Iterable[Record]) -> set[str]:
    return {row["id"] for row in rows}


def _active_rows(found: Match) -> list[Record]:
    """The CAdressen in use that have an Adresse or get one, the latest change last."""
    rows = [row for row, _ in found.pairs] + found.new_rows
    active = list(filter(is_active, rows))
    return sorted(active, key=_age)


def _age(row: Record) -> tuple[str, str]:
    """Sorts records by their latest change."""
    return row.get("modifiedAt") or "", row["id"]


def _main_in_advoware(
    found: Match,
    active: Collection[str],
    chosen: Collection[str],
) -> str | None:
    """The key of Advoware's main address; of several one of those that were newly chosen in EspoCRM."""
    keys = _all_main_in_advoware(found, active)
    newly_chosen = [key for key in keys if key in chosen]
    return _first(newly_chosen) or _first(keys)


def _all_main_in_advoware(found: Match, active: Collection[str]) -> list[str]:
    """The keys of all addresses that are the main one in Advoware; those of new Adressen come last."""
    keys = []
    for row, adresse in found.pairs:
        entity_id = row["id"]
        if is_main_there(adresse) and entity_id in active:
            keys.append(entity_id)
    new_ones = filter(is_main_there, found.new_adressen)
    keys += map(adresse_key, new_ones)
    return keys


def _first(keys: Iterable[str]) -> str | None:
    return next(iter(keys), None)


def adresse_key(adresse: Mapping[str, Any]) -> str:
    """The key of an Adresse that EspoCRM does not know yet."""
    return f"Adresse {adresse['id']}"
