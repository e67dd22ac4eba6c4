"""The records of the EspoCRM twin: stored values, what a request sees of them, and what a change reports to the
webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, Literal

from sandbox.espocrm.access import ApiUser, Settings
from sandbox.espocrm.contacts import ContactLinks, ContactRows
from sandbox.espocrm.entities import ENTITIES, Entity, Field
from sandbox.espocrm.php import ApiError, validation_failure
from sandbox.espocrm.query import Query, SearchParams
from sandbox.espocrm.validation import clean_input, validate

#: Attributes that a control request may set although a client may not.
GIVEN_ATTRIBUTES = (
    "createdAt",
    "modifiedAt",
    "createdById",
    "modifiedById",
    "secretKey",
)


@dataclass(frozen=True)
class Change:
    """A change of a record, as a webhook reports it."""

    event: Literal["create", "update", "delete"]
    entity: str
    id: str
    payload: dict[str, Any]
    user_id: str  #: who made it


@dataclass
class Record:
    """One stored record; ``values`` holds the columns of its table."""

    entity: Entity
    id: str
    values: dict[str, Any]
    contacts: dict[str, ContactLinks]
    deleted: bool = False
    version: int = 1  #: one more with every save


class Store:
    """All records of an instance."""

    def __init__(
        self,
        now: Callable[[], datetime],
        make_id: Callable[[], str],
        settings: Settings,
    ) -> None:
        self.settings = settings
        self._now = now
        self._make_id = make_id
        self._records: dict[str, dict[str, Record]] = {name: {} for name in ENTITIES}
        self._contact_rows = ContactRows(make_id)

    # -- reading ----------------------------------------------------------------------------------------------

    def find(self, entity: str, record_id: Any) -> Record | None:
        """A record that is not deleted, None for an unknown entity or id."""
        record = self._records.get(entity, {}).get(str(record_id))
        if record is None or record.deleted:
            return None
        return record

    def find_deleted(self, entity: str, record_id: Any) -> Record | None:
        """A record that is deleted: EspoCRM shows it, by its id, to administrators alone."""
        record = self._records.get(entity, {}).get(record_id)
        if record is not None and record.deleted:
            return record
        return None

    def get(
        self, entity: Entity, record_id: str, wording: str = "does not exist"
    ) -> Record:
        """A record that is not deleted.

        Raises:
            ApiError: 404.
        """
        record = self.find(entity.name, record_id)
        if record is None:
            raise ApiError(404, f"Record {record_id} {wording}.")
        return record

    def records(self, entity: str) -> Iterator[Record]:
        """The records of an entity that are not deleted, oldest first."""
        return (
            record
            for record in list(self._records[entity].values())
            if not record.deleted
        )

    def full(self, record: Record) -> dict[str, Any]:
        """A record as a read by id shows it."""
        shown = self._row(record)
        for contact in record.entity.contact_fields:
            shown[f"{contact.name}Data"] = self._contact_rows.entries(
                contact, record.contacts[contact.name]
            )
        if record.entity.stream:
            shown |= {"isFollowed": False, "followersIds": [], "followersNames": {}}
        return shown | self._version(record)

    def search(
        self, entity: Entity, params: SearchParams, visible: Callable[[Record], bool]
    ) -> tuple[list[dict[str, Any]], int]:
        """The rows of a page and the number of all rows that pass."""
        query = Query(
            entity,
            lambda row, attribute: self._filter_values(entity, row, attribute),
            lambda row, link: self._linked_ids(entity, row, link),
        )
        rows = query.select(
            (
                self._listed(record)
                for record in self.records(entity.name)
                if visible(record)
            ),
            params,
        )
        page = rows[params.offset : params.offset + max(params.max_size, 0)]
        return [query.page(row, params) for row in page], len(rows)

    def _listed(self, record: Record) -> dict[str, Any]:
        return self._row(record) | self._version(record)

    def _version(self, record: Record) -> dict[str, Any]:
        if record.entity.name in self.settings.optimistic_concurrency:
            return {"versionNumber": record.version}
        return {}

    def _row(self, record: Record) -> dict[str, Any]:
        entity = record.entity
        values: dict[str, Any] = {
            **record.values,
            "id": record.id,
            "deleted": record.deleted,
        }
        for contact in entity.contact_fields:
            values |= self._contact_rows.summary(contact, record.contacts[contact.name])
        for link in entity.all_fields:
            if link.type in {"link", "linkParent"}:
                foreign = link.entity or values.get(f"{link.name}Type") or ""
                target_id = values.get(f"{link.name}Id")
                values[f"{link.name}Name"] = self._name_of(foreign, target_id)
        return {attribute: values.get(attribute) for attribute in _row_order(entity)}

    def _name_of(self, entity: str, record_id: Any) -> str | None:
        record = self.find(entity, record_id) if record_id else None
        if record:
            return record.values.get("name")
        return None

    def _filter_values(
        self, entity: Entity, row: Mapping[str, Any], attribute: str
    ) -> list[Any]:
        record = self._records[entity.name][row["id"]]
        links = record.contacts.get(attribute)
        if links is None:
            return [row[attribute]]
        entries = self._contact_rows.entries(entity.field_of[attribute], links)
        return [entry[attribute] for entry in entries]

    def _linked_ids(
        self, entity: Entity, row: Mapping[str, Any], link: str
    ) -> set[str]:
        if f"{link}Id" in row:
            return {row[f"{link}Id"]} - {None}
        ids: set[str] = set()
        for name, foreign, attribute in entity.links:
            if name == link:
                holders = self._holders(foreign, attribute, row["id"])
                ids.update(holder.id for holder in holders)
        return ids

    def _holders(self, entity: str, name: str, value: Any) -> list[Record]:
        """The records of an entity that have this value."""
        records = self.records(entity)
        return [record for record in records if record.values.get(name) == value]

    # -- writing ----------------------------------------------------------------------------------------------

    def prepare(
        self,
        entity: Entity,
        body: dict[str, Any],
        *,
        record: Record | None,
        demand_required: bool = True,
    ) -> dict[str, Any]:
        """The checked attributes of a request body; for a new record (``record=None``) with the defaults filled in.

        Raises:
            ApiError: 400, a value does not pass.
        """
        data = clean_input(entity, body, self.settings)
        present = None
        if record is None:
            data = _defaults(entity) | data
        else:
            present = self.full(record)
        validate(entity, data, present, self.settings, demand_required=demand_required)
        for field in entity.all_fields:
            if field.unique:
                value = data.get(field.name)
                self._demand_free(field.name, value, entity, record)
        return data

    def _demand_free(
        self, name: str, value: Any, entity: Entity, record: Record | None
    ) -> None:
        """Refuse a value that another record of the entity has."""
        if value is None:
            return
        for holder in self._holders(entity.name, name, value):
            if holder is not record:
                raise validation_failure(entity.name, name, "unique")

    def create(
        self,
        entity: Entity,
        data: dict[str, Any],
        user: ApiUser,
        given: Mapping[str, Any] | None = None,
    ) -> tuple[Record, Change]:
        """Store a new record.

        Args:
            entity: its type.
            data: attributes from `prepare`.
            user: who creates it.
            given: system attributes that are laid down instead of drawn: id, times, users, secret key.
        """
        given = given or {}
        record_id = given.get("id") or self._make_id()
        stamp = self._stamp()
        values = {"createdAt": stamp, "modifiedAt": stamp, "createdById": user.id}
        contacts = {contact.name: ContactLinks() for contact in entity.contact_fields}
        record = Record(entity, str(record_id), values, contacts)
        self._write(record, data, user, new=True)
        if record.values.get("syncStatus") is None and entity.initial_status:
            record.values["syncStatus"] = entity.initial_status
        for name in GIVEN_ATTRIBUTES:
            if given.get(name) is not None:
                record.values[name] = given[name]
        self._records[entity.name][record.id] = record
        payload = self._create_payload(record, data)
        return record, Change("create", entity.name, record.id, payload, user.id)

    def update(
        self,
        record: Record,
        data: dict[str, Any],
        user: ApiUser,
        *,
        keep_modified: bool = False,
    ) -> Change | None:
        """Change attributes; None if EspoCRM finds nothing to save.

        ``keep_modified``: as EspoCRM's save option ``silent`` leaves ``modifiedAt`` and ``modifiedById`` alone.

        Before version 9.2 a record with a stream is always saved: its followers, loaded with it, count as changed. So
        an identical PUT moves ``modifiedAt`` and fires a webhook there (``FollowersLoader.php``, ``Manager.php``).
        """
        entity = record.entity
        data = dict(data)
        before = self.full(record)
        changed = _differing(data, before, data)
        if self._makes_dirty(record, data, changed, user):
            data["syncStatus"] = "dirty"
        self._write(record, data, user)
        columns = set(entity.list_attributes) - _computed(entity)
        changed |= _differing(columns, before, self.full(record))
        counts = self._counts_as_version(entity, changed)
        record.version += counts
        if keep_modified:
            return None
        changed |= self._always_changed(entity, counts=counts)
        if record.values.get("modifiedById") != user.id:
            changed |= {"modifiedById", "modifiedByName"}
        if not changed:
            return None
        record.values |= {"modifiedAt": self._stamp(), "modifiedById": user.id}
        payload = self._update_payload(record, data, changed)
        return Change("update", entity.name, record.id, payload, user.id)

    def _makes_dirty(
        self, record: Record, data: Mapping[str, Any], changed: set[str], user: ApiUser
    ) -> bool:
        """The extension: an edit by anyone but the sync makes the record wait for it."""
        if user.sync or "syncStatus" in data:
            return False
        if changed.isdisjoint(record.entity.synced):
            return False
        return self.is_known_to_advoware(record)

    def _counts_as_version(self, entity: Entity, changed: set[str]) -> bool:
        """Whether a save counts in ``versionNumber``; with the newer extension the sync's own notes do not."""
        if self.settings.extension in {"", "1.0.0"} or not entity.status:
            return True
        return bool(changed - entity.status)

    def _update_payload(
        self, record: Record, data: Mapping[str, Any], changed: set[str]
    ) -> dict[str, Any]:
        """What a webhook shows of a change."""
        shown = self.full(record) | sent_arrays(data)
        payload = {}
        for name in (*record.entity.attributes, "versionNumber"):
            if name in changed:
                payload[name] = shown[name]
        payload["id"] = record.id
        return payload

    def _always_changed(self, entity: Entity, *, counts: bool) -> set[str]:
        """Attributes that are not loaded from the table, which old versions take for changed ones."""
        if self.settings.version != "8.4":
            return set()
        attributes = set()
        if entity.stream:
            attributes |= {"followersIds", "followersNames"}
        if counts and entity.name in self.settings.optimistic_concurrency:
            attributes.add("versionNumber")
        return attributes

    def delete(self, record: Record, user: ApiUser) -> Change:
        """Mark a record as deleted."""
        record.deleted = True
        record.values |= {"modifiedAt": self._stamp(), "modifiedById": user.id}
        return Change(
            "delete", record.entity.name, record.id, {"id": record.id}, user.id
        )

    def restore(self, entity: Entity, record_id: str) -> Record:
        """Take the mark off again.

        Raises:
            ApiError: 404, there never was such a record; 403, it is not deleted.
        """
        record = self._records[entity.name].get(record_id)
        if record is None:
            raise ApiError(404, f"Record {record_id} does not exist.")
        if not record.deleted:
            raise ApiError(403, "No 'deleted' attribute.")
        record.deleted = False
        return record

    def erase_contacts(self, record: Record, contacts: Iterable[Field]) -> None:
        """Overwrite numbers and addresses of a record for good."""
        for contact in contacts:
            self._contact_rows.erase(contact, record.contacts[contact.name])

    def guard_contact(self, contact: Field, entry: Mapping[str, Any]) -> None:
        """Say that a number or address also belongs to a record elsewhere that only an administrator may edit."""
        self._contact_rows.guard(contact, entry)

    def keep_what_is_shared(
        self, entity: Entity, record: Record | None, data: dict[str, Any]
    ) -> None:
        """As the write action: numbers and addresses keep what people have noted about them, see ContactRows.php."""
        for contact in entity.contact_fields:
            for entry in data.get(f"{contact.name}Data") or []:
                if not isinstance(entry, dict):
                    continue
                if isinstance(entry.get(contact.name), str):
                    self._contact_rows.keep_noted(
                        contact, entry, lambda row: self._is_held_by_others(row, record)
                    )

    def _is_held_by_others(self, row_id: str, record: Record | None) -> bool:
        for name in ENTITIES:
            for other in self.records(name):
                if other is record:
                    continue
                if any(row_id in links.rows for links in other.contacts.values()):
                    return True
        return False

    def checkpoint(self) -> Callable[[], None]:
        """Remember all records; the function that is returned brings them back."""
        records = {name: _copies(rows) for name, rows in self._records.items()}
        rows = deepcopy(self._contact_rows.__dict__ | {"_make_id": None})
        rows["_make_id"] = self._make_id

        def bring_back() -> None:
            self._records = records
            self._contact_rows.__dict__.update(rows)

        return bring_back

    def hand_over(self, source: Record, target: Record) -> None:
        """Link to another record what is linked to this one; that is done in the tables, not by saving the records."""
        for _, foreign, attribute in (*source.entity.links, ("", "Note", "parentId")):
            for holder in self._holders(foreign, attribute, source.id):
                holder.values[attribute] = target.id

    def take_out(self, entity: Entity, record_id: str) -> Record | None:
        """Remove a record as if it had never been; returns it, if there was one."""
        return self._records[entity.name].pop(record_id, None)

    def put_back(self, record: Record) -> None:
        """Undo `take_out`."""
        self._records[record.entity.name][record.id] = record

    def likely_duplicates(
        self, entity: Entity, data: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Records with the same name or primary address as a new one, if the check is switched on."""
        if entity.name not in self.settings.duplicate_check:
            return []
        name = data.get("name")
        if entity.person:
            name = _full_name(data)
        mails = _mails_of(data)
        duplicates = []
        for record in self.records(entity.name):
            row = self._row(record)
            mail = row.get("emailAddress") or ""
            if (name and row["name"] == name) or mail in mails:
                duplicates.append(row)
        return duplicates

    def concurrent_changes(
        self, record: Record, data: Mapping[str, Any], read_version: int
    ) -> dict[str, Any]:
        """What a caller who has read another version may not overwrite, with the present values.

        That is every field in which his values differ from the present ones, whoever changed it when. Version 9.3 names
        all attributes of such a field and lets single fields be exempt; 8.4 names the attributes that were sent.
        """
        if record.entity.name not in self.settings.optimistic_concurrency:
            return {}
        if read_version == record.version:
            return {}
        present = self.full(record)
        differing = _differing(data, present, data)
        conflicting = [name for name in data if name in differing]
        if self.settings.version != "8.4":
            conflicting = self._attributes_of_fields(record.entity, differing)
        return {name: present[name] for name in conflicting if name in present}

    def _attributes_of_fields(self, entity: Entity, differing: set[str]) -> list[str]:
        """All attributes of the fields to which these belong, exempt fields left out."""
        attributes: list[str] = []
        for field in entity.all_fields:
            if field.name in self.settings.concurrency_ignored:
                continue
            if not differing.isdisjoint(field.writable):
                attributes += (*field.attributes, f"{field.name}Data")
        return attributes

    def is_known_to_advoware(self, record: Record) -> bool:
        """Whether an edit makes a record ``dirty``: one that waits to be created there stays ``pending_sync``."""
        if not record.entity.synced_id:
            return False
        if record.values.get("syncStatus") != "pending_sync":
            return True
        return record.values.get(record.entity.synced_id) is not None

    def _write(
        self,
        record: Record,
        data: Mapping[str, Any],
        user: ApiUser,
        *,
        new: bool = False,
    ) -> None:
        columns = dict(data)
        for name in _contact_attributes(record.entity):
            columns.pop(name, None)
        # The extension shows the name under two names.
        if record.entity.name == "CAdressen":
            columns |= _address_label(record.values, columns)
        record.values |= columns
        _forget_erased(record.values)
        for contact in record.entity.contact_fields:
            links = record.contacts[contact.name]
            self._contact_rows.save(
                contact, links, data, new=new, administrator=user.admin
            )
        if record.entity.person:
            record.values["name"] = _full_name(record.values)

    def _create_payload(
        self, record: Record, data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The attributes that were set; EspoCRM has not yet computed the primary address at that moment."""
        hidden = _computed(record.entity) | {
            "createdByName",
            "modifiedByName",
            "followersIds",
            "followersNames",
        }
        shown = self.full(record) | dict.fromkeys(hidden)
        for name in _contact_attributes(record.entity):
            shown[name] = data.get(name)
        for name in _flags(record.entity):
            shown[name] = bool(data.get(name))
        payload = {}
        for name in record.entity.attributes:
            if shown.get(name) is not None:
                payload[name] = shown[name]
        return payload

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%d %H:%M:%S")


def sent_arrays(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of addresses and numbers among the attributes of a request."""
    return {name: data[name] for name in data if name.endswith("Data")}


def _differing(
    names: Iterable[str], before: Mapping[str, Any], after: Mapping[str, Any]
) -> set[str]:
    return {name for name in names if before[name] != after[name]}


def _mails_of(data: Mapping[str, Any]) -> set[Any]:
    entries = data.get("emailAddressData") or []
    mails = {entry.get("emailAddress") for entry in entries}
    mails.add(data.get("emailAddress"))
    return mails


def _forget_erased(values: dict[str, Any]) -> None:
    """The extension: what a person has entered is no longer erased."""
    erased = values.get("erasedFields")
    if erased:
        empty = [name for name in erased.split() if not values.get(name)]
        values["erasedFields"] = " ".join(empty) or None


def _copies(rows: Mapping[str, Record]) -> dict[str, Record]:
    copies = {}
    for key, record in rows.items():
        values = dict(record.values)
        contacts = deepcopy(record.contacts)
        copies[key] = replace(record, values=values, contacts=contacts)
    return copies


def _row_order(entity: Entity) -> tuple[str, ...]:
    listed = set(entity.list_attributes)
    return tuple(name for name in entity.attributes if name in listed)


def _contact_attributes(entity: Entity) -> set[str]:
    return set(chain.from_iterable(c.writable for c in entity.contact_fields))


def _flags(entity: Entity) -> set[str]:
    return set(chain.from_iterable(c.flags for c in entity.contact_fields))


def _computed(entity: Entity) -> set[str]:
    """Attributes that EspoCRM derives from the addresses only when a record is read."""
    return set(chain.from_iterable(c.attributes for c in entity.contact_fields))


def _address_label(
    present: Mapping[str, Any], columns: Mapping[str, Any]
) -> dict[str, Any]:
    """What an address is called after a save: what a user has entered, else its street and place."""
    is_entered = "bezeichnung" in columns or "name" in columns
    label = present.get("name")
    if is_entered:
        label = columns.get("bezeichnung", columns.get("name"))
    if not label or (not is_entered and label == _street_and_place(present)):
        label = _street_and_place({**present, **columns}) or label
    return {"bezeichnung": label, "name": label}


def _street_and_place(values: Mapping[str, Any]) -> str:
    lines = values.get("adresseStreet") or ""
    street = lines.partition("\n")[0].strip()
    code = values.get("adressePostalCode")
    if not code and not street:
        code = values.get("postfachPLZ")
    if not street and values.get("postfach"):
        street = f"Postfach {values['postfach']}"
    place = " ".join(filter(None, (code, values.get("adresseCity"))))
    return ", ".join(filter(None, (street, place)))


def _full_name(values: Mapping[str, Any]) -> str | None:
    """First and last name; a company, which has neither, is shown by its firm."""
    names = filter(None, (values.get("firstName"), values.get("lastName")))
    return " ".join(names) or values.get("firmenname")


def _defaults(entity: Entity) -> dict[str, Any]:
    """What a new record holds unless something else is sent."""
    defaults = {}
    for field in entity.all_fields:
        if field.default is not None and not field.read_only:
            defaults[field.name] = field.default
    return defaults
