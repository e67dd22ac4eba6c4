"""Problems of Beteiligte and of every kind of record. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.problem_texts.text import OPEN_BETEILIGTER, Text

TEXTS: Mapping[str, Text] = {
    "readonly_field_conflict": Text(
        "BET-01",
        "Änderung wurde von Advoware nicht übernommen: {subject}",
        "Advoware hat die Änderung angenommen, die Felder aber nicht geändert. Das Programm versucht es nicht erneut.",
        (
            OPEN_BETEILIGTER,
            "Die unten genannten Felder prüfen und, wenn der neue Wert stimmt, von Hand ändern.",
            "Stimmt der alte Wert: ihn in EspoCRM eintragen.",
        ),
    ),
    "missing_in_advoware": Text(
        "BET-02",
        "In Advoware nicht mehr vorhanden: {subject}",
        "Was in EspoCRM steht, gibt es in Advoware nicht mehr. In EspoCRM wurde nichts gelöscht.",
        (
            "Klären, ob in Advoware absichtlich gelöscht wurde.",
            "Wenn ja: in EspoCRM nichts weiter tun.",
            "Wenn nein: in Advoware neu anlegen.",
        ),
    ),
    "general_manual_action": Text(
        "BET-03",
        "Bitte prüfen: {subject}",
        "EspoCRM und Advoware stimmen nicht überein, und das Programm kann das nicht selbst beheben.",
        (OPEN_BETEILIGTER, "Die unten genannten Angaben in beiden Programmen vergleichen und richtigstellen."),
    ),
    "conflict": Text(
        "BET-04",
        "Gleichzeitige Änderung prüfen: {subject}",
        "Dieselben Felder wurden in EspoCRM und in Advoware verschieden geändert. Der Wert aus EspoCRM gilt jetzt in "
        "beiden Programmen; der aus Advoware wurde ersetzt und steht unten als alter Wert.",
        (
            "Prüfen, welcher Wert richtig ist.",
            "War der alte richtig: ihn in EspoCRM eintragen; Advoware folgt von selbst.",
        ),
    ),
    "deleted": Text(
        "BET-05",
        "Beteiligter {betnr} wurde in EspoCRM gelöscht: {name}",
        "Der Beteiligte wurde in EspoCRM gelöscht. In Advoware ist er noch vorhanden; dort wurde nichts gelöscht.",
        (
            OPEN_BETEILIGTER,
            "Prüfen, ob er noch in einer Akte vorkommt.",
            "Wenn nicht, und wenn keine Aufbewahrungsfrist entgegensteht: ihn dort löschen.",
        ),
        outlives_record=True,
    ),
    "deleted_many": Text(
        "BET-06",
        "{count} Beteiligte wurden in EspoCRM gelöscht",
        "Mehrere Beteiligte wurden in EspoCRM gelöscht, zum Beispiel durch das Rückgängigmachen eines Imports. In "
        "Advoware sind sie noch vorhanden; dort wurde nichts gelöscht.",
        (
            "Klären, ob sie in EspoCRM absichtlich gelöscht wurden.",
            "In Advoware jeden der unten genannten Beteiligten öffnen und prüfen, ob er noch in einer Akte vorkommt.",
            "Wenn nicht, und wenn keine Aufbewahrungsfrist entgegensteht: ihn dort löschen.",
        ),
        outlives_record=True,
    ),
    "gave_up": Text(
        "BET-07",
        "Abgleich ist mehrmals fehlgeschlagen: {subject}",
        "Der Abgleich dieses Beteiligten mit Advoware ist fünfmal fehlgeschlagen. In einem Tag beginnt er von vorn.",
        (
            "Die unten genannte Meldung lesen und, wenn sie eine Angabe nennt, diese berichtigen und speichern.",
            "Sonst die EDV-Betreuung benachrichtigen und ihr die Meldung nennen.",
        ),
    ),
}
