"""What a sync of the Kommunikation does: both sides and their base in, a plan out. Pure: no I/O, no clock.

The base maps the id of an Advoware entry to a `Link`: what each side held when the two were last settled. EspoCRM's
entries have no ids, so an EspoCRM entry is known by its value. Equal values on both sides are agreed, whatever the base
says; a difference that is in the base already is left alone; what is left is explained by the base (changed, deleted,
new), and the six cases of the specification follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from services.core.foreign_text import without_invisible
from services.kommunikation_mapper import (
    DATA_ATTRIBUTE,
    FAMILIES,
    MAIL_KOMM_KZ,
    MAX_ENTRIES,
    PHONE_TYPES,
    VALUE_ATTRIBUTE,
    AdvowareEntry,
    AdvowareList,
    EspoEntry,
    EspoSide,
    Key,
    Kind,
    Marker,
    build_marker,
    espocrm_entry,
    family_of,
    key_of,
    kind_of,
    new_espocrm_row,
)
from services.values.kommunikation import Family, espocrm_value, read_value
from services.vmh_sync.kommunikation.stored_form import ALTERED_BY_ESPOCRM

#: The cases of the specification (07), and "pair": equal values that only lack the marker.
Case = Literal["Var1", "Var2", "Var3", "Var4", "Var5", "Var6", "pair"]
Row = Mapping[str, Any]
#: The rows as other records show them, by family and lower-case value.
Shared = Mapping[tuple[Family, str], Row]


@dataclass(frozen=True)
class Link:
    """What each side held when the two were last settled.

    Attributes:
        espocrm, advoware: the values; they differ where one side stores another value than was sent, or refuses it.
            None: EspoCRM does not hold the value, and that is settled.
        type: EspoCRM's type of the number; None if not known yet.
        held: why the two differ and wait for a person (a word of the catalogue of problems), or "".
        unmarked: Advoware's note cannot hold our marker; the base alone knows the entry.
    """

    espocrm: Key | None
    advoware: Key
    type: str | None = None
    held: str = ""
    unmarked: bool = False


Base = Mapping[int, Link]
#: An entry of Advoware and what it was settled on.
Linked = tuple[AdvowareEntry, Link]


@dataclass(frozen=True)
class Observation:
    """Both sides, and what is known about them.

    Attributes:
        espocrm, advoware: as read.
        base: what they were settled on.
        first_sync: nothing was ever agreed on.
        posted: values that we have perhaps created in Advoware.
        is_edited: a user has edited the CBeteiligte since the last sync.
        refused_by_advoware: values of EspoCRM that Advoware does not take.
        refused_by_espocrm: values of Advoware that EspoCRM has refused, although they look valid.
        blocked: EspoCRM refuses the array as it is.
        modern: the numbers that EspoCRM holds in an older form are sent in E.164.
        shared: what other records show of values that come to this one.
    """

    espocrm: EspoSide
    advoware: AdvowareList
    base: Base
    first_sync: bool = False
    posted: frozenset[Key] = frozenset()
    is_edited: bool = True
    refused_by_advoware: frozenset[Key] = frozenset()
    refused_by_espocrm: frozenset[Key] = frozenset()
    blocked: frozenset[Family] = frozenset()
    modern: frozenset[Family] = frozenset()
    shared: Shared = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """A value that changes on one side; ``lost`` if a user's edit in Advoware loses against EspoCRM."""

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
    set. ``value`` is the value as EspoCRM has it, ``text`` the user's part of the note; ``bemerkung`` is None if the
    note cannot be read: it is left alone.
    """

    case: Case
    entry_id: int | None
    tlf: str
    komm_kz: int
    bemerkung: str | None
    link: Link | None
    change: Change | None
    value: str = ""
    text: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """The body of the request; ``online`` follows the mail kinds."""
        record = {
            "tlf": self.tlf,
            "kommKz": self.komm_kz,
            "online": self.komm_kz in MAIL_KOMM_KZ,
        }
        if self.bemerkung is not None:
            record["bemerkung"] = self.bemerkung
        return record

    @property
    def without_marker(self) -> Write:
        """The same request with the user's note only."""
        if self.bemerkung is None:
            return self
        return replace(self, bemerkung=self.text)


@dataclass(frozen=True)
class Notice:
    """Something to report to people about one value.

    ``is_standing``: the two sides differ, and wait for a person. ``other`` is what the other side holds.
    """

    reason: str
    kind: Kind
    value: str
    entry_id: int | None = None
    other: str | None = None
    is_standing: bool = False


@dataclass(frozen=True)
class Plan:
    """What has to be written, and what is settled afterwards.

    Attributes:
        writes: requests to Advoware, in this order; each stands for itself.
        espocrm: the arrays that change, by attribute, complete.
        incoming: the values that EspoCRM's arrays do not hold yet in this form, in their order.
        base: the links that hold when everything is written; those of created entries are in their `Write`.
        awaiting_espocrm: ids whose link in ``base`` (or absence from it) is true only once EspoCRM is written.
        changes: values that change in EspoCRM; those that change in Advoware are in their `Write`.
        notices: what people are notified of.
        vanished: whether an entry is removed from EspoCRM because Advoware's list lacks it.
    """

    writes: tuple[Write, ...] = ()
    espocrm: Mapping[str, list[Row]] = field(default_factory=dict)
    incoming: tuple[EspoEntry, ...] = ()
    base: Base = field(default_factory=dict)
    awaiting_espocrm: frozenset[int] = frozenset()
    changes: tuple[Change, ...] = ()
    notices: tuple[Notice, ...] = ()
    vanished: bool = False


def make_plan(
    observed: Observation,
    *,
    to_advoware: bool = False,
    forced: bool = False,
) -> Plan:
    """The plan for one CBeteiligte.

    ``to_advoware``: EspoCRM stays as it is, and edits in Advoware are reverted. Before the first sync an edit there
    cannot be distinguished from what has always been there, so such entries are only emptied if it is ``forced``.
    """
    return _Planner(observed, to_advoware or forced, forced).plan()


class _Arrays:
    """EspoCRM's two arrays while a plan is made."""

    def __init__(self, observed: Observation) -> None:
        self._observed = observed
        self._before = {
            family: list(observed.espocrm.array(family).entries) for family in FAMILIES
        }
        self._now: dict[Family, list[EspoEntry]] = {
            family: list(rows) for family, rows in self._before.items()
        }

    def find(self, key: Key | None) -> EspoEntry | None:
        """The first entry with this key."""
        if key is None:
            return None
        return next(iter(self.find_all(key)), None)

    def find_all(self, key: Key) -> list[EspoEntry]:
        """All entries with this key, in whatever spelling."""
        return [entry for entry in self._now[key.family] if entry.key == key]

    def is_full(self, family: Family) -> bool:
        return len(self._now[family]) >= MAX_ENTRIES

    def add(self, komm_kz: int, written: str) -> None:
        family = family_of(komm_kz)
        shared = self._shared(family, written)
        if shared:
            written = shared[VALUE_ATTRIBUTE[family]]
        row = new_espocrm_row(komm_kz, written, shared)
        self._now[family].append(espocrm_entry(family, row))

    def remove(self, key: Key) -> None:
        self._now[key.family] = [
            entry for entry in self._now[key.family] if entry.key != key
        ]

    def replace(self, key: Key, written: str) -> None:
        """Put another value in the place of the first entry with this key; further ones with this key go."""
        entries = self._now[key.family]
        place = [entry.key for entry in entries].index(key)
        entries[place] = self._rewritten(entries[place], written)
        self.remove(key)

    def _rewritten(self, entry: EspoEntry, written: str) -> EspoEntry:
        """The row of an entry with another value; who has opted out keeps that with the new value."""
        family = entry.key.family
        attribute = VALUE_ATTRIBUTE[family]
        row = {**entry.raw, attribute: written, "invalid": False}
        if family == "mail":
            row["lower"] = written.lower()
        shared = self._shared(family, written)
        if shared is None:
            return espocrm_entry(family, row)
        return espocrm_entry(family, _as_shared(row, shared, family))

    def _shared(self, family: Family, written: str) -> Row | None:
        return self._observed.shared.get((family, written.lower()))

    def changed(self) -> dict[str, list[Row]]:
        """The arrays that differ from what was read, with exactly one primary entry each."""
        changed = {}
        for family in FAMILIES:
            entries = self._in_sent_form(family)
            rows = _raw_rows(entries)
            if rows != _raw_rows(self._before[family]):
                changed[DATA_ATTRIBUTE[family]] = _with_one_primary(rows)
        return changed

    def _in_sent_form(self, family: Family) -> list[EspoEntry]:
        """The entries of an array, in E.164 if those in an older form are sent like that."""
        entries = self._now[family]
        if family in self._observed.modern:
            return [self._modern(entry) for entry in entries]
        return entries

    def _modern(self, entry: EspoEntry) -> EspoEntry:
        written = espocrm_value(entry.key.family, entry.written)
        if written is None or written == entry.written:
            return entry
        return self._rewritten(entry, written)


def _as_shared(row: Row, shared: Row, family: Family) -> Row:
    """A row with what other records show of its value."""
    attribute = VALUE_ATTRIBUTE[family]
    changed = {**row, attribute: shared[attribute]}
    changed["invalid"] = bool(shared.get("invalid"))
    has_opted_out = row.get("optOut") or shared.get("optOut")
    changed["optOut"] = bool(has_opted_out)
    if family == "phone" and shared.get("type"):
        changed["type"] = shared["type"]
    return changed


def incoming_entries(
    observed: EspoSide,
    arrays: Mapping[str, list[Row]],
) -> tuple[EspoEntry, ...]:
    """The entries of arrays to be written whose written form EspoCRM does not hold yet."""
    held = {entry.written for entry in observed.entries}
    incoming = []
    for family in FAMILIES:
        for row in arrays.get(DATA_ATTRIBUTE[family], ()):
            entry = espocrm_entry(family, row)
            if entry.written not in held:
                incoming.append(entry)
    return tuple(incoming)


def _raw_rows(entries: Iterable[EspoEntry]) -> list[Row]:
    return [entry.raw for entry in entries]


def _with_one_primary(rows: list[Row]) -> list[Row]:
    """The present primary entry stays it; without one, the first becomes it. Other rows stay as they were read."""
    flags = [bool(row.get("primary")) for row in rows]
    primary = _place_of_primary(flags)
    changed = []
    for index, row in enumerate(rows):
        is_primary = index == primary
        if flags[index] != is_primary:
            row = {**row, "primary": is_primary}
        changed.append(row)
    return changed


def _place_of_primary(flags: list[bool]) -> int:
    if True in flags:
        return flags.index(True)
    return 0


class _Planner:
    def __init__(self, observed: Observation, to_advoware: bool, forced: bool) -> None:
        self._observed = observed
        self._to_advoware = to_advoware
        self._forced = forced
        self._may_empty_unknown = forced or not observed.first_sync
        self._arrays = _Arrays(observed)
        self._living = [
            entry for entry in observed.espocrm.entries if not entry.is_erased
        ]
        # What EspoCRM held when it was read, and those keys that need no explanation any more.
        self._keys = {entry.key for entry in self._living}
        self._agreed: set[Key] = set()
        self._entries = [
            entry
            for entry in observed.advoware.entries
            if self._is_known(entry.key.family)
        ]
        self._links: dict[int, Link] = {}
        self._awaiting: set[int] = set()
        self._writes: list[Write] = []
        self._changes: list[Change] = []
        self._notices: list[Notice] = []
        self._used_slots: set[int] = set()
        self._vanished = False

    def plan(self) -> Plan:
        self._keep_what_is_unknown()
        known, unknown = self._by_origin(self._pair_equal())
        unknown += [entry for entry, link in known if _is_edit_of_unwanted(entry, link)]
        gone = [(entry, link) for entry, link in known if self._is_gone(link)]
        self._keep_unchanged(known)
        unknown += self._changed_in_advoware(known)
        self._gone_from_advoware()
        new = self._changed_in_espocrm(gone, self._unexplained())
        self._new_in_espocrm(new)
        self._new_in_advoware(unknown)
        self._tidy_slots()
        return self._result()

    def _by_origin(
        self,
        entries: Iterable[AdvowareEntry],
    ) -> tuple[list[Linked], list[AdvowareEntry]]:
        """The entries about which something was settled, with that; and the others."""
        known: list[Linked] = []
        unknown: list[AdvowareEntry] = []
        for entry in entries:
            link = self._link_of(entry)
            if link is None:
                unknown.append(entry)
            else:
                known.append((entry, link))
        return known, unknown

    def _result(self) -> Plan:
        arrays = self._arrays.changed()
        return Plan(
            tuple(self._writes),
            arrays,
            incoming_entries(self._observed.espocrm, arrays),
            self._links,
            frozenset(self._awaiting),
            tuple(self._changes),
            tuple(self._notices),
            self._vanished,
        )

    def _is_gone(self, link: Link) -> bool:
        """Whether EspoCRM held the value of a link, and holds it no more."""
        return link.espocrm is not None and link.espocrm not in self._keys

    def _unexplained(self) -> list[EspoEntry]:
        """EspoCRM's values about which nothing is agreed, the first entry of each."""
        first: dict[Key, EspoEntry] = {}
        for entry in self._living:
            first.setdefault(entry.key, entry)
        return [entry for key, entry in first.items() if key not in self._agreed]

    # -- what is known about a family ---------------------------------------------------------------------------

    def _is_known(self, family: Family) -> bool:
        return self._observed.espocrm.array(family).is_known

    def _is_erased(self, family: Family) -> bool:
        return self._observed.espocrm.array(family).is_erased

    def _frozen(self, family: Family) -> str | None:
        """Why an array cannot be written; the word of the catalogue."""
        if self._is_erased(family):
            return "kom_erased"
        if not self._observed.espocrm.array(family).is_complete:
            return "kom_espocrm_unreadable"
        if family in self._observed.blocked:
            return "kom_array_blocked"
        return None

    def _unwritable(self, family: Family) -> str:
        """The rows of an array that EspoCRM no longer accepts as they are."""
        entries = self._observed.espocrm.array(family).entries
        return ", ".join(
            entry.written
            for entry in entries
            if espocrm_value(family, entry.written) != entry.written
        )

    # -- nothing to decide ----------------------------------------------------------------------------------------

    def _keep_what_is_unknown(self) -> None:
        """Entries whose value cannot be read, and everything of a family that EspoCRM does not show."""
        unreadable = {entry.id: entry for entry in self._entries if entry.is_unknown}
        for entry_id, link in self._observed.base.items():
            if not self._is_known(link.advoware.family):
                self._keep_as_settled(entry_id, link)
            elif entry_id in unreadable:
                self._keep_unreadable(unreadable[entry_id], link)

    def _keep_as_settled(self, entry_id: int, link: Link) -> None:
        self._links[entry_id] = link
        if link.espocrm in self._keys:
            self._agreed.add(link.espocrm)

    def _keep_unreadable(self, entry: AdvowareEntry, link: Link) -> None:
        """Keep the link of an entry that cannot be read; that is reported if EspoCRM has lost the value."""
        self._keep_as_settled(entry.id, link)
        if link.espocrm is not None and link.espocrm not in self._keys:
            self._notify(
                "kom_unreadable",
                entry,
                value=link.espocrm.value,
                is_standing=True,
            )

    def _link_of(self, entry: AdvowareEntry) -> Link | None:
        """What was settled about an entry: by the base, else by its marker if EspoCRM still holds that value.

        One of unknown origin with a value that the sync was about to create is its own, whatever EspoCRM holds by now.
        A marker whose value EspoCRM lacks proves nothing: perhaps the sync that set it broke off before EspoCRM was
        written. Such an entry counts as new.
        """
        link = self._observed.base.get(entry.id)
        if link is not None:
            return link
        if entry.key in self._observed.posted:
            return Link(entry.key, entry.key, PHONE_TYPES.get(entry.komm_kz))
        if entry.synced_value is None:
            return None
        return self._link_by_marker(entry, entry.synced_value)

    def _link_by_marker(self, entry: AdvowareEntry, synced_value: str) -> Link | None:
        key = key_of(entry.key.family, synced_value)
        if key not in self._keys:
            return None
        # The answer to our request was lost, and Advoware stores another value than was sent.
        if key in self._observed.posted:
            return Link(key, entry.key, held="kom_altered")
        return Link(key, key)

    def _pair_equal(self) -> list[AdvowareEntry]:
        """Agree on equal values; returns the other entries that hold a value."""
        rest = []
        for entry in self._entries:
            if entry.is_empty or entry.is_unknown:
                continue
            if self._is_equal(entry):
                self._agree(entry, Link(entry.key, entry.key), "pair")
            else:
                rest.append(entry)
        return rest

    def _is_equal(self, entry: AdvowareEntry) -> bool:
        """Whether EspoCRM holds the value of an entry as this entry's."""
        return entry.key in self._keys and not self._is_held_otherwise(entry)

    def _is_held_otherwise(self, entry: AdvowareEntry) -> bool:
        """Whether an entry holds another entry's value, as what Advoware has made of one that EspoCRM holds."""
        link = self._altered_link(entry)
        if link is None or link.espocrm not in self._keys:
            return False
        same = [other for other in self._entries if other.key == entry.key]
        return any(self._altered_link(other) is None for other in same)

    def _altered_link(self, entry: AdvowareEntry) -> Link | None:
        """What an entry was settled on, if it still holds another value than EspoCRM was left with."""
        link = self._observed.base.get(entry.id)
        if link is None or not link.held or link.espocrm == link.advoware:
            return None
        if link.advoware != entry.key:
            return None
        return link

    def _keep_unchanged(self, known: Iterable[Linked]) -> None:
        """Two values that differ, both as they were."""
        for entry, link in known:
            if not self._is_unchanged(entry, link):
                continue
            if self._is_erasure_decided(entry, link):
                link = replace(link, held="")
            self._agree(entry, link, "pair")
            if link.held:
                self._notify_held(entry, link)

    def _is_unchanged(self, entry: AdvowareEntry, link: Link) -> bool:
        return entry.key == link.advoware and not self._is_gone(link)

    def _is_erasure_decided(self, entry: AdvowareEntry, link: Link) -> bool:
        """Whether the person who took the erased value away has decided."""
        return link.held == "kom_erased" and not self._is_erased(entry.key.family)

    def _notify_held(self, entry: AdvowareEntry, link: Link) -> None:
        """Notify of what waits for a person; another type is what `_agree` notifies of."""
        held = self._arrays.find(link.espocrm)
        if link.held == "kom_erased":
            self._notify("kom_erased", entry, is_standing=True)
        elif held is None:
            self._notify(link.held, entry, is_standing=True)
        elif link.held == ALTERED_BY_ESPOCRM:
            self._notify(link.held, entry, other=held.written, is_standing=True)
        elif link.held != "kom_type":
            self._notify(
                link.held,
                entry,
                value=held.written,
                other=entry.written,
                is_standing=True,
            )

    def _agree(self, entry: AdvowareEntry, link: Link, case: Case) -> None:
        """Both sides hold the value, now or once EspoCRM is written; the marker has to say so."""
        held = self._arrays.find(link.espocrm)
        link = replace(link, unmarked=self._is_unmarked(entry))
        if entry.stored is not None:
            link = self._notify_altered(entry, link, entry.stored)
        if held is None or link.espocrm is None:
            self._links[entry.id] = link
            return
        self._agreed.add(link.espocrm)
        link = self._with_type(entry, link, held)
        self._links[entry.id] = link
        if _lacks_marker(entry, link):
            self._put_marker(case, entry, held, link)

    def _is_unmarked(self, entry: AdvowareEntry) -> bool:
        """Whether the base alone knows an entry, because its note cannot hold our marker."""
        before = self._observed.base.get(entry.id)
        return before is not None and before.unmarked

    def _put_marker(
        self,
        case: Case,
        entry: AdvowareEntry,
        held: EspoEntry,
        link: Link,
    ) -> None:
        marker = Marker(held.written, entry.komm_kz)
        self._put(
            case,
            entry,
            entry.tlf or "",
            marker,
            link,
        )

    def _notify_altered(self, entry: AdvowareEntry, link: Link, stored: str) -> Link:
        """Notify of a value that Advoware holds in another form than a person has entered it; returns the link."""
        value = espocrm_value(entry.key.family, entry.written)
        self._notify("kom_altered", entry, value=value, other=stored, is_standing=True)
        advoware = key_of(entry.key.family, stored)
        return replace(link, advoware=advoware, held="kom_altered")

    def _with_type(self, entry: AdvowareEntry, link: Link, held: EspoEntry) -> Link:
        """Remember EspoCRM's type of a number. Another one than before is reported if it is an edit of this record.

        kommKz cannot be changed through Advoware's interface. A type that differs from the start is settled, and so is
        one that has changed while no one touched the record: EspoCRM's row belongs to all records with this number.
        """
        if entry.key.family == "mail" or held.type is None:
            return link
        before = self._link_of(entry)
        if before is None or before.type is None:
            return self._notify_type(entry, replace(link, type=held.type), held)
        shown = {row.type for row in self._arrays.find_all(held.key)}
        link = replace(link, type=_type_now(held.type, before.type, shown))
        if not self._is_shown_alike(entry, held) and self._awaits_type(before, link):
            link = replace(link, held="kom_type")
        return self._notify_type(entry, link, held)

    def _notify_type(self, entry: AdvowareEntry, link: Link, held: EspoEntry) -> Link:
        """Notify of a type that has to be changed by hand; returns the link."""
        if link.held == "kom_type":
            self._notify(
                "kom_type",
                entry,
                value=held.written,
                other=link.type,
                is_standing=True,
            )
        return link

    def _is_shown_alike(self, entry: AdvowareEntry, held: EspoEntry) -> bool:
        """Whether the two numbers have a type in common, which may be in several rows of either side.

        EspoCRM's types that Advoware does not know are one there.
        """
        same = [other for other in self._entries if other.key == entry.key]
        in_advoware = {PHONE_TYPES[other.komm_kz] for other in same}
        rows = self._arrays.find_all(held.key)
        return any(PHONE_TYPES[row.komm_kz] in in_advoware for row in rows)

    def _awaits_type(self, before: Link, link: Link) -> bool:
        """Whether another type has to be changed by hand; not if the number waits for a person already."""
        return not link.held and self._is_type_edit(before, link)

    def _is_type_edit(self, before: Link, link: Link) -> bool:
        """Whether a user of this record has chosen another type, now or in an earlier run that has reported it."""
        if before.type == link.type:
            return before.held == "kom_type"
        is_here = before.espocrm == link.espocrm or self._is_chosen(before, link)
        return is_here and self._observed.is_edited

    def _is_chosen(self, before: Link, link: Link) -> bool:
        """Whether a number that Advoware has replaced was shown with the type of its successor.

        Not if EspoCRM knows the successor otherwise: then its type is that of another row.
        """
        shown = {entry.type for entry in self._living if entry.key == before.espocrm}
        return link.espocrm not in self._keys and link.type in shown

    # -- Advoware has changed -------------------------------------------------------------------------------------

    def _changed_in_advoware(self, known: Iterable[Linked]) -> list[AdvowareEntry]:
        """Var6. Returns the entries whose new value cannot simply take the place of the old one: it counts as new."""
        new = []
        for entry, link in known:
            is_changed = entry.key != link.advoware and link.espocrm in self._keys
            if is_changed and not self._bring_over(entry, link):
                new.append(entry)
        return new

    def _bring_over(self, entry: AdvowareEntry, link: Link) -> bool:
        """Settle an entry with a new value in Advoware; False if it counts as a new one.

        Another entry may hold the old value still, or EspoCRM the new one already; or the entry was empty.
        """
        held = self._unsettled_entry(link)
        # EspoCRM keeps numbers and mail addresses apart.
        if held is None or held.key.family != entry.key.family:
            return False
        if self._to_advoware:
            self._restore(entry, held)
            return True
        if _was_empty(entry, link):
            return False
        if self._arrays.find(entry.key) not in (None, held):
            return False
        reason = self._unfit(entry)
        if reason is None:
            self._follow(entry, held)
            return True
        self._agreed.add(held.key)
        self._links[entry.id] = self._with_type(entry, link, held)
        other = self._other(reason, held.written, entry)
        self._notify(reason, entry, other=other, is_standing=True)
        return True

    def _unsettled_entry(self, link: Link) -> EspoEntry | None:
        """EspoCRM's entry with the value of a link; None if nothing has to be decided about it any more."""
        held = self._arrays.find(link.espocrm)
        if held is None or held.key in self._agreed:
            return None
        return held

    def _unfit(self, entry: AdvowareEntry) -> str | None:
        """Why EspoCRM cannot be given the value of an entry, or None."""
        reading = read_value(entry.key.family, entry.tlf or "")
        if reading.value is None:
            return reading.reason
        if entry.key in self._observed.refused_by_espocrm:
            return "kom_refused_by_espocrm"
        return self._frozen(entry.key.family)

    def _other(self, reason: str, held: str | None, entry: AdvowareEntry) -> str | None:
        if reason == "kom_array_blocked":
            return self._unwritable(entry.key.family)
        return held

    def _follow(self, entry: AdvowareEntry, held: EspoEntry) -> None:
        written = espocrm_value(entry.key.family, entry.tlf or "") or ""
        kind = kind_of(entry.komm_kz)
        self._changes.append(
            Change(
                "Var6",
                "espocrm",
                kind,
                entry.id,
                held.written,
                written,
            ),
        )
        self._agreed.add(held.key)
        self._arrays.replace(held.key, written)
        self._awaiting.add(entry.id)
        self._agree(entry, Link(entry.key, entry.key), "Var6")

    def _restore(self, entry: AdvowareEntry, held: EspoEntry) -> None:
        self._agreed.add(held.key)
        self._overwrite("Var6", entry, held, lost=True)

    def _gone_from_advoware(self) -> None:
        """Var3. Towards Advoware the value counts as new in EspoCRM instead, and is created again."""
        present = {entry.id: entry for entry in self._observed.advoware.entries}
        for entry_id, link in self._observed.base.items():
            held = self._unsettled_entry(link)
            if held is not None:
                self._settle_gone(entry_id, link, held, present.get(entry_id))
        if not self._to_advoware:
            self._await_removals()

    def _settle_gone(
        self,
        entry_id: int,
        link: Link,
        held: EspoEntry,
        entry: AdvowareEntry | None,
    ) -> None:
        """Decide about a value that Advoware no longer holds; ``entry`` is its entry there, None if that is gone."""
        if self._may_be_odd(entry):
            self._keep_gone(entry_id, link)
        elif not link.advoware.value:
            self._keep_empty(entry, link)
        elif self._is_altered(entry):
            return  # EspoCRM holds both values by now; this one counts as new there
        elif not self._to_advoware:
            self._remove_gone(entry_id, link, held, is_absent=entry is None)

    def _may_be_odd(self, entry: AdvowareEntry | None) -> bool:
        """Whether an absent entry is perhaps one of the odd rows."""
        return entry is None and bool(self._observed.advoware.odd)

    def _is_altered(self, entry: AdvowareEntry | None) -> bool:
        return entry is not None and self._altered_link(entry) is not None

    def _keep_empty(self, entry: AdvowareEntry | None, link: Link) -> None:
        """A value whose entry Advoware has emptied itself, or not filled: no person has taken it away.

        It is sent again only if the entry is gone, or a person has put another value into it.
        """
        if entry is not None and entry.is_empty and not self._forced:
            self._keep_gone(entry.id, link)
            self._notify_held(entry, link)

    def _remove_gone(
        self,
        entry_id: int,
        link: Link,
        held: EspoEntry,
        *,
        is_absent: bool,
    ) -> None:
        """Take a value that Advoware holds no more out of EspoCRM, if that can be written."""
        kind = kind_of(held.komm_kz)
        if self._frozen(held.key.family) is not None:
            self._keep_gone(entry_id, link)
            notice = Notice(
                "kom_still_in_espocrm",
                kind,
                held.written,
                entry_id,
                is_standing=True,
            )
            self._notices.append(notice)
            return
        self._changes.append(
            Change(
                "Var3",
                "espocrm",
                kind,
                entry_id,
                held.written,
                None,
            ),
        )
        self._agreed.add(held.key)
        self._arrays.remove(held.key)
        self._vanished |= is_absent

    def _await_removals(self) -> None:
        """The links of removed values end only when EspoCRM is written, also those of other ids with the value."""
        for entry_id, link in self._observed.base.items():
            if self._is_removed(link) and entry_id not in self._links:
                self._awaiting.add(entry_id)

    def _is_removed(self, link: Link) -> bool:
        """Whether EspoCRM held the value of a link when it was read, and this run removes it."""
        return link.espocrm in self._keys and self._arrays.find(link.espocrm) is None

    def _keep_gone(self, entry_id: int, link: Link) -> None:
        """Believe nothing, or do nothing, about an entry that is not there: its value stays in EspoCRM."""
        self._links[entry_id] = link
        if link.espocrm is not None:
            self._agreed.add(link.espocrm)

    def _new_in_advoware(self, entries: Iterable[AdvowareEntry]) -> None:
        """Var4."""
        for entry in entries:
            if self._arrays.find(entry.key) is not None:
                self._awaiting.add(entry.id)
                self._agree(entry, Link(entry.key, entry.key), "Var4")
            else:
                self._bring_or_empty(entry)

    def _bring_or_empty(self, entry: AdvowareEntry) -> None:
        """Bring a value that EspoCRM lacks over, if it can be; towards Advoware empty its entry instead."""
        reason = self._unfit(entry)
        if reason is not None:
            other = self._other(reason, None, entry)
            is_erased = reason == "kom_erased"
            self._notify(reason, entry, other=other, is_standing=is_erased)
        elif self._arrays.is_full(entry.key.family):
            self._notify("kom_full", entry)
        elif not self._to_advoware:
            self._add_to_espocrm(entry)
        elif self._may_empty_unknown:
            self._empty("Var4", entry, lost=True)

    def _add_to_espocrm(self, entry: AdvowareEntry) -> None:
        written = espocrm_value(entry.key.family, entry.tlf or "") or ""
        kind = kind_of(entry.komm_kz)
        self._changes.append(
            Change(
                "Var4",
                "espocrm",
                kind,
                entry.id,
                None,
                written,
            ),
        )
        self._arrays.add(entry.komm_kz, written)
        self._awaiting.add(entry.id)
        self._agree(entry, Link(entry.key, entry.key), "Var4")

    def _notify(
        self,
        reason: str,
        entry: AdvowareEntry,
        *,
        value: str | None = None,
        other: str | None = None,
        is_standing: bool = False,
    ) -> None:
        shown = entry.written if value is None else value
        self._notices.append(
            Notice(
                reason,
                kind_of(entry.komm_kz),
                shown,
                entry.id,
                other,
                is_standing,
            ),
        )

    # -- EspoCRM has changed --------------------------------------------------------------------------------------

    def _changed_in_espocrm(
        self,
        gone: Iterable[Linked],
        new: list[EspoEntry],
    ) -> list[EspoEntry]:
        """Var5 where a value of the same type took the place of a lost one, else Var2. Returns the other new entries.

        kommKz cannot be changed, so a value of another type needs another entry.
        """
        rest = list(new)
        for entry, link in gone:
            if self._keep_undecided(entry, link):
                continue
            lost = _is_edited_in_advoware(entry, link)
            successor = _first_shown_alike(rest, entry)
            if successor is None:
                self._empty("Var2", entry, lost=lost)
                continue
            rest.remove(successor)
            self._agreed.add(successor.key)
            self._overwrite("Var5", entry, successor, lost=lost)
        return rest

    def _keep_undecided(self, entry: AdvowareEntry, link: Link) -> bool:
        """Keep an entry if EspoCRM's array does not show whether its value was deleted; whether it was kept."""
        family = entry.key.family
        if self._is_erased(family):
            # Which of the values were erased cannot be known; none of them was deleted.
            self._links[entry.id] = replace(
                link,
                espocrm=None,
                advoware=entry.key,
                held="kom_erased",
            )
            self._notify("kom_erased", entry, is_standing=True)
            return True
        if not self._observed.espocrm.array(family).is_complete:
            self._links[entry.id] = link
            return True
        return False

    def _new_in_espocrm(self, new: Iterable[EspoEntry]) -> None:
        """Var1: into an empty slot of the same kommKz, else as a new entry."""
        for entry in new:
            if entry.key in self._observed.advoware.unaddressed:
                continue  # it is there, in a row that cannot be addressed
            if self._is_refused(entry):
                self._notify_refused(entry)
                continue
            slot = self._slot_for(entry)
            if slot is None:
                self._create(entry)
                continue
            self._used_slots.add(slot.id)
            self._overwrite("Var1", slot, entry)

    def _is_refused(self, entry: EspoEntry) -> bool:
        return entry.key in self._observed.refused_by_advoware and not self._forced

    def _notify_refused(self, entry: EspoEntry) -> None:
        kind = kind_of(entry.komm_kz)
        self._notices.append(
            Notice("kom_refused_by_advoware", kind, entry.written, is_standing=True),
        )

    def _slot_for(self, entry: EspoEntry) -> AdvowareEntry | None:
        for slot in self._free_slots():
            if slot.komm_kz == entry.komm_kz:
                return slot
        return None

    def _create(self, entry: EspoEntry) -> None:
        kind = kind_of(entry.komm_kz)
        tlf = _sent(entry.written)
        self._writes.append(
            Write(
                "Var1",
                None,
                tlf,
                entry.komm_kz,
                bemerkung=build_marker(Marker(entry.written, entry.komm_kz)),
                link=Link(entry.key, entry.key, entry.type),
                change=Change(
                    "Var1",
                    "advoware",
                    kind,
                    None,
                    None,
                    tlf,
                ),
                value=entry.written,
            ),
        )

    def _free_slots(self) -> list[AdvowareEntry]:
        return [entry for entry in self._entries if self._is_free_slot(entry)]

    def _is_free_slot(self, entry: AdvowareEntry) -> bool:
        is_used = entry.id in self._used_slots or entry.id in self._links
        return entry.is_slot and not is_used

    # -- entries of Advoware --------------------------------------------------------------------------------------

    def _overwrite(
        self,
        case: Case,
        entry: AdvowareEntry,
        source: EspoEntry,
        *,
        lost: bool = False,
    ) -> None:
        """Give an entry EspoCRM's value."""
        unmarked = self._is_unmarked(entry)
        link = Link(source.key, source.key, source.type, unmarked=unmarked)
        link = self._with_type(entry, link, source)
        self._links[entry.id] = link
        marker = Marker(source.written, entry.komm_kz)
        self._put(
            case,
            entry,
            _sent(source.written),
            marker,
            link,
            lost=lost,
        )

    def _empty(self, case: Case, entry: AdvowareEntry, *, lost: bool = False) -> None:
        """Make an entry a slot; the user's text stays."""
        self._put(
            case,
            entry,
            "",
            Marker(None, entry.komm_kz),
            None,
            lost=lost,
        )

    def _tidy_slots(self) -> None:
        """An entry that a person has emptied becomes a slot, and no longer carries the old value in its marker."""
        for entry in self._free_slots():
            if entry.synced_value is not None:
                self._empty("Var3", entry)

    def _put(
        self,
        case: Case,
        entry: AdvowareEntry,
        tlf: str,
        marker: Marker,
        link: Link | None,
        *,
        lost: bool = False,
    ) -> None:
        bemerkung = build_marker(marker, entry.text)
        if self._is_unmarked(entry):
            bemerkung = entry.text
        note = None
        if entry.has_note:
            note = bemerkung
        write = Write(
            case=case,
            entry_id=entry.id,
            tlf=tlf,
            komm_kz=entry.komm_kz,
            bemerkung=note,
            link=link,
            change=_change_to(entry, tlf, case, lost=lost),
            value=marker.value or "",
            text=entry.text,
        )
        self._writes.append(write)


def _sent(written: str) -> str:
    return without_invisible(written).strip()


def _is_edit_of_unwanted(entry: AdvowareEntry, link: Link) -> bool:
    """Whether a value that EspoCRM does not hold, which was settled, was changed in Advoware."""
    return link.espocrm is None and entry.key != link.advoware


def _was_empty(entry: AdvowareEntry, link: Link) -> bool:
    """Whether Advoware held no value in an entry when it was settled, and has stored none of its own since."""
    return not link.advoware.value and entry.stored is None


def _type_now(first: str, before: str, shown: Set[str | None]) -> str:
    """The type before, if it is among those shown, else the first one's: the number may be there in two spellings."""
    if before in shown:
        return before
    return first


def _lacks_marker(entry: AdvowareEntry, link: Link) -> bool:
    """Whether an entry that can carry our marker has none, or another one."""
    return entry.has_note and not link.unmarked and not _is_marked(entry, link)


def _is_marked(entry: AdvowareEntry, link: Link) -> bool:
    """Whether the marker of an entry names the value that the link says."""
    if entry.synced_value is None:
        return False
    marked = key_of(entry.key.family, entry.synced_value)
    return marked in (link.advoware, link.espocrm)


def _is_edited_in_advoware(entry: AdvowareEntry, link: Link) -> bool:
    """Whether a user has changed the value in Advoware; what Advoware itself has made of one is no user's edit."""
    if entry.key == link.espocrm:
        return False
    is_altered = entry.key == link.advoware and link.held == "kom_altered"
    return not is_altered


def _first_shown_alike(
    entries: Iterable[EspoEntry],
    entry: AdvowareEntry,
) -> EspoEntry | None:
    """The first of EspoCRM's entries that has the same type there as Advoware's entry."""
    wanted = PHONE_TYPES.get(entry.komm_kz, "mail")
    for other in entries:
        if PHONE_TYPES.get(other.komm_kz, "mail") == wanted:
            return other
    return None


def _change_to(
    entry: AdvowareEntry,
    tlf: str,
    case: Case,
    *,
    lost: bool,
) -> Change | None:
    """What a write to an entry changes of its value; None if the value stays."""
    old = entry.written or None
    new = tlf.strip() or None
    if old == new:
        return None
    return Change(
        case=case,
        side="advoware",
        kind=kind_of(entry.komm_kz),
        entry_id=entry.id,
        old=old,
        new=new,
        lost=lost,
    )
