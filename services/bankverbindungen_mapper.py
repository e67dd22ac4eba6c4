"""Bankverbindungen: EspoCRM's CBankverbindungen and those of a Beteiligter in Advoware, as comparable values. Pure.

The comparable values use Advoware's field names: a text, None for empty, `Unknown` for what only its own side
understands; a field that a side does not show is left out. No error message and nothing meant for users contains more
of an account's number than its last four characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import schwifty
from schwifty.exceptions import SchwiftyException

from services.core.errors import NeedsPerson
from services.core.foreign_text import comparable_text, without_invisible
from services.espocrm_mapper import erased_attributes
from services.values.merge import Unknown, Value, differing_fields

Record = Mapping[str, Any]

FIELDS = ("iban", "bic", "kontoinhaber", "bank")
#: Advoware's field -> EspoCRM's attribute
ATTRIBUTES = {
    "iban": "iban",
    "bic": "bic",
    "kontoinhaber": "kontoinhaber",
    "bank": "bankname",
}
#: How many characters Advoware takes [A].
ADVOWARE_LENGTHS = {"kontoinhaber": 250, "bank": 100}
#: What a Bankverbindung can do without, in the order in which it is left out if Advoware refuses the whole.
OPTIONAL = ("bank", "kontoinhaber", "bic", "kontoNr", "blz")


class UnusableAccount(NeedsPerson):
    """A CBankverbindungen that cannot be brought to Advoware as it is. ``reason`` is a word of the catalogue."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Konten(NamedTuple):
    """The Bankverbindungen of a Beteiligter; ``odd`` are those without an id."""

    usable: list[dict[str, Any]]
    odd: list[Any]


def compact(value: Any) -> str | None:
    """An IBAN or BIC without white space and invisible characters, in capitals; None if empty."""
    visible = without_invisible(str(value or ""))
    return re.sub(r"\s+", "", visible).upper() or None


def mask_iban(value: Any) -> str | None:
    """What of an IBAN may be shown: ``****3000``; None if empty."""
    iban = compact(value)
    if iban is None:
        return None
    if len(iban) <= 8:
        return "****"
    return f"****{iban[-4:]}"


def konten_of(beteiligter: Record) -> Konten | None:
    """The Bankverbindungen in a Beteiligter's record; None if it does not contain them, which does not mean none.

    Advoware misspells the list's name.
    """
    konten = beteiligter.get("bankkverbindungen", beteiligter.get("bankverbindungen"))
    if not isinstance(konten, list):
        return None
    found = Konten([], [])
    for item in konten:
        konto = usable_konto(item)
        if konto is None:
            found.odd.append(item)
        else:
            found.usable.append(konto)
    return found


def usable_konto(item: Any) -> dict[str, Any] | None:
    """A Bankverbindung of Advoware's answer with its id as a number; None if it has none."""
    if not isinstance(item, dict):
        return None
    text = str(item.get("id"))
    if re.fullmatch(r"[1-9][0-9]{0,17}", text) is None:
        return None
    return {**item, "id": int(text)}


class BankverbindungenMapper:
    """Maps Bankverbindungen."""

    def comparable_from_espocrm(self, espo: Record) -> dict[str, Value]:
        """The comparable values of a CBankverbindungen."""
        values = {}
        for field, attribute in ATTRIBUTES.items():
            if attribute in espo:
                values[field] = _value(field, espo[attribute])
        return values

    def erased(self, espo: Record) -> frozenset[str]:
        """The comparable fields of a CBankverbindungen that were erased and no user has filled since."""
        erased = erased_attributes(espo)
        return frozenset(field for field in FIELDS if ATTRIBUTES[field] in erased)

    def comparable_from_advoware(self, advo: Record) -> dict[str, Value]:
        """The comparable values of a Bankverbindung. Its IBAN is unknown if it has only a Kontonummer, or none."""
        values = {}
        for field in FIELDS:
            if field in advo:
                values[field] = _value(field, advo[field])
        if values.get("iban") is not None:
            return values
        account = _account_label(advo)
        if account is not None:
            values["iban"] = Unknown(account)
        elif "iban" in values:
            values["iban"] = Unknown("ohne IBAN")
        return values

    def map_cbankverbindungen_to_advoware(self, espo: Record) -> dict[str, str]:
        """A CBankverbindungen as a new Bankverbindung; a German IBAN also gives account number and bank code.

        What Advoware would refuse and a Bankverbindung can do without is left out, see `left_out`.

        Raises:
            UnusableAccount: the IBAN is missing or wrong; names the field, not the value.
        """
        iban = _checked_iban(espo.get("iban"))
        omitted = self.left_out(espo)
        record = {
            "iban": iban.compact,
            "bic": compact(espo.get("bic")) or "",
            "kontoinhaber": comparable_text(espo.get("kontoinhaber")) or "",
            "bank": comparable_text(espo.get("bankname")) or "",
        }
        if iban.country_code == "DE":
            record |= {"kontoNr": iban.account_code, "blz": iban.bank_code}
        for field in record.keys() & omitted.keys():
            record[field] = ""
        return record

    def left_out(self, espo: Record) -> dict[str, str]:
        """The fields that are not sent, and why: ``invalid``, ``too_long`` or ``unknown``."""
        omitted = {}
        if not _is_bic(espo.get("bic")):
            omitted["bic"] = "invalid"
        for field, length in ADVOWARE_LENGTHS.items():
            attribute = ATTRIBUTES[field]
            text = comparable_text(espo.get(attribute)) or ""
            if len(text) > length:
                omitted[field] = "too_long"
        for field, value in self.comparable_from_espocrm(espo).items():
            if isinstance(value, Unknown):
                omitted[field] = "unknown"
        return omitted

    def smaller(self, record: Record) -> Iterator[dict[str, Any]]:
        """What is left of a refused record: without one of its optional fields each time, then without all."""
        filled = [field for field in OPTIONAL if record.get(field)]
        for field in filled:
            yield {**record, field: ""}
        yield {**record, **dict.fromkeys(filled, "")}

    def is_same_account(self, espo: Record, advo: Record) -> bool:
        """Whether both mean the same account: by the IBAN, or by a German one's parts if Advoware has only those."""
        iban = self.comparable_from_espocrm(espo).get("iban")
        if not isinstance(iban, str):
            return False
        advoware = self.comparable_from_advoware(advo).get("iban")
        if not isinstance(advoware, Unknown):
            return advoware == iban
        bank_code = compact(advo.get("blz"))
        number = compact(advo.get("kontoNr")) or ""
        full_number = number.zfill(10)
        return iban.startswith("DE") and iban[4:] == f"{bank_code}{full_number}"

    def get_changed_fields(self, espo: Record, advo: Record) -> list[str]:
        """The comparable fields whose values differ, sorted."""
        espocrm = self.comparable_from_espocrm(espo)
        advoware = self.comparable_from_advoware(advo)
        return differing_fields(espocrm, advoware)

    def label(self, values: Mapping[str, Value]) -> str:
        """A Bankverbindung in a few words, for users: ``Sparkasse Hannover ****3000``."""
        bank = values.get("bank")
        iban = self.shown("iban", values.get("iban"))
        parts = []
        for part in (bank, iban):
            if part:
                shown = self.shown("", part)
                parts.append(str(shown))
        if parts:
            return " ".join(parts)
        return str(values.get("kontoinhaber") or "")

    def shown(self, field: str, value: Value) -> Any:
        """A comparable value as it may be shown."""
        if isinstance(value, Unknown):
            text, _, _ = value.text.partition(":")
            return re.sub(r"[0-9]{5,}", _masked_number, text)
        if field == "iban":
            return mask_iban(value)
        return value


def _account_label(advo: Record) -> str | None:
    """The account as Advoware shows it beside the IBAN; None without a Kontonummer."""
    number = compact(advo.get("kontoNr"))
    bank_code = compact(advo.get("blz"))
    if number is None:
        return None
    if bank_code is None:
        return f"Konto {number}"
    return f"Konto {number}, BLZ {bank_code}"


def _value(field: str, value: Any) -> Value:
    if value is not None and not isinstance(value, str):
        return Unknown(f"nicht lesbar: {value}")
    if field == "iban":
        return compact(value)
    if field == "bic":
        return _comparable_bic(value)
    return comparable_text(value)


def _comparable_bic(value: str | None) -> str | None:
    bic = compact(value)
    if bic is not None and len(bic) == 11:
        return bic.removesuffix("XXX")  # the head office may be written with or without
    return bic


def _checked_iban(value: Any) -> schwifty.IBAN:
    iban = compact(value)
    if iban is None:
        raise UnusableAccount("bank_without_iban", "iban: missing")
    try:
        return schwifty.IBAN(iban)
    except SchwiftyException as error:
        fault = type(error).__name__
        message = f"iban: not valid ({fault})"
        raise UnusableAccount("bank_iban_invalid", message) from None


def _is_bic(value: Any) -> bool:
    """Whether a BIC is valid or empty."""
    bic = compact(value)
    try:
        return bic is None or bool(schwifty.BIC(bic))
    except SchwiftyException:
        return False


def _masked_number(found: re.Match[str]) -> str:
    """The last four digits of a number."""
    return f"****{found[0][-4:]}"
