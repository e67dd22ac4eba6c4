"""The sample law firm as it stands in EspoCRM."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sandbox.espocrm.access import ApiUser
from sandbox.espocrm.entities import CADRESSEN, CBANKVERBINDUNGEN, CBETEILIGTE, USER
from sandbox.espocrm.store import Store
from sandbox.firm.build import Address, BankAccount, Employee, Firm, Party


def load_firm(store: Store, firm: Firm, admin: ApiUser) -> None:
    """Store the employees as users and all parties that EspoCRM knows, with their addresses and bank accounts.

    What Advoware knows too is ``clean``; what only EspoCRM knows waits as ``pending_sync``.
    """
    active = []
    for employee in firm.employees:
        given = {"id": employee.espocrm_id}
        _create(store, USER, _user(employee), admin, given)
        if employee.active:
            active.append(employee.espocrm_id)
    parties = [party for party in firm.parties if party.in_espocrm]
    for number, party in enumerate(parties):
        assignee = active[number % len(active)]
        _load_party(store, party, assignee, admin)


def _create(
    store: Store,
    entity: Any,
    body: dict[str, Any],
    admin: ApiUser,
    given: dict[str, Any],
) -> None:
    data = store.prepare(entity, body, record=None)
    store.create(entity, data, admin, given)


def _user(employee: Employee) -> dict[str, Any]:
    return {
        "userName": employee.user_name,
        "name": employee.name,
        "type": "regular",
        "isActive": employee.active,
        "emailAddress": employee.mail,
    }


def _load_party(store: Store, party: Party, assignee: str, admin: ApiUser) -> None:
    created = _stamp(party.created_at)
    modified = _stamp(party.modified_at)
    times = {"createdAt": created, "modifiedAt": modified}
    _create(
        store,
        CBETEILIGTE,
        _beteiligte(party, assignee, modified),
        admin,
        {"id": party.espocrm_id, **times},
    )
    for address in party.addresses:
        if address.in_espocrm:
            body = _address(address, party.espocrm_id, modified)
            _create(store, CADRESSEN, body, admin, {"id": address.espocrm_id, **times})
    for account in party.bank_accounts:
        if account.in_espocrm:
            body = _bank_account(account, party.espocrm_id, modified)
            _create(
                store,
                CBANKVERBINDUNGEN,
                body,
                admin,
                {"id": account.espocrm_id, **times},
            )


def _beteiligte(party: Party, assignee: str, synced_at: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "rechtsform": party.rechtsform,
        "phoneNumberData": _phones(party),
        "emailAddressData": _mails(party),
        "assignedUserId": assignee,
    }
    if party.is_company:
        body["firmenname"] = party.name
    else:
        body |= {
            "salutationName": party.anrede,
            "firstName": party.vorname,
            "lastName": party.name,
        }
    if party.geburtsdatum:
        body["dateOfBirth"] = party.geburtsdatum.isoformat()
    if party.register:
        body |= {
            "handelsregisterNummer": party.register.nummer,
            "handelsregisterArt": party.register.art,
            "registergericht": party.register.gericht,
        }
    if party.in_advoware:
        body |= {
            "betnr": party.betnr,
            "syncStatus": "clean",
            "advowareLastSync": synced_at,
        }
    return body


def _phones(party: Party) -> list[dict[str, Any]]:
    entries = []
    for phone in party.phones:
        if phone.in_espocrm and phone.e164:
            entries.append({"phoneNumber": phone.e164, "type": phone.espocrm_type})
    return entries


def _mails(party: Party) -> list[dict[str, Any]]:
    entries = []
    for mail in party.mails:
        if mail.in_espocrm:
            entries.append({"emailAddress": mail.address})
    return entries


def _address(address: Address, beteiligte_id: str, synced_at: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "bezeichnung": address.name,
        "adresseStreet": address.strasse,
        "adressePostalCode": address.plz,
        "adresseCity": address.ort,
        "adresseCountry": address.land_iso,
        "postfach": address.postfach,
        "postfachPLZ": address.postfach_plz,
        "istStandard": address.is_default,
        "gueltigVon": _iso(address.valid_from),
        "gueltigBis": _iso(address.valid_to),
        "beteiligteId": beteiligte_id,
    }
    if address.in_advoware:
        body |= {
            "advowareId": address.advoware_id,
            "syncStatus": "clean",
            "advowareLastSync": synced_at,
        }
    return body


def _iso(day: date | None) -> str | None:
    if day is None:
        return None
    return day.isoformat()


def _bank_account(
    account: BankAccount,
    beteiligte_id: str,
    synced_at: str,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": account.bank,
        "iban": account.iban,
        "bic": account.bic,
        "kontoinhaber": account.kontoinhaber,
        "bankname": account.bank,
        "beteiligteId": beteiligte_id,
    }
    if account.in_advoware:
        body |= {
            "advowareKontoId": account.advoware_id,
            "syncStatus": "clean",
            "advowareLastSync": synced_at,
        }
    return body


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
