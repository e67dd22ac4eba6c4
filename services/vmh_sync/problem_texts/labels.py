"""Names of fields as they are labelled on the screens, by what Advoware, EspoCRM and our details call them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.espocrm_mapper import FIELDS

#: For a field without a label; the test of the catalogue sees that there is none.
UNLABELLED = "Weitere Angabe"

_MASTER_DATA = {
    **{field.advoware: field.label for field in FIELDS},
    **{field.espocrm: field.label for field in FIELDS},
}

LABELS: Mapping[str, str] = {
    **_MASTER_DATA,
    "Fehler": "Fehler",
    "adresse": "Adresse",
    "adresseCity": "Ort",
    "adresseCountry": "Land",
    "adressePostalCode": "PLZ",
    "adresseState": "Bundesland",
    "adresseStreet": "Straße",
    "anschrift": "Anschrift",
    "bank": "Bank",
    "bankname": "Bank",
    "bemerkung": "Bemerkung",
    "beteiligte": "Beteiligter",
    "beteiligteId": "Beteiligter",
    "betnr": "Beteiligter Nr.",
    "bezeichnung": "Bezeichnung",
    "bic": "BIC",
    "blz": "Bankleitzahl",
    "emailAddress": "E-Mail-Adresse",
    "emailAddressData": "E-Mail-Adressen",
    "error": "Meldung",
    "gueltigBis": "Gültig bis",
    "gueltigVon": "Gültig von",
    "iban": "IBAN",
    "isActive": "Aktiv",
    "istAktiv": "Aktiv",
    "istStandard": "Hauptadresse oder Hauptkonto",
    "kind": "Art",
    "kommKz": "Art",
    "kommunikation.fax": "Fax",
    "kommunikation.mail": "E-Mail",
    "kommunikation.phone": "Telefon",
    "konto": "Bankverbindung",
    "kontoNr": "Kontonummer",
    "kontoinhaber": "Kontoinhaber",
    "land": "Land",
    "name": "Name",
    "online": "Hauptnummer",
    "ort": "Ort",
    "phoneNumber": "Telefonnummer",
    "phoneNumberData": "Telefonnummern",
    "plz": "PLZ",
    "postfach": "Postfach",
    "postfachPLZ": "Postfach-PLZ",
    "standardAnschrift": "Standardanschrift",
    "strasse": "Straße",
    "tlf": "Nummer oder Adresse",
    "value": "Wert",
    "weitereZeilen": "Adresszeilen unter der Straße",
}
