"""Problems of Beteiligte and of every kind of record. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.vmh_sync.problem_texts.text import OPEN_BETEILIGTER, Text

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
            "Wenn nein: in EspoCRM beim Beteiligten, neben „Bearbeiten“, „In Advoware neu anlegen“ wählen.",
        ),
    ),
    "general_manual_action": Text(
        "BET-03",
        "Bitte prüfen: {subject}",
        "EspoCRM und Advoware stimmen nicht überein, und das Programm kann das nicht selbst beheben.",
        (
            OPEN_BETEILIGTER,
            "Die unten genannten Angaben in beiden Programmen vergleichen und richtigstellen.",
        ),
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
        outlives_record=True,
    ),
    "field_not_in_advoware": Text(
        "BET-05",
        "Angabe kommt in Advoware nicht an: {subject}",
        "In EspoCRM steht eine Angabe, die Advoware nicht aufnehmen kann. In Advoware steht noch der alte Wert; alles "
        "andere wurde übertragen.",
        (
            "In EspoCRM den Datensatz öffnen und die unten genannten Felder prüfen.",
            "Die Angabe dort so ändern, dass Advoware sie aufnehmen kann, oder sie in Advoware von Hand eintragen.",
        ),
        "In Advoware nicht angekommen: {value}",
    ),
    "field_not_in_espocrm": Text(
        "BET-06",
        "Angabe aus Advoware kann in EspoCRM nicht gezeigt werden: {subject}",
        "In Advoware steht eine Angabe, für die EspoCRM keinen Platz hat. In EspoCRM bleibt der bisherige Wert stehen; "
        "in Advoware wurde nichts geändert.",
        (
            "Prüfen, ob der Wert in EspoCRM noch stimmt, und ihn dort gegebenenfalls von Hand anpassen.",
        ),
        "In EspoCRM nicht gezeigt: {value}",
    ),
    "field_altered": Text(
        "BET-07",
        "Advoware hat eine Angabe anders gespeichert: {subject}",
        "Das Programm hat den Wert aus EspoCRM übertragen; Advoware hat ihn anders gespeichert, zum Beispiel gekürzt. "
        "Beide Werte bleiben so stehen.",
        (
            OPEN_BETEILIGTER,
            "Prüfen, ob der Wert dort so stimmt. Wenn nicht: ihn in einem der beiden Programme berichtigen.",
        ),
        "Von Advoware anders gespeichert: {value}",
    ),
    "field_altered_in_espocrm": Text(
        "BET-08",
        "EspoCRM hat eine Angabe anders gespeichert: {subject}",
        "Das Programm hat den Wert aus Advoware übertragen; EspoCRM hat ihn anders gespeichert, zum Beispiel gekürzt. "
        "Beide Werte bleiben so stehen.",
        (
            "Prüfen, ob der Wert in EspoCRM so stimmt. Wenn nicht: ihn in einem der beiden Programme berichtigen.",
        ),
        "In EspoCRM anders gespeichert: {value}",
    ),
    "shown_otherwise": Text(
        "BET-24",
        "Advoware zeigt eine Angabe anders als bisher: {subject}",
        "Advoware zeigt die unten genannten Felder anders als beim letzten Abgleich, obwohl dort seither niemand etwas "
        "geändert hat. Das gilt nicht als Änderung: in EspoCRM bleibt der bisherige Wert stehen.",
        (
            OPEN_BETEILIGTER,
            "Die unten genannten Felder prüfen („alt“ steht in Advoware, „neu“ in EspoCRM).",
            "Stimmt der Wert in Advoware nicht: ihn dort berichtigen und speichern.",
            "Stimmt er: ihn auch in EspoCRM eintragen.",
        ),
        "In Advoware anders als bisher: {value}",
    ),
    "value_replaced": Text(
        "BET-23",
        "Ersetzten Wert prüfen: {subject}",
        "Eine Angabe hat das andere Programm bisher nicht erreicht, wie in einer Aufgabe stand. Inzwischen wurde dort "
        "eine andere eingetragen, die jetzt in beiden Programmen gilt. Die ersetzte steht unten als alter Wert.",
        (
            "Prüfen, welcher Wert richtig ist.",
            "War der alte richtig: ihn wieder eintragen, wenn nötig in beiden Programmen.",
        ),
        outlives_record=True,
    ),
    "undecided": Text(
        "BET-09",
        "Verschiedene Angaben in EspoCRM und Advoware: {subject}",
        "Beim ersten Abgleich stehen in beiden Programmen verschiedene Angaben, und keine ist erkennbar neuer. "
        "Nichts davon wurde überschrieben.",
        (
            "Klären, welcher Wert richtig ist.",
            "Den richtigen Wert in einem der beiden Programme eintragen; das andere folgt von selbst.",
        ),
        "In beiden Programmen verschieden: {value}",
    ),
    "firm_and_person": Text(
        "BET-10",
        "Firma und Personenname zugleich: {subject}",
        "Der Datensatz in EspoCRM nennt eine Firma und eine Person. Advoware kann nur eines von beiden aufnehmen; die "
        "unten genannten Angaben stehen nur in EspoCRM.",
        (
            "Prüfen, ob es sich um die Firma oder um die Person handelt.",
            "Werden beide gebraucht: einen zweiten Beteiligten anlegen. Sonst ist nichts zu tun.",
        ),
    ),
    "kind_changed": Text(
        "BET-11",
        "Aus Person wurde Firma oder umgekehrt: {subject}",
        "Die Rechtsform wurde geändert. In Advoware stehen noch Angaben, die nicht mehr passen; das Programm löscht "
        "sie nicht.",
        (
            OPEN_BETEILIGTER,
            "Die unten genannten Angaben prüfen und, wenn sie nicht mehr stimmen, dort entfernen.",
        ),
    ),
    "somebody_else": Text(
        "BET-12",
        "Die Nummer gehört in Advoware zu jemand anderem: {subject}",
        "Unter der Nummer, mit der dieser Datensatz verknüpft ist, führt Advoware jetzt eine andere Person oder Firma. "
        "Damit nichts vermischt wird, gleicht das Programm diesen Datensatz nicht mehr ab.",
        (
            OPEN_BETEILIGTER,
            "Prüfen, ob dort dieselbe Person oder Firma gemeint ist.",
            "Wenn ja: den Namen in einem der beiden Programme angleichen.",
            "Wenn nein: in EspoCRM die richtige Nummer eintragen.",
        ),
        "Advoware führt unter dieser Nummer jemand anderen",
    ),
    "advoware_restored": Text(
        "BET-13",
        "Advoware zeigt einen älteren Stand: bitte die Verwaltung verständigen",
        "Advoware zeigt Datensätze in einem älteren Stand als beim letzten Abgleich, wie nach dem Einspielen einer "
        "Sicherung. Damit ältere Angaben keine neueren überschreiben, hält das Programm die betroffenen Datensätze an.",
        (
            "Klären, ob in Advoware eine Sicherung eingespielt wurde, und von wann sie ist.",
            "Wenn ja: der Verwaltung des Programms den Zeitpunkt der Wiederherstellung nennen; sie gibt den Abgleich "
            "wieder frei.",
            "Wenn nein: auch das der Verwaltung mitteilen. Wurden nur die zuletzt angelegten Beteiligten absichtlich "
            "gelöscht, geht der Abgleich weiter, sobald in Advoware ein neuer angelegt und abgeglichen ist.",
        ),
        "Advoware zeigt einen älteren Stand als beim letzten Abgleich",
    ),
    "erased": Text(
        "BET-14",
        "Personenbezogene Daten in EspoCRM gelöscht, Aufbewahrung in Advoware prüfen: {betnr}",
        "In EspoCRM wurden personenbezogene Daten gelöscht. In Advoware wurde deshalb nichts geändert: dort gelten die "
        "Aufbewahrungspflichten (Handakten sechs Jahre nach § 50 BRAO, steuerliche Unterlagen länger). Von Advoware "
        "kommen die gelöschten Angaben nicht zurück, bis sie jemand in EspoCRM wieder einträgt.",
        (
            OPEN_BETEILIGTER,
            "Mit der zuständigen Anwältin oder dem zuständigen Anwalt klären, ob und wann die Angaben dort zu löschen "
            "sind.",
            "Das Ergebnis in dieser Aufgabe festhalten.",
        ),
        "In EspoCRM gelöscht, Aufbewahrung in Advoware prüfen: {value}",
    ),
    "name_missing": Text(
        "BET-15",
        "Name fehlt: {subject}",
        "Ohne Nachnamen oder Firmennamen kann der Datensatz nicht nach Advoware übertragen werden.",
        (
            "In EspoCRM den Nachnamen oder den Firmennamen (höchstens 250 Zeichen) eintragen.",
        ),
        "Ohne Nachnamen oder Firmennamen ist keine Übertragung möglich",
    ),
    "create_unclear": Text(
        "BET-16",
        "Bitte prüfen, ob der Beteiligte in Advoware schon angelegt ist: {subject}",
        "Das Anlegen in Advoware wurde unterbrochen, und es lässt sich nicht feststellen, ob es noch gelungen ist. "
        "Damit niemand doppelt angelegt wird, wartet das Programm.",
        (
            "In Advoware nach dem Namen suchen.",
            "Ist der Beteiligte dort vorhanden: seine Nummer in EspoCRM eintragen.",
            "Ist er dort nicht vorhanden: ihn dort anlegen und die Nummer in EspoCRM eintragen.",
        ),
        "Unklar, ob der Beteiligte in Advoware schon angelegt ist",
    ),
    "left_unclear": Text(
        "BET-22",
        "Bitte prüfen, ob in Advoware ein Beteiligter übrig ist: {subject}",
        "Der Eintrag wurde in EspoCRM gelöscht oder mit einer anderen Nummer verknüpft, während er in Advoware "
        "angelegt wurde. Ob er dort angelegt ist, lässt sich nicht feststellen.",
        (
            "In Advoware nach dem Namen suchen.",
            "Ist der Beteiligte dort vorhanden und wird er nicht gebraucht: ihn dort löschen.",
        ),
        outlives_record=True,
    ),
    "left_behind": Text(
        "BET-25",
        "Bitte prüfen, ob Beteiligter {betnr} in Advoware noch gebraucht wird: {subject}",
        "Der Beteiligte {betnr} wurde in Advoware für diesen Eintrag angelegt. Inzwischen ist der Eintrag mit einer "
        "anderen Nummer verknüpft, zum Beispiel nach einem Zusammenführen; nur diese wird abgeglichen.",
        (
            OPEN_BETEILIGTER,
            "Prüfen, ob er schon in einer Akte vorkommt.",
            "Wenn nicht: ihn dort löschen.",
        ),
        outlives_record=True,
    ),
    "deleted": Text(
        "BET-17",
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
        "BET-18",
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
    "merged": Text(
        "BET-20",
        "Beteiligter {betnr} wurde in EspoCRM zusammengeführt mit {value}",
        "In EspoCRM wurden zwei Datensätze zusammengeführt: {name} ({betnr}) ging auf in {value}. In Advoware gibt es "
        "weiterhin beide; dort wurde nichts gelöscht. Abgeglichen wird nur noch {value}.",
        (
            OPEN_BETEILIGTER,
            "Prüfen, in welchen Akten er vorkommt, und dort künftig {value} verwenden.",
            "Mit der zuständigen Anwältin oder dem zuständigen Anwalt klären, was mit {betnr} geschehen soll; "
            "Aufbewahrungsfristen beachten.",
        ),
        outlives_record=True,
    ),
    "number_taken": Text(
        "BET-21",
        "Die Nummer gehört in EspoCRM schon zu einem anderen Datensatz: {subject}",
        "Zwei Datensätze in EspoCRM gehören zu derselben Nummer aus Advoware, zum Beispiel weil nach einem "
        "Zusammenführen der gelöschte Datensatz wiederhergestellt oder die Nummer bei einem zweiten eingetragen wurde. "
        "Abgeglichen wird nur der andere.",
        (
            "In EspoCRM unter „Beteiligte“ nach der Nummer suchen und die beiden Datensätze vergleichen.",
            "Sind sie dieselbe Person oder Firma: diesen Datensatz mit dem anderen zusammenführen.",
            "Sind sie verschiedene: die richtige Nummer klären; die Verwaltung von EspoCRM kann sie eintragen.",
        ),
        "{betnr} gehört in EspoCRM schon zu einem anderen Datensatz",
    ),
    "gave_up": Text(
        "BET-19",
        "Abgleich ist mehrmals fehlgeschlagen: {subject}",
        "Der Abgleich dieses Beteiligten mit Advoware ist fünfmal fehlgeschlagen. In einem Tag beginnt er von vorn.",
        (
            "Die unten genannte Meldung lesen und, wenn sie eine Angabe nennt, diese berichtigen und speichern.",
            "Sonst die EDV-Betreuung benachrichtigen und ihr die Meldung nennen.",
        ),
    ),
}
