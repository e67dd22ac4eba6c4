"""Bankverbindungen: EspoCRM's CBankverbindungen and those of a Beteiligter in Advoware, as comparable values. Pure.

The comparable values use Advoware's field names; ``None`` stands for every kind of emptiness. No error message and
nothing meant for people contains more of an IBAN than its last four characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import schwifty
from schwifty.exceptions import SchwiftyException

from services.errors import InvalidInput
from services.espocrm_mapper import normalise_text

Record = Mapping[str, Any]

FIELDS = ("iban", "bic", "kontoinhaber", "bank")


def compact(value: Any) -> str | None:
    """An IBAN or BIC without white space, in capitals; None if empty."""
    return re.sub(r"\s+", "", str(value or "")).upper() or None


def mask_iban(value: Any) -> str | None:
    """What of an IBAN may be shown: ``****3000``; None if empty."""
    iban = compact(value)
    if iban is None:
        return None
    return f"****{iban[-4:]}" if len(iban) > 8 else "****"


def konten_of(beteiligter: Record) -> list[dict[str, Any]] | None:
    """The Bankverbindungen in a Beteiligter's record; None if it does not contain them, which does not mean none.

    Advoware misspells the list's name.
    """
    konten = beteiligter.get("bankkverbindungen", beteiligter.get("bankverbindungen"))
    if not isinstance(konten, list) or not all(isinstance(item, dict) and item.get("id") for item in konten):
        return None
    return konten


class BankverbindungenMapper:
    """Maps Bankverbindungen."""

    def comparable_from_espocrm(self, espo: Record) -> dict[str, str | None]:
        """The comparable values of a CBankverbindungen."""
        return _comparable(espo.get("iban"), espo.get("bic"), espo.get("kontoinhaber"), espo.get("bankname"))

    def comparable_from_advoware(self, advo: Record) -> dict[str, str | None]:
        """The comparable values of a Bankverbindung."""
        return _comparable(advo.get("iban"), advo.get("bic"), advo.get("kontoinhaber"), advo.get("bank"))

    def map_cbankverbindungen_to_advoware(self, espo: Record) -> dict[str, str]:
        """A CBankverbindungen as a new Bankverbindung; a German IBAN also gives account number and bank code.

        Raises:
            InvalidInput: the IBAN is missing or wrong, or the BIC is wrong; names the field, not the value.
        """
        iban, bic = _checked_iban(espo.get("iban")), _checked_bic(espo.get("bic"))
        record = {
            "iban": iban.compact,
            "bic": bic or "",
            "kontoinhaber": normalise_text(espo.get("kontoinhaber")) or "",
            "bank": normalise_text(espo.get("bankname")) or "",
        }
        if iban.country_code == "DE":
            record |= {"kontoNr": iban.account_code, "blz": iban.bank_code}
        return record

    def get_changed_fields(self, espo: Record, advo: Record) -> list[str]:
        """The comparable fields whose values differ, sorted."""
        ours, theirs = self.comparable_from_espocrm(espo), self.comparable_from_advoware(advo)
        return sorted(field for field in FIELDS if ours[field] != theirs[field])

    def label(self, values: Record) -> str:
        """A Bankverbindung in a few words, for people: ``Sparkasse Hannover ****3000``."""
        return " ".join(part for part in (values.get("bank"), mask_iban(values.get("iban"))) if part)

    def shown(self, field: str, value: Any) -> Any:
        """A comparable value as it may be shown."""
        return mask_iban(value) if field == "iban" else value


def _comparable(iban: Any, bic: Any, kontoinhaber: Any, bank: Any) -> dict[str, str | None]:
    short_bic = compact(bic)
    if short_bic is not None and len(short_bic) == 11:
        short_bic = short_bic.removesuffix("XXX")  # the head office may be written with or without
    return {
        "iban": compact(iban),
        "bic": short_bic,
        "kontoinhaber": normalise_text(kontoinhaber),
        "bank": normalise_text(bank),
    }


def _checked_iban(value: Any) -> schwifty.IBAN:
    if compact(value) is None:
        raise InvalidInput("iban: missing")
    try:
        return schwifty.IBAN(compact(value) or "")
    except SchwiftyException as error:
        raise InvalidInput(f"iban: not valid ({type(error).__name__})") from None


def _checked_bic(value: Any) -> str | None:
    bic = compact(value)
    if bic is None:
        return None
    try:
        return str(schwifty.BIC(bic).compact)
    except SchwiftyException as error:
        raise InvalidInput(f"bic: not valid ({type(error).__name__})") from None
