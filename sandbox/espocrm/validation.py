"""What EspoCRM does with a request body before it stores anything: drop, clean, convert, refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import phonenumbers
import schwifty
from schwifty.exceptions import SchwiftyException

from sandbox.espocrm.access import Settings
from sandbox.espocrm.entities import (
    CUSTOM_ENTITIES,
    PHONE_TYPES,
    SYSTEM_ATTRIBUTES,
    Entity,
    Field,
)
from sandbox.espocrm.mail import is_mail_address
from sandbox.espocrm.php import php_day, php_int, php_time, php_trim, validation_failure

MAX_CONTACT_ENTRIES = 10
MAX_PHONE_LENGTH = 36
MAX_MAIL_LENGTH = 255
#: One of these names a Beteiligter.
_NAME_ATTRIBUTES = ("lastName", "firmenname", "rechtsform")
#: The check that a bad entry of a field of this type does not pass.
_WRONG_CONTACT = {"email": "emailAddress", "phone": "valid"}
INT_RANGE = range(-(2**31), 2**31)

_ID = re.compile(r"[A-Za-z0-9_=\-.]+")
_NUMERIC = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")
_LOOSE_PHONE = re.compile(r"[0-9A-Za-z_@:#+()\-. ]+")
_URI = re.compile(r"[a-zA-Z0-9]+://[^\s<>\"]+")


def clean_input(
    entity: Entity,
    body: dict[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """The attributes of a body that may be set, converted to the types of their fields.

    System attributes, read-only ones and those that do not exist are dropped without a word, as EspoCRM does.

    Raises:
        ApiError: 400, a value of an int field is no number (checked on the raw value, before the conversion).
    """
    settable = entity.writable - SYSTEM_ATTRIBUTES
    wanted = {}
    for name, value in body.items():
        if name in settable:
            wanted[name] = value
    for field in entity.all_fields:
        _clean_field(entity, field, wanted)
        if field.type == "phone" and settings.phone_number_international:
            _sanitize_phones(field, wanted)
    return wanted


def _clean_field(entity: Entity, field: Field, wanted: dict[str, Any]) -> None:
    for attribute in field.writable:
        if attribute not in wanted:
            continue
        value = wanted[attribute]
        if attribute.endswith("Data") and value is None:
            # EspoCRM takes an array or leaves the addresses alone.
            del wanted[attribute]
            continue
        wanted[attribute] = _convert(entity, field, attribute, value)


def _sanitize_phones(field: Field, wanted: dict[str, Any]) -> None:
    """Write the numbers of a field in E.164, as far as they begin with ``+`` and can be read."""
    name = field.name
    plain = wanted.get(name)
    if isinstance(plain, str):
        wanted[name] = sanitize_phone(plain)
    entries = wanted.get(f"{name}Data")
    if not isinstance(entries, list):
        return
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        number = entry.get(name)
        if isinstance(number, str | int | float):
            entry[name] = sanitize_phone(_to_text(number))


def _convert(entity: Entity, field: Field, attribute: str, value: Any) -> Any:
    if value is None or field.type in {"jsonObject", "linkMultiple"}:
        return value
    if field.type == "bool" or attribute in field.flags:
        return _to_bool(value)
    if field.type == "int":
        return _to_int(entity, field, value)
    if attribute.endswith("Data"):
        return _copied_entries(value)
    return _sanitized_text(field, value)


def _sanitized_text(field: Field, value: Any) -> str | None:
    text = _to_text(value)
    sanitize = _SANITIZERS.get(field.type)
    if sanitize is not None:
        text = sanitize(text)
    return text or None


def _to_bool(value: Any) -> bool:
    if isinstance(value, int):
        return value == 1
    return value in ("1", "true")


def _copied_entries(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    entries = []
    for entry in value:
        if isinstance(entry, dict):
            entries.append(dict(entry))
        else:
            entries.append(entry)
    return entries


_SANITIZERS: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("varchar", "url", "email", "phone"), php_trim),
    "date": php_day,
    "datetime": php_time,
}


def _to_int(entity: Entity, field: Field, value: Any) -> int:
    if value == "":
        return 0
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        return php_int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise validation_failure(entity.name, field.name, "valid")
    return int(value)


def _to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is True:
        return "1"
    if value is False:
        return ""
    if isinstance(value, list):
        return "Array"
    if isinstance(value, dict):
        return "Object"
    return str(value)


def validate(
    entity: Entity,
    data: dict[str, Any],
    present: Mapping[str, Any] | None,
    settings: Settings,
    *,
    demand_required: bool = True,
) -> None:
    """Check cleaned attributes; the first field that fails decides the answer.

    Of addresses and numbers EspoCRM checks the whole field as soon as one of its attributes is sent: a stored primary
    number that would not pass today refuses an array without it, unless the plain attribute is sent as well.

    Args:
        entity: the type of the record.
        data: attributes to be set, defaults included.
        present: what is stored; None for a new record, in which required fields must be there.
        settings: switches of the instance.
        demand_required: refuse a record without a required value.

    Raises:
        ApiError: 400 with the reason and body that EspoCRM gives.
    """
    is_older = entity.name in CUSTOM_ENTITIES and not settings.has_form_rules
    checks = _Checks(
        entity=entity,
        data=data,
        present=present,
        settings=settings,
        demand_required=demand_required,
    )
    for field in entity.all_fields:
        if field.read_only:
            continue
        if is_older and field.type in {"varchar", "link"}:
            field = replace(field, required=False, max_length=None)
        kind = checks.failure(field)
        if kind:
            raise validation_failure(entity.name, field.name, kind)


@dataclass(frozen=True)
class _Checks:
    """The checks of one request."""

    entity: Entity
    data: Mapping[str, Any]
    present: Mapping[str, Any] | None
    settings: Settings
    demand_required: bool

    def failure(self, field: Field) -> str | None:
        """The first check that the field's attributes do not pass."""
        given = []
        for attribute in field.writable:
            if attribute in self.data:
                given.append(attribute)
        if given and field.flags:
            present = self.present or {}
            return _contact_failure(field, {**present, **self.data}, self.settings)
        if self._asks_for(given) and _is_missing(field, self.data):
            return "required"
        return self._value_failure(field, given)

    def _value_failure(self, field: Field, given: list[str]) -> str | None:
        for attribute in given:
            value = self.data[attribute]
            kind = _failure(self.entity, field, attribute, value, self.settings)
            if kind:
                return kind
        return None

    def _asks_for(self, given: list[str]) -> bool:
        """Whether a required value must be there: in a new record, and in a field that is sent."""
        if not self.demand_required:
            return False
        return bool(given) or self.present is None


def _is_missing(field: Field, data: Mapping[str, Any]) -> bool:
    if not field.required:
        return False
    return any(data.get(attribute) is None for attribute in field.writable)


def validate_bank_details(entity: Entity, data: dict[str, Any]) -> None:
    """The extension's own checks: IBAN and BIC, blanks and small letters allowed.

    Raises:
        ApiError: 400.
    """
    if entity.name != "CBankverbindungen":
        return
    for name, kind in (("iban", schwifty.IBAN), ("bic", schwifty.BIC)):
        value = data.get(name)
        if value is not None and not _is_code(kind, value):
            raise validation_failure(entity.name, name, name)


def validate_name(
    entity: Entity,
    data: Mapping[str, Any],
    present: Mapping[str, Any] | None,
) -> None:
    """The extension's rule for people: a Beteiligter has a last name, or a firm with its legal form.

    Only who sets one of the three is asked; ``present`` is what is stored, None for a new record.

    Raises:
        ApiError: 400.
    """
    if entity.name != "CBeteiligte":
        return
    sent = []
    for name in _NAME_ATTRIBUTES:
        if name in data:
            sent.append(name)
    if present is None:
        sent = sent or ["lastName"]
        present = {}
    if not sent or _is_named({**present, **data}):
        return
    raise validation_failure(entity.name, sent[0], "named")


def _is_named(values: Mapping[str, Any]) -> bool:
    if values.get("lastName"):
        return True
    return bool(values.get("firmenname") and values.get("rechtsform"))


def _is_code(kind: type[schwifty.IBAN | schwifty.BIC], value: str) -> bool:
    try:
        kind(value.upper())
    except SchwiftyException:
        return False
    return True


def _failure(
    entity: Entity,
    field: Field,
    attribute: str,
    value: Any,
    settings: Settings,
) -> str | None:
    """The name of the check that a value does not pass."""
    if field.type == "enum":
        return _option_failure(field, value)
    if value is None:
        return None
    if field.type == "linkParent" and attribute.endswith("Type"):
        return _parent_failure(entity, value, settings)
    check = _CHECKS.get(field.type)
    if check is None:
        return None
    return check(field, value)


def _option_failure(field: Field, value: Any) -> str | None:
    """A value that is no option; empty stands for the option that is none."""
    for option in field.options:
        if value == (option or None):
            return None
    return "valid"


def _parent_failure(entity: Entity, value: Any, settings: Settings) -> str | None:
    if entity.name != "Task":
        return None
    if value in settings.task_parents:
        return None
    return "valid"


def _length_failure(field: Field, value: str) -> str | None:
    limit = field.max_length
    if not limit and field.type != "text":
        limit = 255
    if limit and len(value) > limit:
        return "maxLength"
    return None


def _url_failure(field: Field, value: str) -> str | None:
    too_long = _length_failure(field, value)
    if too_long:
        return too_long
    if not _URI.fullmatch(value):
        return "valid"
    return None


def _time_failure(field: Field, value: str) -> str | None:
    try:
        moment = datetime.fromisoformat(value).replace(tzinfo=None, microsecond=0)
    except ValueError:
        return "valid"
    canonical = moment.isoformat(sep=" ")
    if field.type == "date":
        canonical = moment.date().isoformat()
    if canonical == value:
        return None
    return "valid"


_CHECKS: dict[str, Callable[[Field, Any], str | None]] = {
    "varchar": _length_failure,
    "text": _length_failure,
    "url": _url_failure,
    "date": _time_failure,
    "datetime": _time_failure,
    "int": lambda _field, value: None if value in INT_RANGE else "rangeInternal",
    "link": lambda _field, value: None if _ID.fullmatch(value) else "pattern",
    "linkParent": lambda _field, value: None if _ID.fullmatch(value) else "pattern",
}


def _contact_failure(
    field: Field,
    values: Mapping[str, Any],
    settings: Settings,
) -> str | None:
    """The check that the addresses or numbers of a record do not pass: one bad entry refuses them all."""
    entries = values.get(f"{field.name}Data")
    if entries is None:
        entries = []
    wrong = _WRONG_CONTACT[field.type]
    if not _is_list_of_objects(entries):
        return wrong
    plain = values.get(field.name)
    held = [entry.get(field.name) for entry in entries]
    all_values = [plain, *held]
    if field.type == "email":
        passes = _all_mails(all_values)
    else:
        passes = _all_phones(plain, held, settings) and _all_phone_types(entries)
    if not passes:
        return wrong
    return _size_failure(field, all_values)


def _size_failure(field: Field, values: list[Any]) -> str | None:
    """``values``: the plain attribute, and that of each entry."""
    limit = MAX_PHONE_LENGTH
    if field.type == "email":
        limit = MAX_MAIL_LENGTH
    if not _all_fit(values, limit):
        return "maxLength"
    if len(values) - 1 > MAX_CONTACT_ENTRIES:
        return "maxCount"
    return None


def _all_fit(values: list[Any], limit: int) -> bool:
    return all(len(value) <= limit for value in values if value)


def _is_list_of_objects(entries: Any) -> bool:
    if not isinstance(entries, list):
        return False
    return all(isinstance(entry, dict) for entry in entries)


def _all_mails(values: list[Any]) -> bool:
    return all(_is_mail(value) for value in values if value)


def _all_phones(plain: Any, held: list[Any], settings: Settings) -> bool:
    """An entry must hold a number; the plain attribute may be empty."""
    if plain and not _is_phone(plain, settings):
        return False
    return all(_is_phone(value, settings) for value in held)


def _all_phone_types(entries: list[dict[str, Any]]) -> bool:
    known = {None, *PHONE_TYPES}
    return all(entry.get("type") in known for entry in entries)


def _is_mail(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return is_mail_address(value)


def _is_phone(value: Any, settings: Settings) -> bool:
    if not isinstance(value, str):
        return False
    if not _LOOSE_PHONE.fullmatch(value):
        return False
    if not settings.phone_number_international:
        return True
    return _is_e164(value)


def sanitize_phone(value: str) -> str:
    """A number that begins with ``+`` in E.164, if it can be read; EspoCRM writes it so before it checks it."""
    value = php_trim(value)
    if value.startswith("+"):
        return _e164(value) or value
    return value


def _e164(value: str) -> str | None:
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_e164(value: str) -> bool:
    return _e164(value) == value and phonenumbers.is_possible_number(
        phonenumbers.parse(value, None),
    )
