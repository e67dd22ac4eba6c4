"""What is remembered of the Kommunikation of one CBeteiligte, and how it is stored (``sync_state.base``). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.kommunikation_mapper import (
    DATA_ATTRIBUTE,
    FAMILIES,
    EspoArray,
    EspoSide,
    Key,
    advoware_entries,
    key_of,
    kommunikation_hash,
    read_espocrm,
)
from services.values.espocrm_query import parse_date_time
from services.values.kommunikation import Family
from services.vmh_sync.kommunikation.plan import Base, Link, Plan
from services.vmh_sync.store import SyncState

VERSION: Final = 2

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
        lost: audit lines of values that were, or were about to be, lost in Advoware, and are not reported yet.
        posted: values whose creation in Advoware was begun without our knowing how it ended.
        posted_at: when, as ISO string; empty if there are none.
        refused: values of EspoCRM that Advoware does not take.
        not_taken: what EspoCRM does not take, by family.
    """

    betnr: int
    links: Base = field(default_factory=dict)
    complete: bool = False
    lost: tuple[Record, ...] = ()
    posted: frozenset[Key] = frozenset()
    posted_at: str = ""
    refused: frozenset[Key] = frozenset()
    not_taken: Mapping[Family, NotTaken] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known but the number."""
        return not (
            self.links or self.lost or self.posted or self.refused or self.not_taken
        )

    def as_json(self) -> dict[str, Any]:
        """The stored form; parts that hold nothing are left out."""
        posted = (
            {"posted": _keys_to_json(self.posted), "postedAt": self.posted_at}
            if self.posted
            else {}
        )
        refused = {"refused": _keys_to_json(self.refused)} if self.refused else {}
        not_taken = {
            family: _not_taken_to_json(item)
            for family, item in sorted(self.not_taken.items())
        }
        return {
            "version": VERSION,
            "betNr": self.betnr,
            "links": {
                str(entry_id): _link_to_json(link)
                for entry_id, link in sorted(self.links.items())
            },
            "complete": self.complete,
            "lost": [dict(line) for line in self.lost],
            **posted,
            **refused,
            **({"notTaken": not_taken} if not_taken else {}),
        }

    def refused_by_espocrm(self, espocrm: EspoSide) -> frozenset[Key]:
        """The values that EspoCRM has refused, unless its array has changed since."""
        return frozenset(
            key for item in self._valid(espocrm).values() for key in item.keys
        )

    def blocked(self, espocrm: EspoSide) -> frozenset[Family]:
        """The arrays that EspoCRM does not take, unless they have changed since."""
        return frozenset(
            family for family, item in self._valid(espocrm).items() if item.is_blocked
        )

    def _valid(self, espocrm: EspoSide) -> dict[Family, NotTaken]:
        now = {family: fingerprint(espocrm.array(family)) for family in self.not_taken}
        return {
            family: item
            for family, item in self.not_taken.items()
            if item.rows == now[family]
        }


def read_memory(stored: SyncState | None, espo: Record, advo: Record) -> Memory:
    """What is stored for a record; without, what the markers tell if it was synced before there was a base."""
    betnr = int(advo["betNr"])
    if stored is None:
        was_synced = bool(espo.get("kommunikationHash"))
        return Memory(
            betnr, _links_by_markers(espo, advo) if was_synced else {}, was_synced
        )
    base = stored.base
    if base.get("betNr") != betnr or stored.deleted_at is not None:
        return Memory(
            betnr
        )  # linked with another Beteiligter since, whose entries say nothing about this one's
    if base.get("version") != VERSION:
        return _read_first_version(base, espo, advo)
    return Memory(
        betnr,
        {
            int(entry_id): _link_from_json(item)
            for entry_id, item in base["links"].items()
        },
        base["complete"],
        tuple(base["lost"]),
        _keys_from_json(base.get("posted", ())),
        base.get("postedAt", ""),
        _keys_from_json(base.get("refused", ())),
        {
            family: _not_taken_from_json(base["notTaken"][family])
            for family in FAMILIES
            if family in base.get("notTaken", ())
        },
    )


def fingerprint(array: EspoArray) -> str:
    """What tells whether an array holds other values than before."""
    written = sorted(entry.written for entry in array.entries)
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()[:16]


def fingerprint_after(plan: Plan, espocrm: EspoSide, family: Family) -> str:
    """The fingerprint of an array once the plan is carried out."""
    rows = plan.espocrm.get(DATA_ATTRIBUTE[family])
    if rows is None:
        return fingerprint(espocrm.array(family))
    return fingerprint(read_espocrm({DATA_ATTRIBUTE[family]: rows}).array(family))


def _read_first_version(base: Record, espo: Record, advo: Record) -> Memory:
    """A base of the first version, which told phone from fax by the key and read some numbers in another way.

    If the rowIds are those of the last sync, nothing has changed in Advoware since, however its numbers are read now.
    """
    entries = {entry.id: entry for entry in advoware_entries(advo)}
    is_unchanged = kommunikation_hash(entries.values()) == espo.get("kommunikationHash")
    links = {}
    for entry_id, (ours_kind, ours, theirs_kind, theirs) in base["links"].items():
        link = Link(_first_key(ours_kind, ours), _first_key(theirs_kind, theirs))
        entry = entries.get(int(entry_id))
        if is_unchanged and entry is not None and not entry.is_unknown:
            link = Link(link.espocrm, entry.key)
        links[int(entry_id)] = link
    posted = frozenset(_first_key(*parts) for parts in base.get("posted", ()))
    return Memory(
        base["betNr"],
        links,
        base["complete"],
        tuple(base["lost"]),
        posted,
        base.get("postedAt", ""),
    )


def _first_key(kind: str, value: str) -> Key:
    return key_of("mail" if kind == "mail" else "phone", value)


def _links_by_markers(espo: Record, advo: Record) -> Base:
    """The base as far as the markers tell it, for records that were synced before their base was kept in PostgreSQL.

    A value that EspoCRM lacks was deleted there only if somebody changed the record since the last sync.
    """
    modified, synced = (
        parse_date_time(espo.get(name)) for name in ("modifiedAt", "advowareLastSync")
    )
    is_modified = modified is not None and synced is not None and modified > synced
    ours = {entry.key for entry in read_espocrm(espo).entries}
    links = {}
    for entry in advoware_entries(advo):
        if entry.synced_value is None:
            continue
        key = key_of(entry.key.family, entry.synced_value)
        if is_modified or key in ours:
            links[entry.id] = Link(key, key)
    return links


# -- as JSON --------------------------------------------------------------------------------------------------------


def _link_to_json(link: Link) -> dict[str, Any]:
    item: dict[str, Any] = {
        "espocrm": list(link.espocrm) if link.espocrm else None,
        "advoware": list(link.advoware),
    }
    further = {"type": link.type, "held": link.held, "unmarked": link.unmarked}
    return {**item, **{name: value for name, value in further.items() if value}}


def _link_from_json(item: Record) -> Link:
    ours = Key(*item["espocrm"]) if item["espocrm"] else None
    return Link(
        ours,
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
