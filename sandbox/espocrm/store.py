"""The records of the EspoCRM twin: stored values, what a request sees of them, and what a change reports to the
webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
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


#: Attributes that a webhook about a new record does not show.
_NOT_YET_COMPUTED = (
    "createdByName",
    "modifiedByName",
    "followersIds",
    "followersNames",
)

Event = Literal["create", "update", "delete"]


@dataclass(frozen=True)
class Change:
    """A change of a record, as a webhook reports it."""

    event: Event
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

    def has_contact_row(self, row_id: str) -> bool:
        """Whether this address or number is one of the record's."""
        return any(row_id in links.rows for links in self.contacts.values())

    def get(self, name: str) -> Any:
        """A column of the record, None if it is empty."""
        return self.values.get(name)

    def is_shown_to(self, user: ApiUser) -> bool:
        """Whether the record is the user's to see."""
        values = self.values | {"id": self.id}
        return user.may_see(self.entity.name, values)


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
        self._records: dict[str, dict[str, Record]] = {}
        for name in ENTITIES:
            self._records[name] = {}
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
        self,
        entity: Entity,
        record_id: str,
        wording: str = "does not exist",
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
        for record in list(self._records[entity].values()):
            if not record.deleted:
                yield record

    def full(self, record: Record) -> dict[str, Any]:
        """A record as a read by id shows it."""
        entity = record.entity
        shown = self._row(record)
        for contact in entity.contact_fields:
            links = record.contacts[contact.name]
            shown[f"{contact.name}Data"] = self._contact_rows.entries(contact, links)
        if entity.stream:
            shown["isFollowed"] = False
            shown["followersIds"] = []
            shown["followersNames"] = {}
        return shown | self._version(record)

    def search(
        self,
        entity: Entity,
        params: SearchParams,
        visible: Callable[[Record], bool],
    ) -> tuple[list[dict[str, Any]], int]:
        """The rows of a page and the number of all rows that pass."""
        query = Query(
            entity,
            lambda row, attribute: self._filter_values(entity, row, attribute),
            lambda row, link: self._linked_ids(entity, row, link),
        )
        rows = query.select(self._listed(entity, visible), params)
        start = params.offset
        end = start + max(params.max_size, 0)
        page = []
        for row in rows[start:end]:
            page.append(query.page(row, params))
        return page, len(rows)

    def _listed(
        self,
        entity: Entity,
        visible: Callable[[Record], bool],
    ) -> Iterator[dict[str, Any]]:
        for record in self.records(entity.name):
            if visible(record):
                yield self._row(record) | self._version(record)

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
            links = record.contacts[contact.name]
            values |= self._contact_rows.summary(contact, links)
        for link in entity.link_fields:
            values[f"{link.name}Name"] = self._linked_name(link, values)
        return {name: values.get(name) for name in entity.row_attributes}

    def _linked_name(self, link: Field, values: Mapping[str, Any]) -> str | None:
        """The name of the record that a link leads to."""
        target_id = values.get(f"{link.name}Id")
        if not target_id:
            return None
        entity = link.entity or values.get(f"{link.name}Type") or ""
        target = self.find(entity, target_id)
        if target is None:
            return None
        name: str | None = target.get("name")
        return name

    def _filter_values(
        self,
        entity: Entity,
        row: Mapping[str, Any],
        attribute: str,
    ) -> list[Any]:
        record = self._records[entity.name][row["id"]]
        links = record.contacts.get(attribute)
        if links is None:
            return [row[attribute]]
        contact = entity.field_of[attribute]
        entries = self._contact_rows.entries(contact, links)
        return [entry[attribute] for entry in entries]

    def _linked_ids(
        self,
        entity: Entity,
        row: Mapping[str, Any],
        link: str,
    ) -> set[str]:
        if f"{link}Id" in row:
            target_id = row[f"{link}Id"]
            if target_id is None:
                return set()
            return {target_id}
        ids: set[str] = set()
        for name, foreign, attribute in entity.links:
            if name != link:
                continue
            for holder in self._holders(foreign, attribute, row["id"]):
                ids.add(holder.id)
        return ids

    def _holders(self, entity: str, name: str, value: Any) -> Iterator[Record]:
        """The records of an entity that have this value."""
        for record in self.records(entity):
            if record.get(name) == value:
                yield record

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
        self,
        name: str,
        value: Any,
        entity: Entity,
        record: Record | None,
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
        record = self._new_record(entity, user, given or {})
        self._write(record, data, user, new=True)
        if record.get("syncStatus") is None and entity.initial_status:
            record.values["syncStatus"] = entity.initial_status
        record.values |= _given_attributes(given or {})
        self._records[entity.name][record.id] = record
        payload = self._create_payload(record, data)
        return record, _change("create", record, payload, user)

    def _new_record(
        self,
        entity: Entity,
        user: ApiUser,
        given: Mapping[str, Any],
    ) -> Record:
        """A record without attributes, not yet stored."""
        record_id = given.get("id") or self._make_id()
        contacts = {}
        for contact in entity.contact_fields:
            contacts[contact.name] = ContactLinks()
        now = self._stamp()
        times = {"createdAt": now, "modifiedAt": now, "createdById": user.id}
        return Record(
            entity=entity,
            id=str(record_id),
            values=times,
            contacts=contacts,
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
        changed = _differing(data, before, data)
        if self._makes_dirty(record, data, changed, user):
            data["syncStatus"] = "dirty"
        self._write(record, data, user)
        after = self.full(record)
        changed |= _differing(entity.column_attributes, before, after)
        counts = self._counts_as_version(entity, changed)
        if counts:
            record.version += 1
        if keep_modified:
            return None
        changed |= self._always_changed(entity, counts=counts)
        if record.get("modifiedById") != user.id:
            changed |= {"modifiedById", "modifiedByName"}
        if not changed:
            return None
        self._note_author(record, user)
        payload = self._update_payload(record, data, changed)
        return _change("update", record, payload, user)

    def _note_author(self, record: Record, user: ApiUser) -> None:
        record.values["modifiedAt"] = self._stamp()
        record.values["modifiedById"] = user.id

    def _makes_dirty(
        self,
        record: Record,
        data: Mapping[str, Any],
        changed: set[str],
        user: ApiUser,
    ) -> bool:
        """The extension: an edit by anyone but the sync makes the record wait for it."""
        if user.sync or "syncStatus" in data:
            return False
        if changed.isdisjoint(record.entity.synced):
            return False
        return self.is_known_to_advoware(record)

    def _counts_as_version(self, entity: Entity, changed: set[str]) -> bool:
        """Whether a save counts in ``versionNumber``; with the newer extension the sync's own notes do not."""
        if not self.settings.has_extension_1_1:
            return True
        if not entity.status:
            return True
        return not changed <= entity.status

    def _update_payload(
        self,
        record: Record,
        data: Mapping[str, Any],
        changed: set[str],
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
        if not self.settings.is_version_8_4:
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
        self._note_author(record, user)
        return _change("delete", record, {"id": record.id}, user)

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
            links = record.contacts[contact.name]
            self._contact_rows.erase(contact, links)

    def guard_contact(self, contact: Field, entry: Mapping[str, Any]) -> None:
        """Say that a number or address also belongs to a record elsewhere that only an administrator may edit."""
        self._contact_rows.guard(contact, entry)

    def keep_what_is_shared(
        self,
        entity: Entity,
        record: Record | None,
        data: dict[str, Any],
    ) -> None:
        """As the write action: numbers and addresses keep what people have noted about them, see ContactRows.php."""

        def is_shared(row_id: str) -> bool:
            return self._is_held_by_others(row_id, record)

        for contact in entity.contact_fields:
            for entry in data.get(f"{contact.name}Data") or []:
                if _has_text(entry, contact.name):
                    self._contact_rows.keep_noted(contact, entry, is_shared)

    def _is_held_by_others(self, row_id: str, record: Record | None) -> bool:
        for name in ENTITIES:
            for other in self.records(name):
                if other is not record and other.has_contact_row(row_id):
                    return True
        return False

    def checkpoint(self) -> Callable[[], None]:
        """Remember all records; the function that is returned brings them back."""
        records = {}
        for name, rows in self._records.items():
            records[name] = _copies(rows)
        bring_back_contacts = self._contact_rows.checkpoint()

        def bring_back() -> None:
            self._records = records
            bring_back_contacts()

        return bring_back

    def hand_over(self, source: Record, target: Record) -> None:
        """Link to another record what is linked to this one; that is done in the tables, not by saving the records."""
        links = [*source.entity.links, ("", "Note", "parentId")]
        for _, foreign, attribute in links:
            for holder in self._holders(foreign, attribute, source.id):
                holder.values[attribute] = target.id

    def take_out(self, entity: Entity, record_id: str) -> Record | None:
        """Remove a record as if it had never been; returns it, if there was one."""
        records = self._records[entity.name]
        return records.pop(record_id, None)

    def put_back(self, record: Record) -> None:
        """Undo `take_out`."""
        records = self._records[record.entity.name]
        records[record.id] = record

    def likely_duplicates(
        self,
        entity: Entity,
        data: Mapping[str, Any],
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
            if _is_likely_the_same(row, name, mails):
                duplicates.append(row)
        return duplicates

    def concurrent_changes(
        self,
        record: Record,
        data: Mapping[str, Any],
        read_version: int,
    ) -> dict[str, Any]:
        """What a caller who has read another version may not overwrite, with the present values.

        That is every field in which his values differ from the present ones, whoever changed it when. Version 9.3 names
        all attributes of such a field and lets single fields be exempt; 8.4 names the attributes that were sent.
        """
        entity = record.entity
        if entity.name not in self.settings.optimistic_concurrency:
            return {}
        if read_version == record.version:
            return {}
        present = self.full(record)
        differing = _differing(data, present, data)
        if self.settings.is_version_8_4:
            conflicting = []
            for name in data:
                if name in differing:
                    conflicting.append(name)
        else:
            conflicting = self._attributes_of_fields(entity, differing)
        changes = {}
        for name in conflicting:
            if name in present:
                changes[name] = present[name]
        return changes

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
        if record.get("syncStatus") != "pending_sync":
            return True
        return record.get(record.entity.synced_id) is not None

    def _write(
        self,
        record: Record,
        data: Mapping[str, Any],
        user: ApiUser,
        *,
        new: bool = False,
    ) -> None:
        entity = record.entity
        columns = dict(data)
        for name in entity.contact_attributes:
            columns.pop(name, None)
        # The extension shows the name under two names.
        if entity.name == "CAdressen":
            columns |= _address_label(record.values, columns)
        record.values |= columns
        _forget_erased(record.values)
        for contact in entity.contact_fields:
            links = record.contacts[contact.name]
            self._contact_rows.save(
                contact,
                links,
                data,
                new=new,
                administrator=user.admin,
            )
        if entity.person:
            record.values["name"] = _full_name(record.values)

    def _create_payload(
        self,
        record: Record,
        data: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The attributes that were set; EspoCRM has not yet computed the primary address at that moment."""
        shown = self.full(record)
        for name in (*record.entity.computed_attributes, *_NOT_YET_COMPUTED):
            shown[name] = None
        for contact in record.entity.contact_fields:
            shown |= _sent_contacts(contact, data)
        payload = {}
        for name in record.entity.attributes:
            if shown.get(name) is not None:
                payload[name] = shown[name]
        return payload

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%d %H:%M:%S")


def sent_arrays(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of addresses and numbers among the attributes of a request."""
    arrays = {}
    for name, value in data.items():
        if name.endswith("Data"):
            arrays[name] = value
    return arrays


def _sent_contacts(contact: Field, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a request says of one field; a flag that it does not name is false."""
    sent = {name: data.get(name) for name in contact.writable}
    for flag in contact.flags:
        sent[flag] = bool(sent[flag])
    return sent


def _change(
    event: Event,
    record: Record,
    payload: dict[str, Any],
    user: ApiUser,
) -> Change:
    return Change(
        event=event,
        entity=record.entity.name,
        id=record.id,
        payload=payload,
        user_id=user.id,
    )


def _given_attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a new record that are laid down although a client may not set them."""
    attributes = {}
    for name in GIVEN_ATTRIBUTES:
        value = given.get(name)
        if value is not None:
            attributes[name] = value
    return attributes


def _differing(
    names: Iterable[str],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> set[str]:
    differing = set()
    for name in names:
        if before[name] != after[name]:
            differing.add(name)
    return differing


def _is_likely_the_same(
    row: Mapping[str, Any],
    name: str | None,
    mails: set[Any],
) -> bool:
    if name and row["name"] == name:
        return True
    mail = row.get("emailAddress") or ""
    return mail in mails


def _has_text(entry: Any, name: str) -> bool:
    if not isinstance(entry, dict):
        return False
    return isinstance(entry.get(name), str)


def _mails_of(data: Mapping[str, Any]) -> set[Any]:
    mails = {data.get("emailAddress")}
    for entry in data.get("emailAddressData") or []:
        mails.add(entry.get("emailAddress"))
    return mails


def _forget_erased(values: dict[str, Any]) -> None:
    """The extension: what a person has entered is no longer erased."""
    erased = values.get("erasedFields")
    if not erased:
        return
    empty = []
    for name in erased.split():
        if not values.get(name):
            empty.append(name)
    values["erasedFields"] = " ".join(empty) or None


def _copies(rows: Mapping[str, Record]) -> dict[str, Record]:
    copies = {}
    for record_id, record in rows.items():
        copies[record_id] = replace(
            record,
            values=dict(record.values),
            contacts=deepcopy(record.contacts),
        )
    return copies


def _address_label(
    present: Mapping[str, Any],
    columns: Mapping[str, Any],
) -> dict[str, Any]:
    """What an address is called after a save: what a user has entered, else its street and place."""
    is_entered = "bezeichnung" in columns or "name" in columns
    if is_entered:
        label = columns.get("bezeichnung", columns.get("name"))
        is_made = False
    else:
        label = present.get("name")
        is_made = label == _street_and_place(present)
    if not label or is_made:
        after = {**present, **columns}
        label = _street_and_place(after) or label
    return {"bezeichnung": label, "name": label}


def _street_and_place(values: Mapping[str, Any]) -> str:
    lines = values.get("adresseStreet") or ""
    street = lines.partition("\n")[0].strip()
    code = values.get("adressePostalCode")
    if not street:
        code = code or values.get("postfachPLZ")
        street = _post_office_box(values)
    place = _joined(" ", code, values.get("adresseCity"))
    return _joined(", ", street, place)


def _post_office_box(values: Mapping[str, Any]) -> str:
    number = values.get("postfach")
    if not number:
        return ""
    return f"Postfach {number}"


def _joined(separator: str, *parts: str | None) -> str:
    """The parts that hold something, with a separator between them."""
    return separator.join(part for part in parts if part)


def _full_name(values: Mapping[str, Any]) -> str | None:
    """First and last name; a company, which has neither, is shown by its firm."""
    name = _joined(" ", values.get("firstName"), values.get("lastName"))
    return name or values.get("firmenname")


def _defaults(entity: Entity) -> dict[str, Any]:
    """What a new record holds unless something else is sent."""
    defaults = {}
    for field in entity.all_fields:
        if field.default is not None and not field.read_only:
            defaults[field.name] = field.default
    return defaults
