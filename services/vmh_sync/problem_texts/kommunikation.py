"""Problems of the Kommunikation (phone, fax, mail). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.vmh_sync.problem_texts.text import OPEN_BETEILIGTER, Text

_ENTRY = "Dort unter „Kommunikation“ den Eintrag „{value}“ suchen."
_ONLY_IN_ADVOWARE = (
    "Bis dahin steht der Eintrag nur in Advoware; dort bleibt er unverändert."
)
_SPLIT = "Für jede Angabe einen eigenen Eintrag anlegen und speichern. Danach gleicht das Programm von selbst ab."
_CORRECT_NUMBER = "Die Rufnummer mit Vorwahl eintragen, zum Beispiel 0511 123456 oder +43 1 234567, und speichern."

TEXTS: Mapping[str, Text] = {
    "kom_phone_several": Text(
        "KOM-01",
        "Mehrere Rufnummern in einem Feld: {value}",
        f"In Advoware stehen mehrere Rufnummern in einem Feld. EspoCRM nimmt je Feld nur eine. {_ONLY_IN_ADVOWARE}",
        (OPEN_BETEILIGTER, _ENTRY, _SPLIT),
    ),
    "kom_phone_extension": Text(
        "KOM-02",
        "Rufnummer mit Zusatz für die Durchwahl: {value}",
        "In EspoCRM kann eine Rufnummer keinen Zusatz wie „Durchwahl“ oder „App.“ haben. "
        + _ONLY_IN_ADVOWARE,
        (
            OPEN_BETEILIGTER,
            _ENTRY,
            "Die Durchwahl an die Rufnummer anhängen, zum Beispiel 0511 1234-56, und speichern. Geht das nicht, kann "
            "der "
            "Eintrag so bleiben.",
        ),
    ),
    "kom_phone_words": Text(
        "KOM-03",
        "Rufnummer mit Text: {value}",
        "In dem Feld steht außer der Rufnummer noch etwas anderes. EspoCRM nimmt nur Rufnummern. "
        + _ONLY_IN_ADVOWARE,
        (
            OPEN_BETEILIGTER,
            _ENTRY,
            "Den Text in das Feld „Bemerkung“ des Eintrags setzen, sodass nur die Rufnummer übrig bleibt, und "
            "speichern.",
        ),
    ),
    "kom_phone_fragment": Text(
        "KOM-04",
        "Rufnummer unvollständig: {value}",
        "Der Rufnummer fehlt die Vorwahl oder ein Teil der Ziffern. "
        + _ONLY_IN_ADVOWARE,
        (OPEN_BETEILIGTER, _ENTRY, _CORRECT_NUMBER),
    ),
    "kom_phone_invalid": Text(
        "KOM-05",
        "Rufnummer nicht eindeutig: {value}",
        "Diese Ziffern ergeben keine gültige Rufnummer, oder es kann mehr als eine gemeint sein. "
        + _ONLY_IN_ADVOWARE,
        (OPEN_BETEILIGTER, _ENTRY, _CORRECT_NUMBER),
    ),
    "kom_mail_several": Text(
        "KOM-06",
        "Mehrere E-Mail-Adressen in einem Feld: {value}",
        "In Advoware stehen mehrere E-Mail-Adressen in einem Feld. EspoCRM nimmt je Feld nur eine. "
        + _ONLY_IN_ADVOWARE,
        (OPEN_BETEILIGTER, _ENTRY, _SPLIT),
    ),
    "kom_mail_umlaut": Text(
        "KOM-07",
        "E-Mail-Adresse mit Umlaut: {value}",
        "Die Adresse kann richtig sein, aber EspoCRM nimmt vor dem @ keine Umlaute und keine Zeichen anderer "
        "Schriften. " + _ONLY_IN_ADVOWARE,
        (
            "Den Beteiligten nach einer zweiten Adresse ohne solche Zeichen fragen.",
            "Gibt es eine: sie in EspoCRM eintragen. Gibt es keine, kann der Eintrag so bleiben.",
        ),
    ),
    "kom_mail_invalid": Text(
        "KOM-08",
        "E-Mail-Adresse ungültig: {value}",
        "EspoCRM nimmt diese E-Mail-Adresse nicht an. " + _ONLY_IN_ADVOWARE,
        (
            OPEN_BETEILIGTER,
            _ENTRY,
            "Die Adresse berichtigen (nur die Adresse, ohne Namen) und speichern.",
        ),
    ),
    "kom_too_long": Text(
        "KOM-09",
        "E-Mail-Adresse zu lang: {value}",
        "EspoCRM nimmt höchstens 254 Zeichen. " + _ONLY_IN_ADVOWARE,
        (OPEN_BETEILIGTER, _ENTRY, "Die Adresse prüfen und berichtigen."),
    ),
    "kom_erased_value": Text(
        "KOM-10",
        "Rest einer Löschung in Advoware: {value}",
        "In Advoware steht statt einer Rufnummer oder E-Mail-Adresse der Rest einer Löschung personenbezogener Daten "
        "aus "
        "EspoCRM. Das ist keine Angabe eines Menschen; sie wird nirgendwohin übertragen.",
        (
            OPEN_BETEILIGTER,
            _ENTRY,
            "Prüfen, welche Angabe dort gestanden hat und ob sie wegen einer Aufbewahrungspflicht (Handakte, § 50 "
            "BRAO: "
            "sechs Jahre nach Ende des Kalenderjahres, in dem das Mandat beendet wurde) noch gebraucht wird.",
            "Wenn ja: die richtige Angabe eintragen. Wenn nein: den Eintrag leeren.",
        ),
    ),
    "kom_full": Text(
        "KOM-11",
        "Kein Platz mehr in EspoCRM: {value}",
        "In EspoCRM sind schon zehn Einträge dieser Art vorhanden. "
        + _ONLY_IN_ADVOWARE,
        (
            "In EspoCRM einen Eintrag löschen, der nicht mehr gebraucht wird. Dieser kommt dann von selbst hinzu.",
        ),
    ),
    "kom_refused_by_espocrm": Text(
        "KOM-12",
        "EspoCRM nimmt eine Angabe nicht an: {value}",
        "Die Angabe sieht richtig aus, EspoCRM hat sie aber zurückgewiesen. Sie steht nur in Advoware; alles andere "
        "wurde abgeglichen.",
        (
            "In EspoCRM versuchen, die Angabe von Hand einzutragen; die Meldung dort sagt, was nicht stimmt.",
            OPEN_BETEILIGTER,
            "Dort den Eintrag „{value}“ berichtigen, falls er falsch ist.",
        ),
    ),
    "kom_array_blocked": Text(
        "KOM-13",
        "Eintrag in EspoCRM verhindert den Abgleich: {value}",
        "EspoCRM speichert die Rufnummern oder E-Mail-Adressen dieses Beteiligten nicht mehr, weil ein schon "
        "vorhandener "
        "Eintrag in EspoCRM ungültig ist. Deshalb konnte die genannte Angabe aus Advoware nicht übernommen werden.",
        (
            "In EspoCRM den unten unter „Eintrag in EspoCRM“ genannten Eintrag berichtigen und speichern.",
            "Danach kommt die Angabe aus Advoware von selbst hinzu.",
        ),
    ),
    "kom_reverted": Text(
        "KOM-14",
        "Nur in Advoware eingetragen und dort entfernt: {value}",
        "Der Wert wurde nur in Advoware eingetragen; maßgeblich war EspoCRM. Der Eintrag in Advoware wurde geleert.",
        (
            "Wird der Wert gebraucht: ihn in EspoCRM eintragen; Advoware folgt von selbst.",
        ),
        outlives_record=True,
    ),
    "kom_not_taken": Text(
        "KOM-15",
        "Advoware hat eine Änderung nicht übernommen: {value}",
        "Advoware hat die Änderung angenommen, aber nicht gespeichert. Das Programm versucht es nicht noch einmal.",
        (
            OPEN_BETEILIGTER,
            "Soll der Wert aus EspoCRM gelten: ihn dort unter „Kommunikation“ von Hand eintragen.",
            "Soll der Wert aus Advoware gelten: ihn in EspoCRM eintragen.",
        ),
        "„{value}“ steht nicht in Advoware; Advoware hat die Änderung nicht übernommen",
    ),
    "kom_altered": Text(
        "KOM-16",
        "Advoware speichert eine Angabe anders: {value}",
        "Advoware hat die Angabe aus EspoCRM verändert gespeichert, zum Beispiel gekürzt. Das Programm übernimmt die "
        "veränderte Fassung nicht und sendet die Angabe nicht noch einmal.",
        (
            OPEN_BETEILIGTER,
            "Den unten unter „In Advoware“ genannten Eintrag prüfen und, wenn möglich, berichtigen.",
            "Geht das nicht: in EspoCRM dieselbe Fassung eintragen.",
        ),
        "„{value}“ steht in Advoware in veränderter Fassung",
    ),
    "kom_refused_by_advoware": Text(
        "KOM-17",
        "Advoware nimmt eine Angabe nicht an: {value}",
        "Advoware hat die Angabe aus EspoCRM zurückgewiesen. Alles andere wurde abgeglichen. Das Programm versucht es "
        "erst wieder, wenn die Angabe in EspoCRM geändert wird.",
        (
            "Die Angabe in EspoCRM prüfen und berichtigen, falls sie falsch ist.",
            OPEN_BETEILIGTER,
            "Ist sie richtig: sie dort unter „Kommunikation“ von Hand eintragen.",
        ),
        "Advoware nimmt „{value}“ nicht an",
    ),
    "kom_type": Text(
        "KOM-18",
        "Art einer Rufnummer von Hand ändern: {value}",
        "Die Art der Rufnummer (zum Beispiel Büro, Mobil, Fax) wurde in EspoCRM geändert. Das Programm kann die Art in "
        "Advoware nicht ändern. Eine Rufnummer hat in EspoCRM bei allen Beteiligten dieselbe Art.",
        (
            OPEN_BETEILIGTER,
            _ENTRY,
            "Soll die neue Art gelten: in Advoware einen Eintrag dieser Art mit derselben Rufnummer anlegen und den "
            "alten "
            "löschen. Soll die alte gelten: sie in EspoCRM zurückstellen.",
        ),
        "Die Rufnummer „{value}“ hat in Advoware eine andere Art",
    ),
    "kom_erased": Text(
        "KOM-19",
        "Kontaktdaten in EspoCRM gelöscht, Aufbewahrung in Advoware prüfen: {subject}",
        "In EspoCRM wurden Rufnummern oder E-Mail-Adressen dieses Beteiligten gelöscht (Datenschutz). In Advoware "
        "wurde "
        "nichts gelöscht: Dort können Aufbewahrungspflichten entgegenstehen (Handakte, § 50 BRAO: sechs Jahre nach "
        "Ende "
        "des Kalenderjahres, in dem das Mandat beendet wurde; steuerliche Unterlagen länger; laufende Akten).",
        (
            OPEN_BETEILIGTER,
            "Dort unter „Kommunikation“ prüfen, welche Einträge wegen einer Aufbewahrungspflicht oder einer laufenden "
            "Akte bleiben müssen. Die anderen dort löschen.",
            "Ist alles entschieden: in EspoCRM die Einträge entfernen, die mit „ERASED“ beginnen. Solange sie dort "
            "stehen, werden Einträge dieser Art nicht nach EspoCRM übertragen.",
        ),
        "In EspoCRM wurden Daten gelöscht, die in Advoware noch stehen",
    ),
    "kom_unreadable": Text(
        "KOM-20",
        "Eintrag in Advoware nicht lesbar: {value}",
        "Die Angabe wurde in EspoCRM geändert oder gelöscht. Der Eintrag in Advoware kann nicht gelesen werden und "
        "wurde "
        "deshalb nicht verändert.",
        (
            OPEN_BETEILIGTER,
            "Dort unter „Kommunikation“ die Einträge mit EspoCRM vergleichen und berichtigen.",
        ),
        "Der Eintrag zu „{value}“ ist in Advoware nicht lesbar",
    ),
    "kom_espocrm_unreadable": Text(
        "KOM-21",
        "Einträge in EspoCRM nicht lesbar: {value}",
        "Ein Eintrag dieser Art in EspoCRM kann nicht gelesen werden. Deshalb wird die genannte Angabe aus Advoware "
        "nicht "
        "nach EspoCRM übertragen.",
        (
            "In EspoCRM die Rufnummern und E-Mail-Adressen des Beteiligten prüfen und speichern.",
        ),
    ),
    "kom_altered_by_espocrm": Text(
        "KOM-22",
        "EspoCRM speichert eine Angabe anders: {value}",
        "EspoCRM hat die Angabe verändert gespeichert, als das Programm die Liste dort geschrieben hat. Das Programm "
        "sendet die Angabe nicht noch einmal.",
        (
            "In EspoCRM den unten unter „In EspoCRM“ genannten Eintrag prüfen und, wenn möglich, berichtigen.",
        ),
        "„{value}“ steht in EspoCRM in veränderter Fassung",
    ),
    "kom_still_in_espocrm": Text(
        "KOM-23",
        "In Advoware gelöscht, in EspoCRM noch vorhanden: {value}",
        "Die Angabe wurde in Advoware gelöscht. In EspoCRM konnte sie nicht gelöscht werden, weil dort ein anderer "
        "Eintrag "
        "ungültig oder nicht lesbar ist.",
        (
            "In EspoCRM die Angabe von Hand löschen, falls sie nicht mehr gebraucht wird.",
        ),
        "„{value}“ steht nur noch in EspoCRM",
    ),
    "kom_write_failed": Text(
        "KOM-30",
        "Eine Rufnummer oder E-Mail-Adresse wurde nicht nach Advoware übertragen",
        "Advoware hat nicht geantwortet oder einen Fehler gemeldet. Das Programm versucht es von selbst noch einmal.",
        (OPEN_BETEILIGTER,),
        "Eine Rufnummer oder E-Mail-Adresse konnte nicht nach Advoware übertragen werden; es wird erneut versucht",
    ),
    "kom_not_shown": Text(
        "KOM-31",
        "Rufnummern oder E-Mail-Adressen nicht lesbar",
        "Ein Programm hat die Rufnummern oder E-Mail-Adressen nicht mitgeteilt. Es wurde nichts verändert.",
        (OPEN_BETEILIGTER,),
        "Rufnummern oder E-Mail-Adressen wurden nicht mitgeteilt; es wurde nichts verändert",
    ),
    "kom_defect": Text(
        "KOM-32",
        "Fehler beim Abgleich einer Rufnummer oder E-Mail-Adresse",
        "Beim Abgleich ist ein unerwarteter Fehler aufgetreten. Alles andere wurde abgeglichen.",
        (OPEN_BETEILIGTER,),
        "Eine Rufnummer oder E-Mail-Adresse konnte wegen eines Programmfehlers nicht abgeglichen werden",
    ),
    "kom_odd_row": Text(
        "KOM-33",
        "Eintrag in Advoware nicht lesbar: {value}",
        "Advoware hat einen Eintrag ohne die nötigen Angaben mitgeteilt. Er wurde nicht abgeglichen; alle anderen "
        "schon.",
        (
            OPEN_BETEILIGTER,
            "Dort unter „Kommunikation“ den Eintrag prüfen und neu speichern.",
        ),
        "Ein Eintrag der Kommunikation in Advoware ist nicht lesbar",
    ),
}

#: The beginnings of the keys of problems that stand for as long as the values are as they are. What was reverted is
#: reported once.
STATE_KINDS = tuple(
    f"kommunikation_{word}:" for word in TEXTS if word != "kom_reverted"
)
SETTLED = "Die Angabe stimmt inzwischen überein oder wurde geändert."
