"""What people and administrators of an EspoCRM do in the browser and the REST API has no plain request for.

``POST /__sandbox__/actions`` takes one of these, done by user Admin; the rules are those of EspoCRM 8.4.2:

* ``{"action": "erase", "entity": "CBeteiligte", "id": "...", "fields": ["phoneNumber"]}``: the data privacy tool.
  Numbers and addresses become ``ERASED:<id of the shared row>``, for every record that shares them, and stay linked;
  other fields become empty. The record is saved as usual. The extension notes what was emptied in ``erasedFields``,
  and marks a record whose numbers or addresses were erased as dirty.
* ``{"action": "merge", "entity": "...", "id": "...", "sources": ["..."], "values": {...}}``: the merge dialogue.
  ``values`` is what was ticked there. Numbers, addresses, posts and linked records of the sources go to the survivor,
  the linked records without an event of their own; the sources are deleted, the survivor is saved. The extension notes
  the sources in ``mergedIds`` and gives a survivor without number in Advoware that of a source.
* ``{"action": "restore", "entity": "...", "id": "..."}``: bring back a deleted record. No event but that
  of the extension, which makes the record, or the Beteiligter whose part it is, wait for the sync.
* ``{"action": "revert_import", "entity": "...", "ids": ["..."]}``: the records are gone for good. No event.
* ``{"action": "share", "entry": {"phoneNumber": "+49...", "type": "Fax"}}``: a number or address also belongs to a
  record of another kind (a contact, a lead) that only an administrator may edit. Type and flags are as in ``entry``,
  and a request by any other user leaves them so without a word.
* ``{"action": "mass_delete", "entity": "...", "ids": ["..."]}``: each deletion is an event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sandbox.espocrm.access import ApiUser
from sandbox.espocrm.entities import CBETEILIGTE, ENTITIES, Entity
from sandbox.espocrm.entities import Field as EntityField
from sandbox.espocrm.php import ApiError
from sandbox.espocrm.service import RecordService
from sandbox.espocrm.store import Change, Record, Store
from sandbox.espocrm.validation import clean_input

#: What EspoCRM shows as one field and stores as several.
_COMPOSED = {
    ("CBeteiligte", "name"): ("salutationName", "firstName", "lastName"),
    ("CAdressen", "adresse"): tuple(
        f"adresse{part}"
        for part in ("Street", "City", "State", "Country", "PostalCode")
    ),
}


@dataclass(frozen=True)
class _BeforeMerge:
    """What a record is before it is merged; ``number`` is the one that Advoware has."""

    id: str
    number: int | None
    merged_ids: tuple[str, ...]


def _before_merge(record: Record) -> _BeforeMerge:
    number = record.get("betnr")
    if record.get("syncStatus") == "deleted_in_advoware":
        number = None
    merged_ids = _names_in(record.get("mergedIds"))
    return _BeforeMerge(id=record.id, number=number, merged_ids=tuple(merged_ids))


def _names_in(text: str | None) -> list[str]:
    """The names that a field lists, with blanks between them."""
    if not text:
        return []
    return text.split()


def _first_number(merging: list[_BeforeMerge]) -> int | None:
    for record in merging:
        if record.number is not None:
            return record.number
    return None


class _Requested(BaseModel):
    model_config = ConfigDict(extra="forbid")

    entity: str

    @property
    def kind(self) -> Entity:
        """The entity type.

        Raises:
            ApiError: 404, there is none of that name.
        """
        if self.entity not in ENTITIES:
            raise ApiError(404, f"Controller '{self.entity}' does not exist.")
        return ENTITIES[self.entity]


class Erase(_Requested):
    """Overwrite personal data of a record."""

    action: Literal["erase"]
    id: str
    fields: list[str]


class Merge(_Requested):
    """Merge records into one."""

    action: Literal["merge"]
    id: str
    sources: list[str] = Field(min_length=1)
    values: dict[str, Any] = {}


class Restore(_Requested):
    """Bring back a deleted record."""

    action: Literal["restore"]
    id: str


class RevertImport(_Requested):
    """Take back an import."""

    action: Literal["revert_import"]
    ids: list[str]


class MassDelete(_Requested):
    """Delete the records ticked in a list."""

    action: Literal["mass_delete"]
    ids: list[str]


class Share(BaseModel):
    """A number or address also belongs to a record that the integration may not edit."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["share"]
    entry: dict[str, Any]


Action = Share | Erase | Merge | Restore | RevertImport | MassDelete
ACTIONS: TypeAdapter[Action] = TypeAdapter(
    Annotated[Action, Field(discriminator="action")],
)


def _fields_to_erase(requested: Erase) -> tuple[list[EntityField], list[EntityField]]:
    """The requested fields: those with numbers and addresses, and the others.

    Raises:
        ApiError: 400, there is no such field.
    """
    contacts: list[EntityField] = []
    others: list[EntityField] = []
    for field in _erasable(requested, _names_to_erase(requested)):
        if field in requested.kind.contact_fields:
            contacts.append(field)
        else:
            others.append(field)
    return contacts, others


def _erasable(requested: Erase, names: list[str]) -> list[EntityField]:
    erasable = {}
    for field in requested.kind.all_fields:
        if _may_erase(field):
            erasable[field.name] = field
    unknown = []
    for name in names:
        if name not in erasable:
            unknown.append(name)
    if unknown:
        raise ApiError(400, f"Unknown fields: {', '.join(unknown)}.")
    return [erasable[name] for name in names]


def _names_to_erase(requested: Erase) -> list[str]:
    names: list[str] = []
    for name in requested.fields:
        names += _COMPOSED.get((requested.entity, name), (name,))
    return names


def _may_erase(field: EntityField) -> bool:
    if field.read_only:
        return field.type == "email"
    return True


class Browser:
    """Does these actions. Every method raises `ApiError` for a record that is not there."""

    def __init__(
        self,
        store: Store,
        service: RecordService,
        publish: Callable[[Change], None],
        user: ApiUser,
    ) -> None:
        self._store = store
        self._service = service
        self._publish = publish
        self._user = user

    def do(self, action: Action) -> Any:
        """Do one of them; the record that is left, or the number of those that are gone."""
        match action:
            case Erase():
                return self._erase(action)
            case Merge():
                return self._merge(action)
            case Restore():
                return self._restore(action)
            case RevertImport():
                return self._revert_import(action)
            case MassDelete():
                return self._mass_delete(action)
            case Share():
                return self._share(action)

    def _erase(self, requested: Erase) -> Any:
        record = self._store.get(requested.kind, requested.id)
        contacts, others = _fields_to_erase(requested)
        attributes = self._attributes_to_erase(requested, others)
        emptied = []
        for name in attributes:
            if record.get(name):
                emptied.append(name)
        self._store.erase_contacts(record, contacts)
        self._save(record, dict.fromkeys(attributes))
        if self._has_form_rules:
            self._note_erased(record, emptied)
            if contacts and record.get("betnr") is not None:
                self._mark_dirty(record)
        return self._store.full(record)

    def _attributes_to_erase(
        self,
        requested: Erase,
        fields: list[EntityField],
    ) -> list[str]:
        attributes: list[str] = []
        for field in fields:
            attributes += field.writable
        if self._has_form_rules and "adresse" in requested.fields:
            attributes += ["name", "bezeichnung"]
        return attributes

    def _note_erased(self, record: Record, emptied: list[str]) -> None:
        """The extension remembers which attributes people have had erased."""
        if not emptied:
            return
        already = _names_in(record.get("erasedFields"))
        erased = dict.fromkeys([*already, *emptied])
        self._save(record, {"erasedFields": " ".join(erased)})

    def _restore(self, requested: Restore) -> Any:
        record = self._store.restore(requested.kind, requested.id)
        if self._has_form_rules:
            self._mark_restored(record)
        return self._store.full(record)

    def _mark_restored(self, record: Record) -> None:
        """The extension makes a record that is back, or the Beteiligter whose part it is, wait for the sync."""
        if self._store.is_known_to_advoware(record):
            self._mark_dirty(record)
        owner_id = record.get("beteiligteId")
        self._service.mark_owner(owner_id, record.entity, self._user)

    def _revert_import(self, requested: RevertImport) -> int:
        gone = 0
        for record_id in requested.ids:
            if self._store.take_out(requested.kind, record_id) is not None:
                gone += 1
        return gone

    def _records(self, kind: Entity, ids: list[str]) -> list[Record]:
        records = []
        for record_id in ids:
            record = self._store.get(kind, record_id)
            records.append(record)
        return records

    def _merge(self, requested: Merge) -> Any:
        kind = requested.kind
        survivor = self._store.get(kind, requested.id)
        sources = self._records(kind, requested.sources)
        merged = [survivor, *sources]
        data = clean_input(kind, requested.values, self._store.settings)
        data |= self._merged_contacts(merged, data)
        before = [_before_merge(record) for record in merged]
        for source in sources:
            self._store.hand_over(source, survivor)
        for source in sources:
            self._delete(source)
        self._save(survivor, data)
        if kind is CBETEILIGTE and self._has_form_rules:
            self._hand_over_numbers(survivor, before)
        return self._store.full(survivor)

    def _hand_over_numbers(self, survivor: Record, merging: list[_BeforeMerge]) -> None:
        """As the extension's ``MergedRecords.php``."""
        ids: dict[str, None] = {}
        for record in merging:
            ids[record.id] = None
            ids |= dict.fromkeys(record.merged_ids)
        ids.pop(survivor.id, None)
        data: dict[str, Any] = {"mergedIds": " ".join(ids)}
        number = _first_number(merging)
        if number != merging[0].number:
            data["betnr"] = number
        if data.get("betnr") or survivor.get("betnr"):
            data["syncStatus"] = "dirty"
        self._save(survivor, data)

    def _merged_contacts(
        self,
        records: list[Record],
        data: dict[str, Any],
    ) -> dict[str, Any]:
        """The arrays of all records one behind the other; the primary entry is the ticked value, else the first."""
        shown = [self._store.full(record) for record in records]
        merged: dict[str, Any] = {}
        for contact in records[0].entity.contact_fields:
            key = f"{contact.name}Data"
            entries = []
            for values in shown:
                entries += values[key]
            _mark_primary(entries, contact.name, data.get(contact.name))
            merged[key] = entries
        return merged

    def _share(self, requested: Share) -> bool:
        for contact in CBETEILIGTE.contact_fields:
            if requested.entry.get(contact.name):
                self._store.guard_contact(contact, requested.entry)
                return True
        raise ApiError(400, "The entry has neither phoneNumber nor emailAddress.")

    def _mass_delete(self, requested: MassDelete) -> int:
        records = self._records(requested.kind, requested.ids)
        for record in records:
            self._delete(record)
        return len(records)

    @property
    def _has_form_rules(self) -> bool:
        return self._store.settings.has_form_rules

    def _save(self, record: Record, data: dict[str, Any]) -> None:
        change = self._store.update(record, data, self._user)
        if change is not None:
            self._publish(change)

    def _mark_dirty(self, record: Record) -> None:
        self._save(record, {"syncStatus": "dirty"})

    def _delete(self, record: Record) -> None:
        change = self._store.delete(record, self._user)
        self._publish(change)


def _mark_primary(entries: list[dict[str, Any]], name: str, ticked: Any) -> None:
    """Make the ticked value the primary entry, or the first one if nothing was ticked."""
    for position, entry in enumerate(entries):
        if ticked:
            entry["primary"] = entry[name] == ticked
        else:
            entry["primary"] = position == 0
