"""The entities of the firm's EspoCRM: fields, types and the order in which EspoCRM lists their attributes.

A *field* is what an administrator sees; it has one or more *attributes*, which is what the API speaks of: the link
``beteiligte`` has ``beteiligteId`` and ``beteiligteName``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

FieldType = Literal[
    "varchar",
    "text",
    "int",
    "bool",
    "enum",
    "date",
    "datetime",
    "email",
    "phone",
    "link",
    "linkParent",
    "linkMultiple",
    "url",
    "jsonObject",
]

PHONE_TYPES = ("Mobile", "Office", "Home", "Fax", "Other")
#: What is added to a field's name in the names of its attributes; other types have one of the same name.
_SUFFIXES = {
    "link": ("Id", "Name"),
    "linkParent": ("Id", "Type", "Name"),
    "linkMultiple": ("Ids",),
    "email": ("", "IsOptedOut", "IsInvalid"),
    "phone": ("", "IsOptedOut", "IsInvalid"),
}
SYNC_STATUSES = (
    "pending_sync",
    "dirty",
    "syncing",
    "clean",
    "failed",
    "permanently_failed",
    "conflict",
    "deleted_in_advoware",
)
#: Attributes that EspoCRM drops from every request body.
SYSTEM_ATTRIBUTES = frozenset(
    {
        "id",
        "deleted",
        "createdAt",
        "createdById",
        "createdByName",
        "modifiedAt",
        "modifiedById",
        "modifiedByName",
        "versionNumber",
    },
)
#: What the entity list of a Task's parent holds out of the box.
STANDARD_TASK_PARENTS = ("Account", "Contact", "Lead", "Opportunity", "Case")
CUSTOM_ENTITIES = ("CBeteiligte", "CBankverbindungen", "CAdressen")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of an entity."""

    name: str
    type: FieldType = "varchar"
    required: bool = False
    max_length: int | None = (
        None  #: in characters; None: 255 for varchar and enum, unlimited for text
    )
    options: tuple[str, ...] = ()  #: of an enum; "" stands for "none"
    default: Any = None
    read_only: bool = False
    unique: bool = False
    entity: str = ""  #: target of a link

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Attributes in EspoCRM's order, without the data arrays of ``email`` and ``phone``."""
        suffixes = _SUFFIXES.get(self.type, ("",))
        return tuple(f"{self.name}{suffix}" for suffix in suffixes)

    @property
    def writable(self) -> tuple[str, ...]:
        """Attributes that a request may set."""
        if self.read_only:
            return ()
        if self.type in {"link", "linkParent"}:
            return self.attributes[:-1]
        if self.type == "linkMultiple":
            return self.attributes
        if self.type in {"email", "phone"}:
            return (self.name, f"{self.name}Data", *self.flags)
        return (self.name,)

    @property
    def flags(self) -> tuple[str, ...]:
        """Of an email or phone field: the attributes that say of the primary entry "opted out" and "invalid"."""
        if self.type in {"email", "phone"}:
            return self.attributes[1:]
        return ()


_TIMES = (
    Field(name="createdAt", type="datetime", read_only=True),
    Field(name="modifiedAt", type="datetime", read_only=True),
)
_AUTHORS = (
    Field(name="createdBy", type="link", entity="User", read_only=True),
    Field(name="modifiedBy", type="link", entity="User", read_only=True),
)
_ASSIGNED_USER = Field(name="assignedUser", type="link", entity="User")


@dataclass(frozen=True, kw_only=True)
class Entity:
    """One entity type."""

    name: str
    fields: tuple[
        Field,
        ...,
    ]  #: without id, name of a person, and the fields that all entities share
    person: bool = False  #: ``name`` is made of first and last name
    stream: bool = False
    assigned: bool = True  #: has an assigned user
    webhooks: bool = False  #: events can be subscribed to
    order: tuple[str, str] = ("createdAt", "DESC")  #: of a list without ``orderBy``
    links: tuple[
        tuple[str, str, str],
        ...,
    ] = ()  #: (link, foreign entity, foreign attribute that holds our id)
    synced: frozenset[str] = (
        frozenset()
    )  #: attributes whose change by a person makes the record ``dirty``
    status: frozenset[str] = (
        frozenset()
    )  #: the sync's own attributes, which do not count as a version
    synced_id: str = ""  #: attribute that is set once the record is known to Advoware
    initial_status: str | None = None  #: ``syncStatus`` of a new record

    @cached_property
    def all_fields(self) -> tuple[Field, ...]:
        """Every field in the order of the attributes; ``name`` first."""
        own = {field.name: field for field in self.fields}
        person_or_text = Field(name="name", read_only=self.person)
        name = own.pop("name", person_or_text)
        fields = (name, *_TIMES, *own.values(), *_AUTHORS)
        if self.assigned and _ASSIGNED_USER.name not in own:
            return (*fields, _ASSIGNED_USER)
        return fields

    @cached_property
    def field_of(self) -> dict[str, Field]:
        """The field of each attribute that can be filtered and sorted by."""
        fields: dict[str, Field] = {}
        for field in self.all_fields:
            fields |= dict.fromkeys(field.attributes, field)
        return fields

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """All attributes of a record read by id, in EspoCRM's order."""
        plain: list[str] = []
        for field in self.all_fields:
            plain += field.attributes
        plain.insert(1, "deleted")
        data = [f"{field.name}Data" for field in self.contact_fields]
        if self.stream:
            data += ["isFollowed", "followersIds", "followersNames"]
        return ("id", *plain, *data)

    @cached_property
    def list_attributes(self) -> tuple[str, ...]:
        """Attributes of a list row: what a table of the database holds."""
        return ("id", "deleted", *self.field_of)

    @cached_property
    def writable(self) -> frozenset[str]:
        """Attributes that a request may set; all others in a body are ignored."""
        attributes: set[str] = set()
        for field in self.all_fields:
            attributes.update(field.writable)
        return frozenset(attributes)

    @cached_property
    def row_attributes(self) -> tuple[str, ...]:
        """Attributes of a list row in the order in which EspoCRM shows them."""
        listed = set(self.list_attributes)
        return tuple(name for name in self.attributes if name in listed)

    @cached_property
    def contact_fields(self) -> tuple[Field, ...]:
        """The fields of type email and phone."""
        return self._fields_of_types("email", "phone")

    @cached_property
    def contact_attributes(self) -> frozenset[str]:
        """Attributes of these fields that a request may set."""
        attributes: set[str] = set()
        for contact in self.contact_fields:
            attributes.update(contact.writable)
        return frozenset(attributes)

    @cached_property
    def computed_attributes(self) -> frozenset[str]:
        """Attributes that EspoCRM derives from the addresses only when a record is read."""
        attributes: set[str] = set()
        for contact in self.contact_fields:
            attributes.update(contact.attributes)
        return frozenset(attributes)

    @cached_property
    def column_attributes(self) -> frozenset[str]:
        """Attributes of a list row that are stored, not computed."""
        return frozenset(self.list_attributes) - self.computed_attributes

    @cached_property
    def link_fields(self) -> tuple[Field, ...]:
        """The fields that lead to one record."""
        return self._fields_of_types("link", "linkParent")

    def _fields_of_types(self, *types: str) -> tuple[Field, ...]:
        return tuple(field for field in self.all_fields if field.type in types)


_BETEILIGTE_MASTER_DATA = (
    Field(name="salutationName", type="enum", options=("", "Herr", "Frau", "Divers")),
    Field(name="firstName", max_length=100),
    Field(name="lastName", max_length=100),
    Field(name="firmenname", max_length=250),
    Field(name="rechtsform", max_length=50),
    Field(name="dateOfBirth", type="date"),
    Field(name="handelsregisterNummer", max_length=50),
    Field(name="handelsregisterArt", max_length=20),
    Field(name="registergericht", max_length=100),
)

CBETEILIGTE = Entity(
    name="CBeteiligte",
    person=True,
    stream=True,
    webhooks=True,
    links=(
        ("adressen", "CAdressen", "beteiligteId"),
        ("bankverbindungen", "CBankverbindungen", "beteiligteId"),
        ("tasks", "Task", "parentId"),
    ),
    initial_status="pending_sync",
    synced_id="betnr",
    status=frozenset(
        {
            "betnr",
            "syncStatus",
            "advowareLastSync",
            "advowareRowId",
            "syncRetryCount",
            "syncNextRetry",
        }
        | {
            "syncAutoResetAt",
            "syncErrorMessage",
            "kommunikationHash",
            "erasedFields",
            "mergedIds",
        },
    ),
    synced=frozenset(
        {field.name for field in _BETEILIGTE_MASTER_DATA}
        | {"emailAddress", "emailAddressData", "phoneNumber", "phoneNumberData"},
    ),
    fields=(
        Field(name="syncStatus", type="enum", options=SYNC_STATUSES),
        *_BETEILIGTE_MASTER_DATA,
        Field(name="emailAddress", type="email"),
        Field(name="phoneNumber", type="phone"),
        Field(name="description", type="text"),
        Field(name="betnr", type="int", unique=True),
        Field(name="advowareLastSync", type="datetime"),
        Field(name="advowareRowId", max_length=100),
        Field(name="syncRetryCount", type="int"),
        Field(name="syncNextRetry", type="datetime"),
        Field(name="syncAutoResetAt", type="datetime"),
        Field(name="syncErrorMessage", type="text", max_length=2000),
        Field(name="kommunikationHash", max_length=16),
        Field(name="erasedFields", type="text"),
        Field(name="mergedIds", type="text"),
    ),
)

CADRESSEN = Entity(
    name="CAdressen",
    stream=True,
    webhooks=True,
    initial_status="pending_sync",
    synced_id="advowareId",
    status=frozenset(
        {
            "advowareId",
            "advowareRowId",
            "advowareLastSync",
            "syncStatus",
            "erasedFields",
        },
    ),
    synced=frozenset(
        {
            "name",
            "bezeichnung",
            "adresseStreet",
            "adresseCity",
            "adressePostalCode",
            "adresseCountry",
            "adresseState",
        }
        | {
            "postfach",
            "postfachPLZ",
            "istStandard",
            "gueltigVon",
            "gueltigBis",
            "isActive",
            "beteiligteId",
        },
    ),
    fields=(
        Field(name="syncStatus", type="enum", options=SYNC_STATUSES),
        Field(name="bezeichnung"),
        Field(name="adresseStreet", type="text", max_length=255),
        Field(name="adresseCity", max_length=100),
        Field(name="adresseState", max_length=100),
        Field(name="adresseCountry", max_length=100),
        Field(name="adressePostalCode", max_length=20),
        Field(name="postfach", max_length=50),
        Field(name="postfachPLZ", max_length=20),
        Field(name="istStandard", type="bool", default=False),
        Field(name="gueltigVon", type="date"),
        Field(name="gueltigBis", type="date"),
        Field(name="isActive", type="bool", default=True),
        Field(name="description", type="text"),
        Field(name="advowareId", type="int"),
        Field(name="advowareRowId", max_length=100),
        Field(name="advowareLastSync", type="datetime"),
        Field(name="erasedFields", type="text"),
        Field(name="beteiligte", type="link", entity="CBeteiligte", required=True),
    ),
)

CBANKVERBINDUNGEN = Entity(
    name="CBankverbindungen",
    stream=True,
    webhooks=True,
    status=frozenset(
        {
            "advowareKontoId",
            "advowareLastSync",
            "syncStatus",
            "syncErrorMessage",
            "erasedFields",
        },
    ),
    fields=(
        Field(
            name="syncStatus",
            type="enum",
            options=("", "clean", "unclean", "failed"),
        ),
        Field(name="iban", max_length=42),
        Field(name="bic", max_length=14),
        Field(name="kontoinhaber", max_length=250),
        Field(name="bankname", max_length=100),
        Field(name="istAktiv", type="bool", default=True),
        Field(name="istStandard", type="bool", default=False),
        Field(name="description", type="text"),
        Field(name="advowareKontoId", type="int"),
        Field(name="advowareLastSync", type="datetime"),
        Field(name="syncErrorMessage", type="text", max_length=2000),
        Field(name="erasedFields", type="text"),
        Field(name="beteiligte", type="link", entity="CBeteiligte", required=True),
    ),
)

CVMHERSTGESPRAECH = Entity(
    name="CVmhErstgespraech",
    stream=True,
    fields=(
        Field(name="status", type="enum", options=("", "Geplant", "Erledigt")),
        Field(name="nextCall", type="datetime"),
        Field(name="beteiligte", type="link", entity="CBeteiligte"),
    ),
)

TASK = Entity(
    name="Task",
    stream=True,
    webhooks=True,
    fields=(
        Field(name="name", required=True),
        Field(
            name="status",
            type="enum",
            options=("Not Started", "Started", "Completed", "Canceled", "Deferred"),
            default="Not Started",
        ),
        Field(
            name="priority",
            type="enum",
            options=("Low", "Normal", "High", "Urgent"),
            default="Normal",
        ),
        Field(name="dateStart", type="datetime"),
        Field(name="dateEnd", type="datetime"),
        Field(name="dateStartDate", type="date"),
        Field(name="dateEndDate", type="date"),
        Field(name="dateCompleted", type="datetime", read_only=True),
        Field(name="description", type="text"),
        Field(name="parent", type="linkParent"),
        Field(name="assignedUser", type="link", entity="User", required=True),
        Field(name="teams", type="linkMultiple"),
    ),
)

NOTE = Entity(
    name="Note",
    assigned=False,
    order=("number", "DESC"),
    fields=(
        Field(name="post", type="text"),
        Field(name="data", type="jsonObject", read_only=True),
        Field(
            name="type",
            type="enum",
            options=("Post",),
            default="Post",
            read_only=True,
        ),
        Field(
            name="targetType",
            type="enum",
            options=("", "self", "all", "teams", "users", "portals"),
        ),
        Field(name="parent", type="linkParent"),
        Field(name="number", type="int", read_only=True),
    ),
)

USER = Entity(
    name="User",
    assigned=False,
    order=("userName", "ASC"),
    fields=(
        Field(name="userName", required=True, max_length=50),
        Field(
            name="type",
            type="enum",
            options=("regular", "admin", "portal", "system", "super-admin", "api"),
        ),
        Field(name="isActive", type="bool", default=True),
        Field(name="emailAddress"),
    ),
)

WEBHOOK = Entity(
    name="Webhook",
    assigned=False,
    fields=(
        Field(name="event", required=True, max_length=100),
        Field(name="url", type="url", required=True, max_length=512),
        Field(name="isActive", type="bool", default=True),
        Field(name="user", type="link", entity="User"),
        Field(name="entityType", read_only=True),
        Field(
            name="type",
            type="enum",
            options=("create", "update", "fieldUpdate", "delete"),
            read_only=True,
        ),
        Field(name="field", read_only=True),
        Field(name="secretKey", max_length=100, read_only=True),
        Field(name="skipOwn", type="bool", default=False),
        Field(name="description", type="text"),
    ),
)

NOTIFICATION = Entity(
    name="Notification",
    assigned=False,
    fields=(
        Field(name="type", max_length=20),
        Field(name="message", type="text"),
        Field(name="data", type="jsonObject"),
        Field(name="read", type="bool", default=False),
        Field(name="user", type="link", entity="User"),
        Field(name="related", type="linkParent"),
    ),
)

ENTITIES: dict[str, Entity] = {
    entity.name: entity
    for entity in (
        CBETEILIGTE,
        CADRESSEN,
        CBANKVERBINDUNGEN,
        CVMHERSTGESPRAECH,
        TASK,
        NOTE,
        USER,
        WEBHOOK,
        NOTIFICATION,
    )
}


def entity_defs(entity: Entity) -> dict[str, Any]:
    """The metadata ``entityDefs.{entity}``: fields with type, options and limits, links, and the default order."""
    fields = {}
    links: dict[str, Any] = {}
    for field in entity.all_fields:
        fields[field.name] = _field_def(entity, field)
        if field.type == "link":
            links[field.name] = {"type": "belongsTo", "entity": field.entity}
    for link, foreign, _ in entity.links:
        links[link] = {"type": "hasMany", "entity": foreign}
    order_by, order = entity.order
    return {
        "fields": fields,
        "links": links,
        "collection": {"orderBy": order_by, "order": order.lower()},
    }


def _field_def(entity: Entity, field: Field) -> dict[str, Any]:
    is_person_name = entity.person and field.name == "name"
    definition: dict[str, Any] = {"type": field.type}
    if is_person_name:
        definition["type"] = "personName"
    if field.options:
        definition["options"] = list(field.options)
    if field.max_length:
        definition["maxLength"] = field.max_length
    if field.type == "phone":
        definition["typeList"] = list(PHONE_TYPES)
    if field.required:
        definition["required"] = True
    if field.read_only and not is_person_name:
        definition["readOnly"] = True
    return definition
