"""Problems of Bankverbindungen. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.vmh_sync.problem_texts.text import OPEN_BETEILIGTER, Text

_BANK_TAB = "Dort unter „Bankverbindungen“ die Bankverbindung {konto} auswählen."
_OPEN_IN_ESPOCRM = (
    "In EspoCRM die Bankverbindung öffnen und die Angaben mit dem Beleg vergleichen."
)
_CORRECTED = "Die Angaben in EspoCRM berichtigen und speichern; die Übernahme geschieht dann von selbst."
CALL_BACK = (
    "Vor jeder Übernahme neuer Bankdaten den Beteiligten unter einer schon länger bekannten Telefonnummer anrufen und "
    "die Änderung bestätigen lassen (Schutz vor Betrug). Ohne Bestätigung nichts ändern."
)
#: Why a Task about a Bankverbindung is withdrawn.
SETTLED = "Bei dieser Bankverbindung ist nichts mehr zu tun."

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
        "Steht in EspoCRM anders als in Advoware; nach Rückfrage in Advoware nachtragen, siehe Aufgabe",
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
        "In EspoCRM nicht mehr aktiv, in Advoware noch vorhanden; dort löschen, siehe Aufgabe",
    ),
    "bank_iban_invalid": Text(
        "BAN-03",
        "IBAN in EspoCRM berichtigen: {subject}",
        "Die Bankverbindung kann nicht nach Advoware übernommen werden, weil die IBAN ungültig ist.",
        (_OPEN_IN_ESPOCRM, CALL_BACK, _CORRECTED),
        "Die IBAN ist ungültig; bitte in EspoCRM berichtigen",
    ),
    "bank_missing": Text(
        "BAN-04",
        "Bankverbindung fehlt in Advoware: {subject}",
        "Die Bankverbindung war in Advoware vorhanden und ist es nicht mehr.",
        (
            "Klären, ob sie in Advoware absichtlich gelöscht wurde.",
            "Wenn ja: sie in EspoCRM auf nicht aktiv setzen.",
            "Wenn nein: sie in Advoware mit denselben Angaben neu anlegen. "
            + CALL_BACK,
        ),
        "In Advoware nicht mehr vorhanden; dort neu anlegen oder hier auf nicht aktiv setzen, siehe Aufgabe",
    ),
    "bank_without_iban": Text(
        "BAN-05",
        "IBAN in EspoCRM eintragen: {subject}",
        "Die Bankverbindung kann nicht nach Advoware übernommen werden, weil die IBAN fehlt.",
        (
            _OPEN_IN_ESPOCRM,
            CALL_BACK,
            "Die IBAN eintragen und speichern; die Übernahme geschieht dann von selbst.",
        ),
        "Die IBAN fehlt; bitte in EspoCRM eintragen",
    ),
    "bank_doubled": Text(
        "BAN-06",
        "Bankverbindung ist doppelt: {subject}",
        "Dieselbe IBAN ist bei diesem Beteiligten schon bei einer anderen Bankverbindung eingetragen. In Advoware gibt "
        "es sie deshalb nur einmal.",
        (
            "In EspoCRM beim Beteiligten die Bankverbindungen mit dieser IBAN vergleichen.",
            "Die überzählige löschen oder, wenn eine andere IBAN gemeint war, diese berichtigen. "
            + CALL_BACK,
        ),
        "Diese IBAN ist beim selben Beteiligten schon eingetragen; bitte in EspoCRM berichtigen oder löschen",
    ),
    "bank_moved": Text(
        "BAN-07",
        "Bankverbindung in Advoware beim richtigen Beteiligten eintragen: {subject}",
        "Die Bankverbindung gehört in EspoCRM jetzt zu einem anderen Beteiligten, zum Beispiel nach dem Zusammenführen "
        "zweier Beteiligter. In Advoware steht sie noch beim bisherigen.",
        (
            "In Advoware beide unten genannten Beteiligten öffnen.",
            "Die Bankverbindung {konto} beim neuen Beteiligten mit denselben Angaben eintragen, falls sie dort fehlt.",
            "Beim bisherigen Beteiligten löschen, sobald keine Zahlung mehr an sie aussteht.",
        ),
        "In Advoware noch beim bisherigen Beteiligten; dort beim neuen eintragen, siehe Aufgabe",
    ),
    "bank_left_out": Text(
        "BAN-08",
        "Bankverbindung in Advoware vervollständigen: {subject}",
        "Die Bankverbindung wurde in Advoware angelegt, aber ohne die unten genannten Angaben, weil "
        "Advoware sie nicht annimmt.",
        (
            "Die unten genannten Angaben in EspoCRM prüfen. Ist eine falsch: sie dort berichtigen oder leeren.",
            OPEN_BETEILIGTER,
            _BANK_TAB,
            "Die fehlenden Angaben, soweit sie stimmen, in Advoware nachtragen. "
            + CALL_BACK,
        ),
        "In Advoware angelegt, aber unvollständig; bitte dort nachtragen, siehe Aufgabe",
    ),
    "bank_altered": Text(
        "BAN-09",
        "Advoware hat die Bankverbindung anders gespeichert: {subject}",
        "Die Bankverbindung wurde in Advoware angelegt, steht dort aber anders, als sie übermittelt wurde.",
        (
            OPEN_BETEILIGTER,
            _BANK_TAB,
            "Die unten genannten Felder mit dem Beleg vergleichen und in Advoware richtigstellen.",
            "Ist der Wert in Advoware („alt“) hinnehmbar: ihn in EspoCRM eintragen.",
        ),
        "Von Advoware anders gespeichert als eingetragen; bitte vergleichen, siehe Aufgabe",
    ),
    "bank_refused": Text(
        "BAN-10",
        "Advoware nimmt die Bankverbindung nicht an: {subject}",
        "Advoware hat die Bankverbindung abgelehnt, auch ohne die Angaben, die entbehrlich sind.",
        (
            _OPEN_IN_ESPOCRM,
            _CORRECTED,
            "Sind sie richtig: die Bankverbindung in Advoware von Hand anlegen. "
            + CALL_BACK,
        ),
        "Von Advoware abgelehnt; bitte die IBAN in EspoCRM prüfen, siehe Aufgabe",
    ),
    "bank_of_nobody": Text(
        "BAN-11",
        "Bankverbindung gehört zu keinem Beteiligten: {subject}",
        "Die Bankverbindung kann nicht nach Advoware übernommen werden, weil kein Beteiligter eingetragen ist.",
        (
            "In EspoCRM die Bankverbindung öffnen und den Beteiligten eintragen.",
            "Wird sie nicht mehr gebraucht: sie löschen.",
        ),
        "Es ist kein Beteiligter eingetragen; bitte in EspoCRM eintragen",
    ),
    "bank_erased": Text(
        "BAN-13",
        "Bankverbindung in EspoCRM gelöscht, Aufbewahrung in Advoware prüfen: {betnr}",
        "In EspoCRM wurden Angaben einer Bankverbindung gelöscht (Datenschutz). In Advoware wurde deshalb nichts "
        "geändert: dort gelten die Aufbewahrungspflichten (steuerliche Unterlagen, laufende Zahlungen).",
        (
            OPEN_BETEILIGTER,
            "Dort die Bankverbindungen durchsehen, die in EspoCRM leer sind.",
            "Mit der zuständigen Anwältin oder dem zuständigen Anwalt klären, ob und wann sie dort zu löschen sind.",
        ),
    ),
    "bank_waits": Text(
        "BAN-12",
        "Bankverbindung wartet auf den Beteiligten: {subject}",
        "Der Beteiligte ist in Advoware noch nicht angelegt. Die Bankverbindung wird danach von selbst übernommen.",
        ("Die Meldung zum Abgleich beim Beteiligten lesen.",),
        "Wartet, bis der Beteiligte in Advoware angelegt ist",
    ),
}
