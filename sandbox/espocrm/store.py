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
                values[f"{link.name}Name"] = self._name_of(
                    foreign, values.get(f"{link.name}Id")
                )
        return {attribute: values.get(attribute) for attribute in _row_order(entity)}

    def _name_of(self, entity: str, record_id: Any) -> str | None:
        record = self.find(entity, record_id) if record_id else None
        if record:
            return record.values.get("name")
        return None

    def _filter_values(
        self, entity: Entity, row: Mapping[str, Any], attribute: str
    ) -> list[Any]:
        contact = next(
            (contact for contact in entity.contact_fields if contact.name == attribute),
            None,
        )
        if contact is None:
            return [row[attribute]]
        links = self._records[entity.name][row["id"]].contacts[contact.name]
        return [
            entry[contact.name] for entry in self._contact_rows.entries(contact, links)
        ]

    def _linked_ids(
        self, entity: Entity, row: Mapping[str, Any], link: str
    ) -> set[str]:
        if f"{link}Id" in row:
            return {row[f"{link}Id"]} - {None}
        foreign, attribute = next(
            (foreign, attribute)
            for name, foreign, attribute in entity.links
            if name == link
        )
        return {
            other.id
            for other in self.records(foreign)
            if other.values.get(attribute) == row["id"]
        }

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
            if field.unique and self._is_taken(
                field.name, data.get(field.name), entity, record
            ):
                raise validation_failure(entity.name, field.name, "unique")
        return data

    def _is_taken(
        self, name: str, value: Any, entity: Entity, record: Record | None
    ) -> bool:
        """Whether another record of the entity has this value."""
        if value is None:
            return False
        holders = [
            other
            for other in self.records(entity.name)
            if other.values.get(name) == value
        ]
        return any(other is not record for other in holders)

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
        stamp = self._stamp()
        contacts = {contact.name: ContactLinks() for contact in entity.contact_fields}
        record = Record(entity, str(given.get("id") or self._make_id()), {}, contacts)
        record.values = {
            "createdAt": stamp,
            "modifiedAt": stamp,
            "createdById": user.id,
        }
        self._write(record, data, user, new=True)
        if (
            entity.initial_status is not None
            and record.values.get("syncStatus") is None
        ):
            record.values["syncStatus"] = entity.initial_status
        record.values |= {
            key: given[key] for key in GIVEN_ATTRIBUTES if given.get(key) is not None
        }
        self._records[entity.name][record.id] = record
        return record, Change(
            "create",
            entity.name,
            record.id,
            self._create_payload(record, data),
            user.id,
        )

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
        changed = {name for name, value in data.items() if before[name] != value}
        if self._makes_dirty(record, data, changed, user):
            data["syncStatus"] = "dirty"
        self._write(record, data, user)
        after = self.full(record)
        columns = set(entity.list_attributes) - _computed(entity)
        changed |= {name for name in columns if before[name] != after[name]}
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
        return bool(changed & record.entity.synced) and self.is_known_to_advoware(
            record
        )

    def _counts_as_version(self, entity: Entity, changed: set[str]) -> bool:
        """Whether a save counts in ``versionNumber``; with the newer extension the sync's own notes do not."""
        if self.settings.extension in {"", "1.0.0"} or not entity.status:
            return True
        return bool(changed - entity.status)

    def _update_payload(
        self, record: Record, data: Mapping[str, Any], changed: set[str]
    ) -> dict[str, Any]:
        """What a webhook shows of a change."""
        sent = {name: data[name] for name in data if name.endswith("Data")}
        shown = self.full(record) | sent
        names = (*record.entity.attributes, "versionNumber")
        payload = {name: shown[name] for name in names if name in changed}
        return payload | {"id": record.id}

    def _always_changed(self, entity: Entity, *, counts: bool) -> set[str]:
        """Attributes that are not loaded from the table, which old versions take for changed ones."""
        if self.settings.version != "8.4":
            return set()
        followers = {"followersIds", "followersNames"} if entity.stream else set()
        versioned = counts and entity.name in self.settings.optimistic_concurrency
        return followers | ({"versionNumber"} if versioned else set())

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
        links = [(foreign, attribute) for _, foreign, attribute in source.entity.links]
        for foreign, attribute in [*links, ("Note", "parentId")]:
            for other in self.records(foreign):
                if other.values.get(attribute) == source.id:
                    other.values[attribute] = target.id

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
        name = _full_name(data) if entity.person else data.get("name")
        entries = data.get("emailAddressData") or []
        mails = {entry.get("emailAddress") for entry in entries}
        mails.add(data.get("emailAddress"))
        duplicates = []
        for record in self.records(entity.name):
            row = self._row(record)
            has_same_name = bool(name) and row["name"] == name
            if has_same_name or (row.get("emailAddress") or "") in mails:
                duplicates.append(row)
        return duplicates

    def concurrent_changes(
        self, record: Record, data: Mapping[str, Any], read_version: int
    ) -> dict[str, Any]:
        """What a caller who has read another version may not overwrite, with the present values.

        That is every field in which his values differ from the present ones, whoever changed it when. Version 9.3 names
        all attributes of such a field and lets single fields be exempt; 8.4 names the attributes that were sent.
        """
        settings = self.settings
        if record.entity.name not in settings.optimistic_concurrency:
            return {}
        if read_version == record.version:
            return {}
        present = self.full(record)
        differing = [name for name, value in data.items() if present[name] != value]
        if settings.version == "8.4":
            return {name: present[name] for name in differing}
        conflicting = self._attributes_of_fields(record.entity, differing)
        return {name: present[name] for name in conflicting if name in present}

    def _attributes_of_fields(self, entity: Entity, differing: list[str]) -> list[str]:
        """All attributes of the fields to which these belong, exempt fields left out."""
        attributes: list[str] = []
        for field in entity.all_fields:
            is_exempt = field.name in self.settings.concurrency_ignored
            if not is_exempt and set(field.writable).intersection(differing):
                attributes += (*field.attributes, f"{field.name}Data")
        return attributes

    def is_known_to_advoware(self, record: Record) -> bool:
        """Whether an edit makes a record ``dirty``: one that waits to be created there stays ``pending_sync``."""
        if not record.entity.synced_id:
            return False
        return (
            record.values.get("syncStatus") != "pending_sync"
            or record.values.get(record.entity.synced_id) is not None
        )

    def _write(
        self,
        record: Record,
        data: Mapping[str, Any],
        user: ApiUser,
        *,
        new: bool = False,
    ) -> None:
        contact_attributes = _contact_attributes(record.entity)
        columns = {
            key: value for key, value in data.items() if key not in contact_attributes
        }
        # The extension shows the name under two names.
        if record.entity.name == "CAdressen":
            columns |= _address_label(record.values, columns)
        record.values |= columns
        # The extension: what a person has entered is no longer erased.
        erased = record.values.get("erasedFields")
        if erased:
            empty = [name for name in erased.split() if not record.values.get(name)]
            record.values["erasedFields"] = " ".join(empty) or None
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
        shown = {
            name: value
            for name, value in self.full(record).items()
            if name not in hidden
        }
        shown |= {name: data.get(name) for name in _contact_attributes(record.entity)}
        shown |= {name: bool(data.get(name)) for name in _flags(record.entity)}
        return {
            name: shown[name]
            for name in record.entity.attributes
            if shown.get(name) is not None
        }

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%d %H:%M:%S")


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
    street = (values.get("adresseStreet") or "").split("\n")[0].strip()
    code = values.get("adressePostalCode")
    if not code and not street:
        code = values.get("postfachPLZ")
    if not street and values.get("postfach"):
        street = f"Postfach {values['postfach']}"
    place = " ".join(part for part in (code, values.get("adresseCity")) if part)
    return ", ".join(part for part in (street, place) if part)


def _full_name(values: Mapping[str, Any]) -> str | None:
    """First and last name; a company, which has neither, is shown by its firm."""
    parts = [values.get("firstName"), values.get("lastName")]
    return " ".join(part for part in parts if part) or values.get("firmenname")


def _defaults(entity: Entity) -> dict[str, Any]:
    """What a new record holds unless something else is sent."""
    defaults = {}
    for field in entity.all_fields:
        if field.default is not None and not field.read_only:
            defaults[field.name] = field.default
    return defaults
