"""What a sync of the Kommunikation does: both sides and their base in, a plan out. Pure: no I/O, no clock.

The base maps the id of an Advoware entry to a `Link`: the values on which both sides agreed. EspoCRM's entries have no
ids, so an EspoCRM entry is known by its value. Equal values on both sides are agreed, whatever the base says; what is
left is explained by the base (changed, deleted, new), and the six cases of the specification follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from services.kommunikation_mapper import (
    DATA_ATTRIBUTE,
    MAIL_KOMM_KZ,
    MAX_ENTRIES,
    PHONE_TYPES,
    VALUE_ATTRIBUTE,
    AdvowareEntry,
    EspoEntry,
    Family,
    Key,
    Kind,
    Marker,
    build_marker,
    espocrm_entry,
    espocrm_value,
    key_of,
    kind_of,
    new_espocrm_row,
)

#: The cases of the specification (07), and "pair": equal values that only lack the marker.
Case = Literal["Var1", "Var2", "Var3", "Var4", "Var5", "Var6", "pair"]
Row = Mapping[str, Any]


class Link(NamedTuple):
    """What both sides agreed on. The keys differ only if one side calls a phone what the other calls a fax."""

    espocrm: Key
    advoware: Key


Base = Mapping[int, Link]


@dataclass(frozen=True)
class Observation:
    """Both sides, and what they agreed on.

    ``posted`` are values that we have perhaps created in Advoware; ``first_sync``: nothing was ever agreed on.
    """

    phones: tuple[EspoEntry, ...]
    mails: tuple[EspoEntry, ...]
    advoware: tuple[AdvowareEntry, ...]
    base: Base
    first_sync: bool = False
    posted: frozenset[Key] = frozenset()

    @property
    def espocrm(self) -> tuple[EspoEntry, ...]:
        """The entries of both arrays."""
        return self.phones + self.mails


@dataclass(frozen=True)
class Change:
    """A value that changes on one side; ``lost`` if somebody's edit in Advoware loses against EspoCRM."""

    case: Case
    side: Literal["espocrm", "advoware"]
    kind: Kind
    entry_id: int | None
    old: str | None
    new: str | None
    lost: bool = False


@dataclass(frozen=True)
class Write:
    """One request to Advoware: a PUT of an entry, or a POST if there is no id.

    ``link`` is what the base holds for the entry afterwards, None for a slot. ``change`` is None if only the marker is
    set.
    """

    case: Case
    entry_id: int | None
    tlf: str
    komm_kz: int
    bemerkung: str
    link: Link | None
    change: Change | None

    @property
    def record(self) -> dict[str, Any]:
        """The body of the request; ``online`` follows the mail kinds."""
        online = self.komm_kz in MAIL_KOMM_KZ
        return {"tlf": self.tlf, "bemerkung": self.bemerkung, "kommKz": self.komm_kz, "online": online}


@dataclass(frozen=True)
class Skipped:
    """A value that stays in Advoware only: EspoCRM would refuse it, or has no room for it."""

    entry_id: int
    kind: Kind
    value: str
    reason: Literal["refused", "full"]


@dataclass(frozen=True)
class Plan:
    """What has to be written, and what both sides agree on afterwards.

    Attributes:
        writes: requests to Advoware, in this order; each stands for itself.
        espocrm: the arrays that change, by attribute, complete.
        base: the links that hold when everything is written; those of created entries are in their `Write`.
        awaiting_espocrm: ids whose link in ``base`` (or absence from it) is true only once EspoCRM is written.
        changes: values that change in EspoCRM; those that change in Advoware are in their `Write`.
        skipped: what a person has to correct.
        vanished: whether an entry is removed from EspoCRM because Advoware's list lacks it.
    """

    writes: tuple[Write, ...] = ()
    espocrm: Mapping[str, list[Row]] = field(default_factory=dict)
    base: Base = field(default_factory=dict)
    awaiting_espocrm: frozenset[int] = frozenset()
    changes: tuple[Change, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    vanished: bool = False


def make_plan(seen: Observation, *, to_advoware: bool = False, forced: bool = False) -> Plan:
    """The plan for one CBeteiligte.

    ``to_advoware``: EspoCRM stays as it is, and edits in Advoware are reverted. Before the first sync nobody can tell
    an edit in Advoware from what has always been there, so such entries are only emptied if it is ``forced``.
    """
    return _Planner(seen, to_advoware or forced, forced).plan()


class _Arrays:
    """EspoCRM's two arrays while a plan is made."""

    def __init__(self, seen: Observation) -> None:
        self._before: Mapping[Family, tuple[EspoEntry, ...]] = {"phone": seen.phones, "mail": seen.mails}
        self._now: dict[Family, list[EspoEntry]] = {family: list(rows) for family, rows in self._before.items()}

    def find(self, key: Key) -> EspoEntry | None:
        """The first entry with this key."""
        return next((entry for entry in self._now[key.family] if entry.key == key), None)

    def find_held(self, key: Key) -> EspoEntry | None:
        """The first entry that stands in the way of this key, be it of another kind."""
        return next((entry for entry in self._now[key.family] if entry.key.held == key.held), None)

    def is_full(self, family: Family) -> bool:
        return len(self._now[family]) >= MAX_ENTRIES

    def add(self, komm_kz: int, written: str) -> None:
        family: Family = "mail" if komm_kz in MAIL_KOMM_KZ else "phone"
        self._now[family].append(espocrm_entry(family, new_espocrm_row(komm_kz, written)))

    def remove(self, key: Key) -> None:
        self._now[key.family] = [entry for entry in self._now[key.family] if entry.key != key]

    def replace(self, key: Key, komm_kz: int, written: str) -> None:
        """Put another value in the place of the first entry with this key; further ones with this key go."""
        entries = self._now[key.family]
        place = next(index for index, entry in enumerate(entries) if entry.key == key)
        row = {**entries[place].raw, VALUE_ATTRIBUTE[key.family]: written, "invalid": False}
        if key.family == "mail":
            row["lower"] = written.lower()
        elif kind_of(komm_kz) != key.kind:
            row["type"] = PHONE_TYPES[komm_kz]
        entries[place] = espocrm_entry(key.family, row)
        self.remove(key)

    def changed(self) -> dict[str, list[Row]]:
        """The arrays that differ from what was read, with exactly one primary entry each."""
        return {
            DATA_ATTRIBUTE[family]: _with_one_primary([entry.raw for entry in entries])
            for family, entries in self._now.items()
            if [entry.raw for entry in entries] != [entry.raw for entry in self._before[family]]
        }


def _with_one_primary(rows: list[Row]) -> list[Row]:
    """The present primary entry stays it; without one, the first becomes it. Other rows stay as they were read."""
    primary = next((index for index, row in enumerate(rows) if row.get("primary")), 0)
    return [
        row if bool(row.get("primary")) == (index == primary) else {**row, "primary": index == primary}
        for index, row in enumerate(rows)
    ]


class _Planner:
    def __init__(self, seen: Observation, to_advoware: bool, forced: bool) -> None:
        self._seen = seen
        self._to_advoware = to_advoware
        self._may_empty_unknown = forced or not seen.first_sync
        self._arrays = _Arrays(seen)
        self._keys = {entry.key for entry in seen.espocrm}  # what EspoCRM held when it was read
        self._agreed: set[Key] = set()  # those of them that need no explanation any more
        self._links: dict[int, Link] = {}
        self._awaiting: set[int] = set()
        self._writes: list[Write] = []
        self._changes: list[Change] = []
        self._skipped: list[Skipped] = []
        self._used_slots: set[int] = set()
        self._vanished = False

    def plan(self) -> Plan:
        rest = self._pair_equal(entry for entry in self._seen.advoware if not entry.is_empty)
        links = [(entry, self._link_of(entry)) for entry in rest]
        known = [(entry, link) for entry, link in links if link is not None]
        unknown = [entry for entry, link in links if link is None]
        gone_in_espocrm = [(entry, link) for entry, link in known if link.espocrm not in self._keys]
        self._keep_unchanged(known)
        unknown += self._changed_in_advoware(known)
        unknown = self._pair_across_kinds(unknown)
        self._gone_from_advoware()
        new = [entry for entry in _first_per_key(self._seen.espocrm) if entry.key not in self._agreed]
        new = self._changed_in_espocrm(gone_in_espocrm, new)
        self._new_in_espocrm(new)
        self._new_in_advoware(unknown)
        self._tidy_slots()
        return Plan(
            tuple(self._writes),
            self._arrays.changed(),
            self._links,
            frozenset(self._awaiting),
            tuple(self._changes),
            tuple(self._skipped),
            self._vanished,
        )

    def _link_of(self, entry: AdvowareEntry) -> Link | None:
        """What was agreed on about an entry: by the base, else by its marker if EspoCRM still holds that value.

        One of unknown origin with a value that we were about to create is ours, whatever EspoCRM holds by now. A
        marker whose value EspoCRM lacks proves nothing: perhaps the sync that set it broke off before EspoCRM was
        written. Such an entry counts as new.
        """
        link = self._seen.base.get(entry.id)
        if link is None and entry.key in self._seen.posted:
            return Link(entry.key, entry.key)
        if link is not None or entry.synced_value is None:
            return link
        key = key_of(entry.key.kind, entry.synced_value)
        return Link(key, key) if key in self._keys else None

    # -- nothing to decide ----------------------------------------------------------------------------------------

    def _pair_equal(self, entries: Iterable[AdvowareEntry]) -> list[AdvowareEntry]:
        """Agree on equal values; returns the other entries."""
        rest = []
        for entry in entries:
            if entry.key in self._keys:
                self._agree(entry, Link(entry.key, entry.key), "pair")
            else:
                rest.append(entry)
        return rest

    def _keep_unchanged(self, known: Iterable[tuple[AdvowareEntry, Link]]) -> None:
        """A phone here that is a fax there, both as they were."""
        for entry, link in known:
            if link.espocrm in self._keys and entry.key == link.advoware:
                self._agree(entry, link, "pair")

    def _pair_across_kinds(self, entries: Iterable[AdvowareEntry]) -> list[AdvowareEntry]:
        """A phone here, a fax there, new on both sides: one number, and no reason for a second one."""
        linked = {link.espocrm for link in self._seen.base.values()}
        rest = []
        for entry in entries:
            other = self._arrays.find_held(entry.key)
            if other and other.key in self._keys - self._agreed - linked:
                self._agree(entry, Link(other.key, entry.key), "pair")
            else:
                rest.append(entry)
        return rest

    def _agree(self, entry: AdvowareEntry, link: Link, case: Case) -> None:
        """Both sides hold the value, now or once EspoCRM is written; the marker has to say so."""
        self._agreed.add(link.espocrm)
        self._links[entry.id] = link
        held = self._arrays.find(link.espocrm)
        synced = entry.synced_value
        if held and (synced is None or key_of(link.advoware.kind, synced) != link.advoware):
            self._put(case, entry, entry.tlf, Marker(held.written, entry.komm_kz), link)

    # -- Advoware has changed -------------------------------------------------------------------------------------

    def _changed_in_advoware(self, known: Iterable[tuple[AdvowareEntry, Link]]) -> list[AdvowareEntry]:
        """Var6. Returns the entries whose new value cannot simply take the place of the old one: it counts as new.

        Another entry may hold the old value still, or EspoCRM the new one already.
        """
        new = []
        for entry, link in known:
            if entry.key == link.advoware or link.espocrm not in self._keys:
                continue
            held, in_the_way = self._arrays.find(link.espocrm), self._arrays.find_held(entry.key)
            if self._to_advoware:
                self._restore(entry, next(e for e in self._seen.espocrm if e.key == link.espocrm))
            elif link.espocrm in self._agreed or held is None or in_the_way not in (None, held):
                new.append(entry)
            elif (written := espocrm_value(entry.key.kind, entry.tlf)) is None:
                self._agreed.add(link.espocrm)
                self._links[entry.id] = link
                self._skip(entry, "refused")
            else:
                self._follow(entry, held, written)
        return new

    def _follow(self, entry: AdvowareEntry, held: EspoEntry, written: str) -> None:
        self._changes.append(Change("Var6", "espocrm", entry.key.kind, entry.id, held.written, written))
        self._agreed.add(held.key)
        self._arrays.replace(held.key, entry.komm_kz, written)
        self._awaiting.add(entry.id)
        self._agree(entry, Link(entry.key, entry.key), "Var6")

    def _restore(self, entry: AdvowareEntry, held: EspoEntry) -> None:
        self._agreed.add(held.key)
        self._overwrite("Var6", entry, held, lost=True)

    def _gone_from_advoware(self) -> None:
        """Var3. Towards Advoware the value counts as new in EspoCRM instead, and is created again."""
        if self._to_advoware:
            return
        present = {entry.id for entry in self._seen.advoware}
        for entry_id, link in self._seen.base.items():
            held = self._arrays.find(link.espocrm)
            if held is None or link.espocrm in self._agreed:
                continue
            self._changes.append(Change("Var3", "espocrm", held.key.kind, entry_id, held.written, None))
            self._agreed.add(link.espocrm)
            self._arrays.remove(link.espocrm)
            self._vanished |= entry_id not in present
        # Also those whose value went with another id's: their link ends only when EspoCRM is written.
        gone = {link.espocrm for link in self._seen.base.values() if self._arrays.find(link.espocrm) is None}
        self._awaiting |= {
            entry_id
            for entry_id, link in self._seen.base.items()
            if entry_id not in self._links and link.espocrm in gone & self._keys
        }

    def _new_in_advoware(self, entries: Iterable[AdvowareEntry]) -> None:
        """Var4."""
        for entry in entries:
            written = espocrm_value(entry.key.kind, entry.tlf)
            if self._arrays.find(entry.key) is not None:
                self._awaiting.add(entry.id)
                self._agree(entry, Link(entry.key, entry.key), "Var4")
            elif written is None:
                self._skip(entry, "refused")
            elif self._arrays.find_held(entry.key) is not None:
                continue  # EspoCRM can hold a number only once; this one it shows as another kind
            elif self._arrays.is_full(entry.key.family):
                self._skip(entry, "full")
            elif self._to_advoware:
                if self._may_empty_unknown:
                    self._empty("Var4", entry, lost=True)
            else:
                self._changes.append(Change("Var4", "espocrm", entry.key.kind, entry.id, None, written))
                self._arrays.add(entry.komm_kz, written)
                self._awaiting.add(entry.id)
                self._agree(entry, Link(entry.key, entry.key), "Var4")

    def _skip(self, entry: AdvowareEntry, reason: Literal["refused", "full"]) -> None:
        self._skipped.append(Skipped(entry.id, entry.key.kind, entry.tlf.strip(), reason))

    # -- EspoCRM has changed --------------------------------------------------------------------------------------

    def _changed_in_espocrm(self, gone: Iterable[tuple[AdvowareEntry, Link]], new: list[EspoEntry]) -> list[EspoEntry]:
        """Var5 where a value of the same type took the place of a lost one, else Var2. Returns the other new entries.

        kommKz cannot be changed, so a value of another type needs another entry.
        """
        for entry, link in gone:
            lost = entry.key != link.advoware
            successor = next((other for other in new if _shown_alike(other.komm_kz, entry.komm_kz)), None)
            if successor is None:
                self._empty("Var2", entry, lost=lost)
                continue
            new = [other for other in new if other is not successor]
            self._agreed.add(successor.key)
            self._overwrite("Var5", entry, successor, lost=lost)
        return new

    def _new_in_espocrm(self, new: Iterable[EspoEntry]) -> None:
        """Var1: into an empty slot of the same kommKz, else as a new entry."""
        for entry in new:
            slot = next((slot for slot in self._free_slots() if slot.komm_kz == entry.komm_kz), None)
            if slot is not None:
                self._used_slots.add(slot.id)
                self._overwrite("Var1", slot, entry)
                continue
            link = Link(entry.key, entry.key)
            bemerkung = build_marker(Marker(entry.written, entry.komm_kz))
            change = Change("Var1", "advoware", entry.key.kind, None, None, entry.written)
            self._writes.append(Write("Var1", None, entry.written, entry.komm_kz, bemerkung, link, change))

    def _free_slots(self) -> list[AdvowareEntry]:
        return [entry for entry in self._seen.advoware if entry.is_slot and entry.id not in self._used_slots]

    # -- entries of Advoware --------------------------------------------------------------------------------------

    def _overwrite(self, case: Case, entry: AdvowareEntry, source: EspoEntry, *, lost: bool = False) -> None:
        """Give an entry EspoCRM's value."""
        link = Link(source.key, key_of(entry.key.kind, source.written))
        self._links[entry.id] = link
        self._put(case, entry, source.written, Marker(source.written, entry.komm_kz), link, lost=lost)

    def _empty(self, case: Case, entry: AdvowareEntry, *, lost: bool = False) -> None:
        """Make an entry a slot; the user's text stays."""
        self._put(case, entry, "", Marker(None, entry.komm_kz), None, lost=lost)

    def _tidy_slots(self) -> None:
        """An entry that a person has emptied becomes a slot, and no longer carries the old value in its marker."""
        for entry in self._free_slots():
            if entry.synced_value is not None:
                self._empty("Var3", entry)

    def _put(
        self, case: Case, entry: AdvowareEntry, tlf: str, marker: Marker, link: Link | None, *, lost: bool = False
    ) -> None:
        old, new = entry.tlf.strip() or None, tlf.strip() or None
        change = Change(case, "advoware", entry.key.kind, entry.id, old, new, lost) if old != new else None
        bemerkung = build_marker(marker, entry.text)
        self._writes.append(Write(case, entry.id, tlf, entry.komm_kz, bemerkung, link, change))


def _shown_alike(one: int, other: int) -> bool:
    """Whether EspoCRM shows two kommKz as the same type."""
    return PHONE_TYPES.get(one, "mail") == PHONE_TYPES.get(other, "mail")


def _first_per_key(entries: Iterable[EspoEntry]) -> list[EspoEntry]:
    first: dict[Key, EspoEntry] = {}
    for entry in entries:
        first.setdefault(entry.key, entry)
    return list(first.values())
