"""Problems of Adressen. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.problem_texts.text import OPEN_BETEILIGTER, Text

_ADDRESS_TAB = "Dort unter „Adressen“ die Adresse „{adresse}“ auswählen."

TEXTS: Mapping[str, Text] = {
    "address_delete_required": Text(
        "ADR-01",
        "Adresse in Advoware löschen: {adresse}",
        "Die Adresse wurde in EspoCRM gelöscht, deaktiviert oder einem anderen Beteiligten zugeordnet. In Advoware ist "
        "sie noch vorhanden; das Programm darf dort nicht löschen.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Prüfen, ob die Adresse in einer Akte noch gebraucht wird. Wenn nicht: die Adresse löschen.",
        ),
    ),
    "address_reactivate_required": Text(
        "ADR-02",
        "Adresse in Advoware wieder in Gebrauch nehmen: {adresse}",
        "Die Adresse wurde in EspoCRM wieder aktiviert.",
        (
            OPEN_BETEILIGTER,
            "Ist die Adresse „{adresse}“ dort vorhanden: ein vergangenes Datum unter „Gültig bis“ entfernen.",
            "Fehlt sie dort: die Adresse mit denselben Angaben neu anlegen; die Verknüpfung entsteht von selbst.",
            "Eine noch offene Aufgabe, dieselbe Adresse zu löschen, auf „Abgebrochen“ setzen.",
        ),
    ),
    "address_field_update_required": Text(
        "ADR-03",
        "Adresse in Advoware von Hand ändern: {adresse}",
        "Die Adresse wurde in EspoCRM geändert. Diese Felder kann das Programm in Advoware nicht ändern.",
        (OPEN_BETEILIGTER, _ADDRESS_TAB, "Die unten genannten Felder auf den neuen Wert ändern und speichern."),
    ),
}
