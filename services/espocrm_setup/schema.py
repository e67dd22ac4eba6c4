"""What BitByLaw needs to find in EspoCRM: entities, fields, options, rights and webhooks. Pure.

The extension in ``espocrm-extension/`` provides all of it; a test compares the two and the mappers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.espocrm_mapper import FIELDS as MASTER_DATA
from services.espocrm_mapper import Field as MasterField

#: of the extension in ``espocrm-extension/``
EXTENSION_NAME = "BitByLaw"
EXTENSION_VERSION = "1.2.0"
ROLE_ID = "bitbylaw-sync"
ROLE_NAME = "BitByLaw Sync"


def version_numbers(version: object) -> tuple[int, ...]:
    """A version so that it can be compared; of what is none, nothing."""
    parts = str(version).split(".")
    if not all(map(str.isdecimal, parts)):
        return ()
    return tuple(map(int, parts))


@dataclass(frozen=True)
class Field:
    """A field: its type, the options that an enum must offer, and how many characters must fit in."""

    type: str
    options: tuple[str, ...] = ()
    length: int = 0


@dataclass(frozen=True)
class Schema:
    """One entity."""

    fields: Mapping[str, Field]
    links: Mapping[str, str]  #: link -> entity it leads to


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
BANK_STATUSES = ("clean", "unclean", "failed")
PHONE_TYPES = ("Mobile", "Office", "Home", "Fax", "Other")

_DATE = Field("date")
_DATE_TIME = Field("datetime")
_BOOL = Field("bool")
_INT = Field("int")


def _text(length: int) -> Field:
    return Field("varchar", length=length)


def _master_data(field: MasterField) -> Field:
    """A field of the master data, as EspoCRM has to have it."""
    if field.options:
        return Field("enum", options=field.options)
    if field.espocrm_length is None:
        return _DATE
    return _text(field.espocrm_length)


ENTITIES: Mapping[str, Schema] = {
    "CBeteiligte": Schema(
        fields={
            "name": Field("personName"),
            **{field.espocrm: _master_data(field) for field in MASTER_DATA},
            "emailAddress": Field("email"),
            "phoneNumber": Field("phone", options=PHONE_TYPES),
            "betnr": _INT,
            "syncStatus": Field("enum", options=SYNC_STATUSES),
            "advowareLastSync": _DATE_TIME,
            "advowareRowId": _text(40),
            "syncRetryCount": _INT,
            "syncNextRetry": _DATE_TIME,
            "syncAutoResetAt": _DATE_TIME,
            "syncErrorMessage": Field("text", length=2000),
            "kommunikationHash": _text(16),
            "erasedFields": Field("text"),
            "mergedIds": Field("text"),
        },
        links={"adressen": "CAdressen", "bankverbindungen": "CBankverbindungen"},
    ),
    "CAdressen": Schema(
        fields={
            "bezeichnung": _text(255),
            "adresseStreet": Field("text", length=255),
            "adresseCity": _text(100),
            "adressePostalCode": _text(20),
            "adresseState": _text(100),
            "adresseCountry": _text(100),
            "postfach": _text(50),
            "postfachPLZ": _text(20),
            "istStandard": _BOOL,
            "gueltigVon": _DATE,
            "gueltigBis": _DATE,
            "isActive": _BOOL,
            "advowareId": _INT,
            "advowareRowId": _text(40),
            "advowareLastSync": _DATE_TIME,
            "syncStatus": Field("enum", options=SYNC_STATUSES),
            "erasedFields": Field("text"),
        },
        links={"beteiligte": "CBeteiligte"},
    ),
    "CBankverbindungen": Schema(
        fields={
            "name": _text(255),
            "iban": _text(34),
            "bic": _text(11),
            "kontoinhaber": _text(250),
            "bankname": _text(100),
            "istAktiv": _BOOL,
            "istStandard": _BOOL,
            "advowareKontoId": _INT,
            "advowareLastSync": _DATE_TIME,
            "syncStatus": Field("enum", options=BANK_STATUSES),
            "syncErrorMessage": Field("text", length=2000),
            "erasedFields": Field("text"),
        },
        links={"beteiligte": "CBeteiligte"},
    ),
}

#: scope -> action -> level that the role of the API user grants; ``delete`` is nowhere needed.
RIGHTS: Mapping[str, Mapping[str, str]] = {
    **{
        scope: {"create": "yes", "read": "all", "edit": "all", "stream": "all"}
        for scope in (*ENTITIES, "Task")
    },
    "User": {"read": "all"},
}
#: Scopes that a role grants as a whole.
SWITCHES = ("Webhook",)
PERMISSIONS = ("assignmentPermission", "userPermission", "mentionPermission")

#: event -> path of the endpoint that takes it
WEBHOOKS: Mapping[str, str] = {
    "CBeteiligte.create": "/vmh/webhook/beteiligte/create",
    "CBeteiligte.update": "/vmh/webhook/beteiligte/update",
    "CBeteiligte.delete": "/vmh/webhook/beteiligte/delete",
    "CBankverbindungen.create": "/vmh/webhook/bankverbindungen/create",
    "CBankverbindungen.update": "/vmh/webhook/bankverbindungen/update",
    "CBankverbindungen.delete": "/vmh/webhook/bankverbindungen/delete",
}


def entity_problems(name: str, definition: Mapping[str, Any]) -> list[str]:
    """What is wrong with an entity, given EspoCRM's metadata ``entityDefs.{name}``; empty if nothing is."""
    schema = ENTITIES[name]
    fields = definition.get("fields") or {}
    links = definition.get("links") or {}
    problems = []
    for field, wanted in schema.fields.items():
        for problem in _field_problems(wanted, fields.get(field)):
            problems.append(f"{field}: {problem}")
    problems += _link_problems(schema.links, links)
    return problems


def _field_problems(wanted: Field, found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["is missing"]
    found_type = found.get("type")
    if found_type != wanted.type:
        return [f"has the type {found_type} instead of {wanted.type}"]
    problems = []
    missing = _missing_options(wanted, found)
    if missing:
        options = ", ".join(missing)
        problems.append(f"lacks the options {options}")
    length = found.get("maxLength") or wanted.length
    if length < wanted.length:
        problems.append(f"takes {length} characters instead of {wanted.length}")
    if found.get("readOnly"):
        problems.append("is read-only, so that EspoCRM ignores what we write")
    return problems


def _missing_options(wanted: Field, found: Mapping[str, Any]) -> list[str]:
    name = "typeList" if wanted.type == "phone" else "options"
    offered = found.get(name) or []
    return [option for option in wanted.options if option not in offered]


def _link_problems(
    wanted: Mapping[str, str],
    links: Mapping[str, Mapping[str, Any] | None],
) -> Iterator[str]:
    for link, target in wanted.items():
        found = links.get(link) or {}
        if found.get("entity") != target:
            yield f"{link}: is no link to {target}"


def role_problems(acl: Mapping[str, Any]) -> list[str]:
    """What the role of the API user lacks, given ``acl`` of EspoCRM's ``App/user``; empty if nothing is."""
    table = acl.get("table") or {}
    problems: list[str] = []
    for scope in RIGHTS:
        problems += _lacking_rights(scope, granted_rights(acl, scope))
    for scope in SWITCHES:
        if not table.get(scope):
            problems.append(f"{scope}: not enabled")
    problems += _lacking_permissions(acl)
    return problems


def _lacking_permissions(acl: Mapping[str, Any]) -> Iterator[str]:
    for name in PERMISSIONS:
        level = acl.get(name)
        if level != "all":
            yield f"{name} is {level} instead of all"


def granted_rights(acl: Mapping[str, Any], scope: str) -> Mapping[str, Any]:
    """What a role grants for a scope, by action; empty if it is nothing, or the scope as a whole."""
    table = acl.get("table") or {}
    granted = table.get(scope)
    if not isinstance(granted, Mapping):
        return {}
    return granted


def _lacking_rights(scope: str, granted: Mapping[str, Any]) -> Iterator[str]:
    for action, level in RIGHTS[scope].items():
        if granted.get(action) == level:
            continue
        present = granted.get(action, "no")
        yield f"{scope}: {action} is {present} instead of {level}"


def surplus_rights(acl: Mapping[str, Any]) -> list[str]:
    """Entities whose records the API user may delete, which nothing in this product needs."""
    surplus = []
    for scope in (*ENTITIES, "Task"):
        granted = granted_rights(acl, scope)
        if granted.get("delete", "no") != "no":
            surplus.append(scope)
    return surplus
