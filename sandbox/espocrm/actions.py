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
    is_gone = record.values.get("syncStatus") == "deleted_in_advoware"
    number = None if is_gone else record.values.get("betnr")
    return _BeforeMerge(
        record.id, number, tuple((record.values.get("mergedIds") or "").split())
    )


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
    Annotated[Action, Field(discriminator="action")]
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
    known = {field.name: field for field in requested.kind.all_fields}
    fields = []
    unknown = []
    for name in names:
        field = known.get(name)
        if field is not None and _may_erase(field):
            fields.append(field)
        else:
            unknown.append(name)
    if unknown:
        raise ApiError(400, f"Unknown fields: {', '.join(unknown)}.")
    return fields


def _names_to_erase(requested: Erase) -> list[str]:
    names: list[str] = []
    for name in requested.fields:
        names += _COMPOSED.get((requested.entity, name), (name,))
    return names


def _may_erase(field: EntityField) -> bool:
    return not field.read_only or field.type == "email"


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
        attributes: list[str] = []
        for field in others:
            attributes += field.writable
        has_form_rules = self._store.settings.has_form_rules
        if has_form_rules and "adresse" in requested.fields:
            attributes += ["name", "bezeichnung"]
        emptied = [name for name in attributes if record.values.get(name)]
        self._store.erase_contacts(record, contacts)
        self._save(record, dict.fromkeys(attributes))
        if not has_form_rules:
            return self._store.full(record)
        if emptied:
            self._note_erased(record, emptied)
        if contacts and record.values.get("betnr") is not None:
            self._save(record, {"syncStatus": "dirty"})
        return self._store.full(record)

    def _note_erased(self, record: Record, emptied: list[str]) -> None:
        """The extension remembers which attributes people have had erased."""
        already = (record.values.get("erasedFields") or "").split()
        names = dict.fromkeys([*already, *emptied])
        self._save(record, {"erasedFields": " ".join(names) or None})

    def _restore(self, requested: Restore) -> Any:
        record = self._store.restore(requested.kind, requested.id)
        if self._store.settings.has_form_rules:
            if self._store.is_known_to_advoware(record):
                self._save(record, {"syncStatus": "dirty"})
            owner_id = record.values.get("beteiligteId")
            self._service.mark_owner(owner_id, requested.kind, self._user)
        return self._store.full(record)

    def _revert_import(self, requested: RevertImport) -> int:
        gone = 0
        for record_id in requested.ids:
            if self._store.take_out(requested.kind, record_id) is not None:
                gone += 1
        return gone

    def _records(self, kind: Entity, ids: list[str]) -> list[Record]:
        return [self._store.get(kind, record_id) for record_id in ids]

    def _merge(self, requested: Merge) -> Any:
        survivor = self._store.get(requested.kind, requested.id)
        sources = self._records(requested.kind, requested.sources)
        data = clean_input(requested.kind, requested.values, self._store.settings)
        data |= self._merged_contacts([survivor, *sources], data)
        merging = [_before_merge(record) for record in (survivor, *sources)]
        for source in sources:
            self._store.hand_over(source, survivor)
        for source in sources:
            self._publish(self._store.delete(source, self._user))
        self._save(survivor, data)
        if requested.entity == "CBeteiligte" and self._store.settings.has_form_rules:
            self._hand_over_numbers(survivor, merging)
        return self._store.full(survivor)

    def _hand_over_numbers(self, survivor: Record, merging: list[_BeforeMerge]) -> None:
        """As the extension's ``MergedRecords.php``."""
        ids: dict[str, None] = {}
        number: int | None = None
        for record in merging:
            ids |= dict.fromkeys((record.id, *record.merged_ids))
            if number is None:
                number = record.number
        ids.pop(survivor.id, None)
        data: dict[str, Any] = {"mergedIds": " ".join(ids)}
        if number is not None and merging[0].number is None:
            data["betnr"] = number
        if data.get("betnr") or survivor.values.get("betnr"):
            data["syncStatus"] = "dirty"
        self._save(survivor, data)

    def _merged_contacts(
        self, records: list[Record], data: dict[str, Any]
    ) -> dict[str, Any]:
        """The arrays of all records one behind the other; the primary entry is the ticked value, else the first."""
        merged: dict[str, Any] = {}
        for contact in records[0].entity.contact_fields:
            key = f"{contact.name}Data"
            entries: list[dict[str, Any]] = []
            for record in records:
                entries += [dict(entry) for entry in self._store.full(record)[key]]
            wanted = data.get(contact.name)
            for position, entry in enumerate(entries):
                entry["primary"] = (
                    entry[contact.name] == wanted if wanted else position == 0
                )
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
            self._publish(self._store.delete(record, self._user))
        return len(records)

    def _save(self, record: Record, data: dict[str, Any]) -> None:
        change = self._store.update(record, data, self._user)
        if change is not None:
            self._publish(change)
