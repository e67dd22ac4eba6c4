"""Problems of Bankverbindungen. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.problem_texts.text import OPEN_BETEILIGTER, Text

_BANK_TAB = "Dort unter „Bankverbindungen“ die Bankverbindung {konto} auswählen."
CALL_BACK = (
    "Vor jeder Übernahme neuer Bankdaten den Beteiligten unter einer schon länger bekannten Telefonnummer anrufen und "
    "die Änderung bestätigen lassen (Schutz vor Betrug). Ohne Bestätigung nichts ändern."
)

TEXTS: Mapping[str, Text] = {
    "bank_changed": Text(
        "BAN-01",
        "Bankverbindung stimmt nicht überein: {subject}",
        "Die Bankverbindung steht in EspoCRM anders als in Advoware. Das Programm kann in Advoware keine "
        "Bankverbindung ändern.",
        (
            CALL_BACK,
            OPEN_BETEILIGTER,
            _BANK_TAB,
            "Ist der Wert aus EspoCRM („neu“) bestätigt: die unten genannten Felder in Advoware ändern und speichern.",
            "Ist der Wert aus Advoware („alt“) richtig: ihn in EspoCRM eintragen.",
        ),
    ),
    "bank_inactive": Text(
        "BAN-02",
        "Bankverbindung in Advoware entfernen: {subject}",
        "Die Bankverbindung wurde in EspoCRM gelöscht oder deaktiviert. In Advoware ist sie noch vorhanden; das "
        "Programm darf dort nicht löschen.",
        (
            "Klären, warum die Bankverbindung entfernt werden soll.",
            OPEN_BETEILIGTER,
            _BANK_TAB,
            "Die Bankverbindung löschen, sobald keine Zahlung mehr an sie aussteht.",
        ),
    ),
    "bank_invalid": Text(
        "BAN-03",
        "Bankverbindung in EspoCRM berichtigen: {subject}",
        "Die Bankverbindung kann nicht nach Advoware übernommen werden: IBAN oder BIC fehlt, ist ungültig oder schon "
        "bei einer anderen Bankverbindung des Beteiligten eingetragen.",
        (
            "In EspoCRM die Bankverbindung öffnen und IBAN und BIC mit dem Beleg vergleichen.",
            CALL_BACK,
            "Die Angaben in EspoCRM berichtigen und speichern; die Übernahme geschieht dann von selbst.",
        ),
    ),
    "bank_missing": Text(
        "BAN-04",
        "Bankverbindung fehlt in Advoware: {subject}",
        "Die Bankverbindung war in Advoware vorhanden und ist es nicht mehr.",
        (
            "Klären, ob sie in Advoware absichtlich gelöscht wurde.",
            "Wenn ja: sie in EspoCRM auf nicht aktiv setzen.",
            "Wenn nein: sie in Advoware mit denselben Angaben neu anlegen. " + CALL_BACK,
        ),
    ),
}
