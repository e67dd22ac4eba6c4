"""Beteiligte of the Advoware twin, with their Kommunikationen, Adressen and Bankverbindungen.

The rules are those of the specification (05); what is assumed there or here carries the mark [A].
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import schwifty
from schwifty.exceptions import SchwiftyException

from sandbox.advoware.records import (
    Check,
    History,
    Record,
    RefusedError,
    RowIds,
    boolean,
    day_at_midnight,
    differing,
    local_seconds,
    number,
    refuse_missing,
    text,
)
from sandbox.firm.build import Address, BankAccount, Party

#: Master data, all of it writable; a PUT must carry every one of these. Limits are [A].
MASTER_DATA: Final[dict[str, Check]] = {
    "rechtsform": text(50),
    "anrede": text(50),
    "titel": text(50),
    "vorname": text(100),
    "name": text(250),
    "zusatz": text(100),
    "geburtsdatum": day_at_midnight,
    "geburtsname": text(100),
    "kurzname": text(100),
    "handelsRegisterNummer": text(50),
    "art": text(50),
    "registergericht": text(100),
}

#: Read-only fields: each shows the first value of one kind of Kommunikation. All names but `mobil` are [A].
DERIVED_CONTACTS: Final[dict[str, int]] = {
    "telGesch": 1,
    "faxGesch": 2,
    "mobil": 3,
    "emailGesch": 4,
    "internet": 5,
    "telPrivat": 6,
    "faxPrivat": 7,
    "emailPrivat": 8,
    "autotelefon": 9,
    "sonstige": 10,
    "ePost": 11,
    "bea": 12,
}
_KOMM_ARTEN: Final = (
    "TelGesch",
    "FaxGesch",
    "Mobil",
    "MailGesch",
    "Internet",
    "TelPrivat",
    "FaxPrivat",
    "MailPrivat",
    "AutoTelefon",
    "Sonstige",
    "EPost",
    "Bea",
)

_FILTERS: Final = ("name", "vorname", "geburtsdatum", "kurzname")


def _iban(value: Any, field: str) -> Any:
    """A valid IBAN, with or without spaces, or none. That Advoware checks it is [A]."""
    text(42)(value, field)
    if not value:
        return value
    try:
        schwifty.IBAN(value)
    except SchwiftyException:
        raise RefusedError(400, "Die IBAN ist ungültig.") from None
    return value


@dataclass(frozen=True)
class PartKind:
    """One of the three lists inside a Beteiligte, and what the API allows with its entries."""

    list_name: str
    label: str
    fields: Mapping[str, Check]
    defaults: Mapping[str, Any]
    required: tuple[str, ...]
    writable_on_put: frozenset[str]  #: empty: there is no PUT


KOMMUNIKATION: Final = PartKind(
    list_name="kommunikation",
    label="Kommunikation",
    fields={
        "tlf": text(255),
        "bemerkung": text(1000),
        "kommKz": number(1, 12),
        "online": boolean,
    },
    defaults={"tlf": "", "bemerkung": None, "online": False},
    required=("tlf", "kommKz"),
    writable_on_put=frozenset({"tlf", "bemerkung", "online"}),
)
ADRESSE: Final = PartKind(
    list_name="adressen",
    label="Adresse",
    fields={
        "strasse": text(255),
        "plz": text(20),
        "ort": text(100),
        "land": text(100),
        "postfach": text(50),
        "postfachPLZ": text(20),
        "anschrift": text(1000),
        "standardAnschrift": boolean,
        "bemerkung": text(1000),
        "gueltigVon": day_at_midnight,
        "gueltigBis": day_at_midnight,
        "reihenfolgeIndex": number(0, 9999),
    },
    defaults={"standardAnschrift": False, "reihenfolgeIndex": 0},
    required=(),
    writable_on_put=frozenset({"strasse", "plz", "ort", "anschrift"}),
)
BANKVERBINDUNG: Final = PartKind(
    list_name="bankkverbindungen",  # spelled like this by Advoware
    label="Bankverbindung",
    fields={
        "bank": text(100),
        "iban": _iban,
        "bic": text(11),
        "kontoinhaber": text(250),
        "kontoNr": text(20),
        "blz": text(20),
    },
    defaults={},
    required=("iban",),
    writable_on_put=frozenset(),
)
PART_KINDS: Final = (KOMMUNIKATION, ADRESSE, BANKVERBINDUNG)
_EDITABLE: Final = MASTER_DATA.keys() | {kind.list_name for kind in PART_KINDS}


class BeteiligteStore:
    """All Beteiligte. Answers are copies; every method raises `RefusedError` for what Advoware refuses."""

    def __init__(self, row_ids: RowIds, now: Callable[[], datetime]) -> None:
        self._row_ids = row_ids
        self._now = now
        self._records: dict[int, Record] = {}
        self._history = History()
        self._next_betnr = 1001
        self._next_part_ids = {
            KOMMUNIKATION.list_name: 9001,
            ADRESSE.list_name: 5001,
            BANKVERBINDUNG.list_name: 7001,
        }

    # -- reading ------------------------------------------------------------------------------------------------

    def all(self) -> list[Record]:
        """Every Beteiligte."""
        answers = []
        for record in self._records.values():
            answers.append(self._answer(record))
        return answers

    def find(self, query: Mapping[str, str]) -> list[Record]:
        """Those whose fields equal the filters given, ignoring case; other parameters are ignored. [A]"""
        wanted = _filters_of(query)
        found = []
        for record in self._records.values():
            if _fits(record, wanted):
                found.append(self._answer(record))
        return found

    def get(self, betnr: int) -> Record:
        """One Beteiligter with all his lists."""
        return self._answer(self._record(betnr))

    def peek(self, betnr: int) -> Record | None:
        """A copy of what is stored of a Beteiligter; None for an unknown number."""
        return copy.deepcopy(self._records.get(betnr))

    # -- what the API allows ------------------------------------------------------------------------------------

    def create(self, body: Record, user: str) -> Record:
        """Add a Beteiligter; a short name is made up if none is given [A]. Lists in the body are ignored [A]."""
        values = {}
        for field, check in MASTER_DATA.items():
            values[field] = check(body.get(field), field)
        self._require_name(values)
        betnr = self._next_betnr
        self._remember(betnr)
        now = self._now()
        record = self._insert(betnr, values, now, now, user)
        return self._answer(record)

    def replace(self, betnr: int, body: Record, user: str) -> Record:
        """Full-object update: every writable attribute must be there; read-only ones are ignored."""
        record = self._record(betnr)
        missing = []
        for field in MASTER_DATA:
            if field not in body:
                missing.append(field)
        if missing:
            raise RefusedError(
                400,
                f"Das Objekt ist unvollständig. Es fehlen: {', '.join(missing)}.",
            )
        values = _checked_master_data(body)
        self._require_name(values)
        self._remember(betnr)
        self._change_master_data(record, values, user)
        return self._answer(record)

    def add_part(self, betnr: int, kind: PartKind, body: Record) -> Record:
        """Add an entry to one of the lists."""
        record = self._record(betnr)
        missing = []
        for field in kind.required:
            if body.get(field) in (None, ""):
                missing.append(field)
        refuse_missing(missing)
        values = self._checked_part(kind, body)
        self._remember(betnr)
        part = self._insert_part(record, kind, values)
        return copy.deepcopy(part)

    def change_part(
        self,
        betnr: int,
        kind: PartKind,
        part_id: int,
        body: Record,
    ) -> Record:
        """Change the writable attributes given; read-only ones are ignored silently."""
        record = self._record(betnr)
        part = self._part(record, kind, part_id)
        values = {}
        for field in kind.writable_on_put:
            if field in body:
                check = kind.fields[field]
                values[field] = check(body[field], field)
        self._remember(betnr)
        self._change_part(part, kind, values)
        return copy.deepcopy(part)

    # -- what a person does in the desktop program --------------------------------------------------------------

    def edit(self, betnr: int, changes: Record, user: str) -> Record:
        """Change anything, as a person would.

        Master data by name; lists by entries: ``{"id": 1, ...}`` changes, ``{"id": 1, "delete": true}`` removes, an
        entry without ``id`` is added. Nothing is changed if anything is refused.
        """
        changes = dict(changes)
        if "bankverbindungen" in changes:  # the spelling a person would use
            changes[BANKVERBINDUNG.list_name] = changes.pop("bankverbindungen")
        unknown = sorted(changes.keys() - _EDITABLE)
        if unknown:
            raise RefusedError(400, f"Unbekannte Felder: {', '.join(unknown)}.")
        record = copy.deepcopy(self._record(betnr))
        self._remember(betnr)
        for kind in PART_KINDS:
            for entry in changes.get(kind.list_name, ()):
                self._edit_part(record, kind, entry)
        values = _checked_master_data(changes)
        self._require_name({"name": record["name"], **values})
        self._change_master_data(record, values, user)
        self._records[betnr] = record
        return self._answer(record)

    def remove(self, betnr: int) -> None:
        """Delete a Beteiligter, which only a person can do."""
        self._record(betnr)
        self._remember(betnr)
        del self._records[betnr]

    def copy_address(self, betnr: int, part_id: int, to_betnr: int) -> Record:
        """Copy an address to another Beteiligter, with everything that it says, also in ``bemerkung``."""
        record = self._record(betnr)
        address = self._part(record, ADRESSE, part_id)
        copied = {field: address[field] for field in ADRESSE.fields}
        return self.add_part(to_betnr, ADRESSE, copied)

    def go_back(self, moment: datetime) -> int:
        """Put back a backup of that time: what was written since is gone, and its numbers are given out again."""
        undone = 0
        for before in self._history.take_back(moment):
            undone += 1
            self._next_betnr, self._next_part_ids = before.counters
            if before.record is None:
                self._records.pop(before.key, None)
            else:
                self._records[before.key] = before.record
        return undone

    # -- sample data --------------------------------------------------------------------------------------------

    def load(self, parties: Iterable[Party], user: str) -> None:
        """Take over the sample parties that Advoware knows."""
        for party in parties:
            if party.in_advoware:
                self._load_party(party, user)

    def _load_party(self, party: Party, user: str) -> None:
        record = self._insert(
            betnr=party.betnr,
            values=_master_data(party),
            created=party.created_at,
            changed=party.modified_at,
            user=user,
        )
        for komm_kz, value in _contacts(party):
            note = None
            if komm_kz == 6 and party.betnr % 3 == 0:
                note = "nur vormittags"
            part = {
                "tlf": value,
                "bemerkung": note,
                "kommKz": komm_kz,
                "online": komm_kz in {4, 8},
            }
            self._insert_part(record, KOMMUNIKATION, part)
        for address in party.addresses:
            if address.in_advoware:
                part = _address_part(address)
                self._insert_part(record, ADRESSE, part, address.advoware_id)
        for account in party.bank_accounts:
            if account.in_advoware:
                part = _bank_part(account)
                self._insert_part(record, BANKVERBINDUNG, part, account.advoware_id)

    # -- inner works --------------------------------------------------------------------------------------------

    def _remember(self, betnr: int) -> None:
        record = self._records.get(betnr)
        counters = (self._next_betnr, dict(self._next_part_ids))
        self._history.remember(self._now(), betnr, record, counters)

    def _record(self, betnr: int) -> Record:
        if betnr not in self._records:
            raise RefusedError(
                404,
                f"Der Beteiligte mit der Nummer {betnr} wurde nicht gefunden.",
            )
        return self._records[betnr]

    def _part(self, record: Record, kind: PartKind, part_id: int) -> Record:
        for part in record[kind.list_name]:
            if part["id"] == part_id:
                found: Record = part
                return found
        raise RefusedError(404, "")

    def _require_name(self, values: Record) -> None:
        if not (values["name"] or "").strip():
            raise RefusedError(400, "Der Name ist ein Pflichtfeld.")

    def _insert(
        self,
        betnr: int,
        values: Record,
        created: datetime,
        changed: datetime,
        user: str,
    ) -> Record:
        names = filter(None, (values["name"], values["vorname"]))
        short_name = ", ".join(names)[:100]
        record: Record = {
            "betNr": betnr,
            "rowId": self._row_ids.next(),
            **values,
            "kurzname": values["kurzname"] or short_name,
            "angelegtAm": local_seconds(created),
            "angelegtVon": user,
            "geaendertAm": local_seconds(changed),
            "geaendertVon": user,
        }
        for kind in PART_KINDS:
            record[kind.list_name] = []
        self._records[betnr] = record
        self._next_betnr = max(self._next_betnr, betnr + 1)
        return record

    def _change_master_data(self, record: Record, values: Record, user: str) -> None:
        changes = differing(record, values)
        if changes:
            record.update(changes)
            record.update(
                rowId=self._row_ids.next(),
                geaendertAm=local_seconds(self._now()),
                geaendertVon=user,
            )

    def _checked_part(self, kind: PartKind, body: Record) -> Record:
        values: Record = {}
        for field, check in kind.fields.items():
            value = body.get(field, kind.defaults.get(field))
            values[field] = check(value, field)
        return values

    def _insert_part(
        self,
        record: Record,
        kind: PartKind,
        values: Record,
        part_id: int | None = None,
    ) -> Record:
        next_id = self._next_part_ids[kind.list_name]
        if part_id is None:  # sample data come with ids of their own
            part_id = next_id
        self._next_part_ids[kind.list_name] = max(next_id, part_id + 1)
        part: Record = {
            "id": part_id,
            "betNr": record["betNr"],
            "rowId": self._row_ids.next(),
            **values,
        }
        if kind is KOMMUNIKATION:
            part["kommArt"] = _KOMM_ARTEN[part["kommKz"] - 1]
        record[kind.list_name].append(part)
        if kind is ADRESSE:
            self._keep_one_main_address(record, part)
        return part

    def _change_part(self, part: Record, kind: PartKind, values: Record) -> bool:
        changes = differing(part, values)
        if not changes:
            return False
        part.update(changes, rowId=self._row_ids.next())
        if kind is KOMMUNIKATION:
            number = part["kommKz"]
            part["kommArt"] = _KOMM_ARTEN[number - 1]
        return True

    def _edit_part(self, record: Record, kind: PartKind, entry: Record) -> None:
        if "id" not in entry:
            values = self._checked_part(kind, entry)
            self._insert_part(record, kind, values)
            return
        part = self._part(record, kind, entry["id"])
        if entry.get("delete"):
            record[kind.list_name].remove(part)
        else:
            changes = {}
            for field, check in kind.fields.items():
                if field in entry:
                    changes[field] = check(entry[field], field)
            self._change_part(part, kind, changes)
        if kind is ADRESSE:
            self._keep_one_main_address(record, part)

    def _keep_one_main_address(self, record: Record, touched: Record) -> None:
        """Exactly one address is the main one: the one just made so, else the present one, else the first."""
        addresses: list[Record] = record[ADRESSE.list_name]
        main = _main_address(addresses, touched)
        for address in addresses:
            is_main = address is main
            self._change_part(address, ADRESSE, {"standardAnschrift": is_main})

    def _answer(self, record: Record) -> Record:
        answer = copy.deepcopy(record)
        for field, komm_kz in DERIVED_CONTACTS.items():
            answer[field] = _first_contact(record, komm_kz)
        return answer


def _main_address(addresses: list[Record], touched: Record) -> Record | None:
    marked = [address for address in addresses if address["standardAnschrift"]]
    for address in marked:
        if address["id"] == touched["id"]:
            return touched
    for address in (*marked, *addresses):
        return address
    return None


def _first_contact(record: Record, komm_kz: int) -> str | None:
    for part in record[KOMMUNIKATION.list_name]:
        if part["kommKz"] == komm_kz and part["tlf"]:
            return str(part["tlf"])
    return None


def _checked_master_data(given: Record) -> Record:
    """The master data that is given, checked."""
    values: Record = {}
    for field, check in MASTER_DATA.items():
        if field in given:
            values[field] = check(given[field], field)
    return values


def _filters_of(query: Mapping[str, str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for field in _FILTERS:
        value = query.get(field, "")
        if value.strip():
            wanted[field] = value
    if "geburtsdatum" in wanted:
        day = wanted["geburtsdatum"].strip()
        wanted["geburtsdatum"] = day_at_midnight(day, "geburtsdatum")
    return wanted


def _fits(record: Record, wanted: Mapping[str, str]) -> bool:
    return all(
        _folded(record[field]) == _folded(value) for field, value in wanted.items()
    )


def _folded(value: str | None) -> str:
    return (value or "").strip().casefold()


def _address_part(address: Address) -> Record:
    remark = address.name
    if address.in_espocrm:
        remark = f"EspoCRM-ID: {address.espocrm_id}"
    place = 1
    if address.is_default:
        place = 0
    return {
        "strasse": address.strasse,
        "plz": address.plz,
        "ort": address.ort,
        "land": address.land,
        "postfach": address.postfach,
        "postfachPLZ": address.postfach_plz,
        "anschrift": address.anschrift,
        "standardAnschrift": address.is_default,
        "bemerkung": remark,
        "gueltigVon": _midnight(address.valid_from),
        "gueltigBis": _midnight(address.valid_to),
        "reihenfolgeIndex": place,
    }


def _midnight(day: date | None) -> str | None:
    if day is None:
        return None
    return f"{day}T00:00:00"


def _bank_part(account: BankAccount) -> Record:
    return {
        "bank": account.bank,
        "iban": account.iban,
        "bic": account.bic,
        "kontoinhaber": account.kontoinhaber,
        "kontoNr": account.konto_nr,
        "blz": account.blz,
    }


def _master_data(party: Party) -> Record:
    values: Record = {
        **dict.fromkeys(MASTER_DATA),
        "rechtsform": party.rechtsform,
        "anrede": party.anrede,
        "titel": party.titel,
        "vorname": party.vorname,
        "name": party.name,
        "geburtsname": party.geburtsname,
    }
    if party.geburtsdatum:
        values["geburtsdatum"] = f"{party.geburtsdatum}T00:00:00"
    register = party.register
    if register:
        values["handelsRegisterNummer"] = register.nummer
        values["art"] = register.art
        values["registergericht"] = register.gericht
    return values


def _contacts(party: Party) -> list[tuple[int, str]]:
    """kommKz and value of each number and address that Advoware has."""
    contacts: list[tuple[int, str]] = []
    for phone in party.phones:
        if phone.in_advoware:
            contacts.append((phone.komm_kz, phone.written))
    for mail in party.mails:
        if mail.in_advoware:
            contacts.append((mail.komm_kz, mail.address))
    for contact in party.further_contacts:
        contacts.append((contact.komm_kz, contact.value))
    return contacts
