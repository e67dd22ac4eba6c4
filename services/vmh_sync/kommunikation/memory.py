"""What is remembered of the Kommunikation of one CBeteiligte, and how it is stored (``sync_state.base``). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import starmap
from typing import Any, Final

from services.kommunikation_mapper import (
    DATA_ATTRIBUTE,
    FAMILIES,
    AdvowareEntry,
    EspoArray,
    EspoSide,
    Key,
    advoware_entries,
    entries_by_id,
    family_of,
    key_of,
    kommunikation_hash,
    read_espocrm,
)
from services.values.espocrm_query import parse_date_time
from services.values.kommunikation import Family
from services.values.merge import SENDING, Side
from services.values.sealed import has_sealed
from services.vmh_sync.kommunikation.plan import Base, Link, Plan
from services.vmh_sync.kommunikation.stored_form import ALTERED_BY_ESPOCRM, resembling
from services.vmh_sync.sending import Sent, may_be_edited, pairs_with_sent
from services.vmh_sync.store import SyncState

VERSION: Final = 2
#: The member of what is being sent that holds EspoCRM's types of the numbers, by id of the entry.
TYPES: Final = "types"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class NotTaken:
    """What EspoCRM refuses as long as its array is as it was then.

    ``rows`` is a fingerprint of the array; ``keys`` are single values, ``is_blocked`` means the array as a whole.
    """

    rows: str
    keys: frozenset[Key] = frozenset()
    is_blocked: bool = False


@dataclass(frozen=True)
class Memory:
    """The base of one CBeteiligte.

    Attributes:
        betnr: the Beteiligter whose entries the links name.
        links: what both sides were settled on, by id of the entry in Advoware.
        complete: whether a sync in both directions has come to its end; until then, what only Advoware has is not new.
        lost: audit lines of values that were, or were about to be, lost in Advoware, and are not reported yet; also of
            those that are sent along with our marker (`is_sent_along`), and, with ``reported``, of those that Advoware
            has altered then and EspoCRM cannot be given.
        posted: values whose creation in Advoware was begun without our knowing how it ended.
        posted_at: when we began to create or change values of which that is not known; an ISO string, empty if there
            are none.
        refused: values of EspoCRM that Advoware does not take.
        not_taken: what EspoCRM does not take, by family.
        sending: what is about to be written, by side and id of the entry: the value's key, None for none
            (`services.vmh_sync.sending`); with the types of the numbers (`TYPES`).
    """

    betnr: int
    links: Base = field(default_factory=dict)
    complete: bool = False
    lost: tuple[Record, ...] = ()
    posted: frozenset[Key] = frozenset()
    posted_at: str = ""
    refused: frozenset[Key] = frozenset()
    not_taken: Mapping[Family, NotTaken] = field(default_factory=dict)
    sending: Sent = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known but the number."""
        is_known = (
            self.links or self.lost or self.posted or self.refused or self.not_taken
        )
        return not is_known and not self.sending

    def as_json(self) -> dict[str, Any]:
        """The stored form; parts that hold nothing are left out."""
        stored: dict[str, Any] = {
            "version": VERSION,
            "betNr": self.betnr,
            "links": _links_to_json(self.links),
            "complete": self.complete,
            "lost": list(map(dict, self.lost)),
        }
        if self.posted:
            stored["posted"] = _keys_to_json(self.posted)
        if self.posted or self.sending.get("advoware"):
            stored["postedAt"] = self.posted_at
        if self.refused:
            stored["refused"] = _keys_to_json(self.refused)
        not_taken = {}
        for family, item in sorted(self.not_taken.items()):
            not_taken[family] = _not_taken_to_json(item)
        if not_taken:
            stored["notTaken"] = not_taken
        if self.sending:
            stored[SENDING] = dict(self.sending)
        return stored

    def as_entered(self, entry: AdvowareEntry) -> AdvowareEntry:
        """An entry with the value that a person has given it, if Advoware has altered that with our marker.

        Not if it has another value again.
        """
        for line in reversed(self.lost):
            if line["id"] != entry.id or not has_altered(line, entry):
                continue
            key = key_of(family_of(entry.komm_kz), line["old"])
            return replace(entry, tlf=line["old"], key=key, stored=entry.written)
        return entry

    def refused_by_espocrm(self, espocrm: EspoSide) -> frozenset[Key]:
        """The values that EspoCRM has refused, unless its array has changed since."""
        keys: set[Key] = set()
        for item in self._valid(espocrm).values():
            keys |= item.keys
        return frozenset(keys)

    def blocked(self, espocrm: EspoSide) -> frozenset[Family]:
        """The arrays that EspoCRM does not take, unless they have changed since."""
        valid = self._valid(espocrm)
        return frozenset(family for family in valid if valid[family].is_blocked)

    def _valid(self, espocrm: EspoSide) -> dict[Family, NotTaken]:
        valid = {}
        for family, item in self.not_taken.items():
            if item.rows == fingerprint(espocrm.array(family)):
                valid[family] = item
        return valid


def read_memory(stored: SyncState | None, espo: Record, advo: Record) -> Memory:
    """What is stored for a record; without, what the markers say if it was synced before there was a base."""
    betnr = int(advo["betNr"])
    if stored is None:
        if not espo.get("kommunikationHash"):
            return Memory(betnr)
        return Memory(betnr, _links_by_markers(espo, advo), complete=True)
    base = stored.base
    if base.get("betNr") != betnr or stored.deleted_at is not None:
        # Linked with another Beteiligter since, whose entries say nothing about this one's.
        return Memory(betnr)
    if base.get("version") != VERSION:
        return _read_first_version(base, espo, advo)
    links = _links_with_sent(base, espo, advo)
    return _memory_from_json(betnr, {**base, "links": links})


def is_sent_along(line: Record) -> bool:
    """Whether a line says of a value only that it was about to go back to Advoware with our marker."""
    return bool(line["old"] == line["new"])


def has_altered(line: Record, entry: AdvowareEntry) -> bool:
    """Whether the entry holds what Advoware has made of a line's value, which was sent along with our marker."""
    if line.get("conflict") or has_sealed(line) or entry.is_unknown:
        return False
    if not _is_marked(entry, line["old"]):
        return False
    if is_sent_along(line):
        return _is_cut(line["old"], entry)
    return bool(entry.written == (line["new"] or ""))


def _is_marked(entry: AdvowareEntry, value: str) -> bool:
    """Whether an entry bears our marker of a value."""
    if entry.synced_value is None:
        return False
    family = family_of(entry.komm_kz)
    return key_of(family, entry.synced_value) == key_of(family, value)


def _is_cut(value: str, entry: AdvowareEntry) -> bool:
    """Whether an entry holds only the beginning of a value.

    What became of the request was not looked at, so a person may have entered anything else since.
    """
    is_other = entry.written not in ("", value)
    return is_other and value.startswith(entry.written)


def distinct(lines: Iterable[Record]) -> tuple[Record, ...]:
    """Lines of the audit, each once."""
    found: list[Record] = []
    for line in lines:
        if line not in found:
            found.append(line)
    return tuple(found)


def has_unreported(stored: SyncState, betnr: str) -> bool:
    """Whether a sync with this Beteiligter may have replaced a value there that no run has reported yet."""
    return str(stored.base.get("betNr")) == betnr and bool(stored.base.get("lost"))


def _memory_from_json(betnr: int, base: Record) -> Memory:
    stored_not_taken = base.get("notTaken", {})
    not_taken = {}
    for family in FAMILIES:
        if family in stored_not_taken:
            not_taken[family] = _not_taken_from_json(stored_not_taken[family])
    return Memory(
        betnr,
        links=_links_from_json(base["links"]),
        complete=base["complete"],
        lost=tuple(base["lost"]),
        posted=_keys_from_json(base.get("posted", ())),
        posted_at=base.get("postedAt", ""),
        refused=_keys_from_json(base.get("refused", ())),
        not_taken=not_taken,
        sending=base.get(SENDING, {}),
    )


def _links_with_sent(base: Record, espo: Record, advo: Record) -> dict[str, Any]:
    """The stored links with what an interrupted run has written, as far as a side shows it.

    A value that it has taken away has no link any more.
    """
    stored = base["links"]
    espocrm = read_espocrm(espo)
    entries = entries_by_id(advo)

    def shows(side: Side, entry_id: str, value: Any) -> bool:
        if side == "advoware":
            entry = entries.get(int(entry_id))
            return holds(entry, value)
        if value is not None:
            return _is_among(espocrm, Key(*value))
        link = stored.get(entry_id, {})
        before = link.get("espocrm")
        if before is None:
            return False
        return _is_gone(espocrm, Key(*before))

    sent = base.get(SENDING, {})
    links = pairs_with_sent(stored, sent, shows)
    if not may_be_edited(espo):
        links.update(_altered_by_espocrm(base, espocrm))
    found = {}
    for name, link in links.items():
        if link["advoware"] is None:
            continue
        before = stored.get(name, {})
        if before.get("espocrm") == link["espocrm"]:
            link = {**before, **link}
        else:
            link = {**link, "type": sent.get(TYPES, {}).get(name)}
        found[name] = link
    return found


def _altered_by_espocrm(base: Record, espocrm: EspoSide) -> dict[str, Any]:
    """The links of values that an interrupted run has sent to EspoCRM, and that EspoCRM has stored in another form.

    A value that EspoCRM shows, and is not known to hold, is no user's: no one has edited the record.
    """
    sent = _sent_to_espocrm(base)
    known = {*sent.values(), *_keys_from_json(base.get("refused", ()))}
    for link in _links_from_json(base["links"]).values():
        known.add(link.espocrm or link.advoware)
    missing = [key for key in sent.values() if not _is_among(espocrm, key)]
    extra = [entry.key for entry in espocrm.entries if entry.key not in known]
    stored_as = resembling(missing, extra)
    altered = {}
    for name, key in sent.items():
        stored = stored_as.get(key)
        if stored is not None:
            altered[name] = _link_to_json(Link(stored, key, held=ALTERED_BY_ESPOCRM))
    return altered


def _sent_to_espocrm(base: Record) -> dict[str, Key]:
    """The values that an interrupted run has sent to EspoCRM, by the id of their entry."""
    sent = base.get(SENDING, {}).get("espocrm", {})
    return {name: Key(*value) for name, value in sent.items() if value is not None}


def keys_shown(entries: Iterable[AdvowareEntry]) -> set[Key]:
    """The values of entries, and those that their markers name: Advoware may store another one than was sent."""
    keys = set()
    for entry in entries:
        keys.add(entry.key)
        if entry.synced_value is not None:
            keys.add(key_of(entry.key.family, entry.synced_value))
    return keys


def holds(entry: AdvowareEntry | None, value: Any) -> bool:
    """Whether an entry of Advoware holds a key (JSON), or nothing for None."""
    if entry is None or entry.is_unknown:
        return False
    if entry.is_empty:
        return value is None
    return bool(list(entry.key) == value)


def _is_among(espocrm: EspoSide, key: Key) -> bool:
    """Whether EspoCRM shows a value."""
    return any(entry.key == key and not entry.is_erased for entry in espocrm.entries)


def _is_gone(espocrm: EspoSide, key: Key) -> bool:
    """Whether EspoCRM shows for certain that it does not hold a value."""
    array = espocrm.array(key.family)
    if not array.is_known or not array.is_complete:
        return False
    return not any(entry.is_erased or entry.key == key for entry in array.entries)


def shown_values(espo: Record, advo: Record) -> list[Any]:
    """All that both sides show, as it is read and as it is compared; for `SyncStore.opened`."""
    keys = [entry.key for entry in read_espocrm(espo).entries]
    keys += keys_shown(advoware_entries(advo))
    return [espo, advo, keys]


def fingerprint(array: EspoArray) -> str:
    """What shows whether an array holds other values than before."""
    written = sorted(entry.written for entry in array.entries)
    text = json.dumps(written)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint_after(plan: Plan, espocrm: EspoSide, family: Family) -> str:
    """The fingerprint of an array once the plan is applied."""
    attribute = DATA_ATTRIBUTE[family]
    rows = plan.espocrm.get(attribute)
    if rows is None:
        return fingerprint(espocrm.array(family))
    after = read_espocrm({attribute: rows})
    return fingerprint(after.array(family))


def _read_first_version(base: Record, espo: Record, advo: Record) -> Memory:
    """A base of the first version, which took phone or fax from the key and read some numbers in another way.

    If the rowIds are those of the last sync, nothing has changed in Advoware since, however its numbers are read now.
    """
    entries = entries_by_id(advo)
    is_unchanged = kommunikation_hash(entries.values()) == espo.get("kommunikationHash")
    links = {}
    for entry_id, parts in base["links"].items():
        espocrm_kind, espocrm, advoware_kind, advoware = parts
        espocrm_key = _first_key(espocrm_kind, espocrm)
        advoware_key = _first_key(advoware_kind, advoware)
        entry = entries.get(int(entry_id))
        if is_unchanged and entry is not None and not entry.is_unknown:
            advoware_key = entry.key
        links[int(entry_id)] = Link(espocrm_key, advoware_key)
    posted = frozenset(starmap(_first_key, base.get("posted", ())))
    return Memory(
        base["betNr"],
        links,
        base["complete"],
        tuple(base["lost"]),
        posted,
        base.get("postedAt", ""),
    )


def _first_key(kind: str, value: str) -> Key:
    if kind == "mail":
        return key_of("mail", value)
    return key_of("phone", value)


def _links_by_markers(espo: Record, advo: Record) -> Base:
    """The base as far as the markers show it, for records that were synced before their base was kept in PostgreSQL.

    A value that EspoCRM lacks was deleted there only if a user changed the record since the last sync.
    """
    is_modified = _is_modified_since_sync(espo)
    present = {entry.key for entry in read_espocrm(espo).entries}
    links = {}
    for entry in advoware_entries(advo):
        if entry.synced_value is None:
            continue
        key = key_of(entry.key.family, entry.synced_value)
        if is_modified or key in present:
            links[entry.id] = Link(key, key)
    return links


def _is_modified_since_sync(espo: Record) -> bool:
    modified = parse_date_time(espo.get("modifiedAt"))
    synced = parse_date_time(espo.get("advowareLastSync"))
    if modified is None or synced is None:
        return False
    return modified > synced


# -- as JSON --------------------------------------------------------------------------------------------------------


def _link_to_json(link: Link) -> dict[str, Any]:
    item: dict[str, Any] = {"espocrm": None, "advoware": list(link.advoware)}
    if link.espocrm:
        item["espocrm"] = list(link.espocrm)
    if link.type:
        item["type"] = link.type
    if link.held:
        item["held"] = link.held
    if link.unmarked:
        item["unmarked"] = link.unmarked
    return item


def _links_to_json(links: Base) -> dict[str, Any]:
    return {str(entry_id): _link_to_json(links[entry_id]) for entry_id in sorted(links)}


def _links_from_json(items: Record) -> Base:
    return {int(entry_id): _link_from_json(item) for entry_id, item in items.items()}


def _link_from_json(item: Record) -> Link:
    espocrm = None
    if item["espocrm"]:
        espocrm = Key(*item["espocrm"])
    return Link(
        espocrm,
        Key(*item["advoware"]),
        item.get("type"),
        item.get("held", ""),
        item.get("unmarked", False),
    )


def _not_taken_to_json(item: NotTaken) -> dict[str, Any]:
    return {
        "rows": item.rows,
        "values": _keys_to_json(item.keys),
        "blocked": item.is_blocked,
    }


def _not_taken_from_json(item: Record) -> NotTaken:
    return NotTaken(item["rows"], _keys_from_json(item["values"]), item["blocked"])


def _keys_to_json(keys: Iterable[Key]) -> list[list[str]]:
    return [list(key) for key in sorted(keys)]


def _keys_from_json(items: Iterable[Any]) -> frozenset[Key]:
    return frozenset(Key(*item) for item in items)
