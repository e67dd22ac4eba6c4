"""Problems of Adressen. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.vmh_sync.problem_texts.text import OPEN_BETEILIGTER, Text

_ADDRESS_TAB = "Dort unter „Adressen“ die Adresse „{adresse}“ auswählen."
_OPEN_IN_ESPOCRM = "In EspoCRM die Adresse „{adresse}“ öffnen."
_ITSELF = "Sobald beide Programme dasselbe zeigen, ist die Sache von selbst erledigt."

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
    "address_erased": Text(
        "ADR-19",
        "Adresse in EspoCRM gelöscht, Aufbewahrung in Advoware prüfen: {betnr}",
        "In EspoCRM wurde eine Adresse gelöscht (Datenschutz). In Advoware wurde deshalb nichts geändert: dort gelten "
        "die Aufbewahrungspflichten (Handakten sechs Jahre nach § 50 BRAO, steuerliche Unterlagen länger).",
        (
            OPEN_BETEILIGTER,
            "Dort unter „Adressen“ die Adressen durchsehen, die in EspoCRM leer sind.",
            "Mit der zuständigen Anwältin oder dem zuständigen Anwalt klären, ob und wann sie dort zu löschen sind.",
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
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Die unten genannten Felder auf den neuen Wert ändern und speichern.",
        ),
    ),
    "address_refused": Text(
        "ADR-04",
        "Änderung einer Adresse wurde von Advoware nicht übernommen: {adresse}",
        "Die Adresse wurde in EspoCRM geändert. Advoware hat die Änderung angenommen, die Felder aber nicht geändert. "
        "Das Programm versucht es nicht erneut.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Stimmt der neue Wert: ihn dort von Hand eintragen.",
            "Stimmt der alte Wert: ihn in EspoCRM eintragen.",
        ),
    ),
    "address_unknown_espocrm": Text(
        "ADR-05",
        "Angabe einer Adresse kann nicht nach Advoware übertragen werden: {adresse}",
        "In EspoCRM steht in den unten genannten Feldern etwas, das das Programm nicht sicher versteht, zum Beispiel "
        "ein unbekanntes Land oder ein unmögliches Datum. In Advoware wurde dort nichts geändert.",
        (
            _OPEN_IN_ESPOCRM,
            "Die unten genannten Felder berichtigen und speichern; die Übertragung geschieht dann von selbst.",
            "Ist die Angabe richtig: sie in Advoware beim Beteiligten {betnr} von Hand eintragen.",
        ),
    ),
    "address_unknown_advoware": Text(
        "ADR-06",
        "Angabe einer Adresse kann nicht nach EspoCRM übertragen werden: {adresse}",
        "In Advoware sind die unten genannten Felder leer oder enthalten etwas, das das Programm nicht sicher "
        "versteht, zum Beispiel ein unbekanntes Land oder ein unmögliches Datum. In EspoCRM wurde dort nichts "
        "geändert.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Ist die Angabe dort falsch oder versehentlich leer: sie berichtigen und speichern.",
            "Ist sie richtig: sie in EspoCRM von Hand eintragen oder dort ebenfalls leeren.",
        ),
    ),
    "address_too_long_advoware": Text(
        "ADR-07",
        "Angabe einer Adresse ist für Advoware zu lang: {adresse}",
        "Die unten genannten Felder sind in EspoCRM länger, als Advoware es zulässt. Alles andere wurde übertragen.",
        (
            _OPEN_IN_ESPOCRM,
            "Die unten genannten Felder kürzen und speichern; die Übertragung geschieht dann von selbst.",
        ),
    ),
    "address_too_long_espocrm": Text(
        "ADR-08",
        "Angabe einer Adresse ist für EspoCRM zu lang: {adresse}",
        "Die unten genannten Felder sind in Advoware länger, als EspoCRM es zulässt. Alles andere wurde übertragen.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Die unten genannten Felder kürzen, oder sie in EspoCRM gekürzt eintragen.",
        ),
    ),
    "address_altered_advoware": Text(
        "ADR-09",
        "Advoware hat eine Adresse anders gespeichert: {adresse}",
        "Die Adresse wurde aus EspoCRM übertragen. Advoware hat die unten genannten Felder anders gespeichert "
        "(gekürzt, umbrochen oder in anderer Schreibweise). Beide Programme behalten, was sie zeigen.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Prüfen, ob die Schreibweise dort für Briefe taugt („alt“ steht in Advoware, „neu“ in EspoCRM).",
            "Wenn nicht: sie in einem der beiden Programme ändern; das andere folgt von selbst.",
        ),
    ),
    "address_altered_espocrm": Text(
        "ADR-10",
        "EspoCRM hat eine Adresse anders gespeichert: {adresse}",
        "Die Adresse wurde aus Advoware übertragen. EspoCRM hat die unten genannten Felder anders gespeichert (gekürzt "
        "oder in anderer Schreibweise). Beide Programme behalten, was sie zeigen.",
        (
            _OPEN_IN_ESPOCRM,
            "Prüfen, ob die Schreibweise dort stimmt („alt“ steht in EspoCRM, „neu“ in Advoware).",
            "Wenn nicht: sie in einem der beiden Programme ändern; das andere folgt von selbst.",
        ),
    ),
    "address_value_refused": Text(
        "ADR-11",
        "Advoware lehnt eine Angabe der Adresse ab: {adresse}",
        "Die unten genannten Felder wurden in EspoCRM eingetragen; Advoware nimmt sie nicht an. Alles andere wurde "
        "übertragen.",
        (
            _OPEN_IN_ESPOCRM,
            "Die unten genannten Felder berichtigen und speichern; die Übertragung geschieht dann von selbst.",
            "Sind sie richtig: sie in Advoware beim Beteiligten {betnr} von Hand eintragen.",
        ),
    ),
    "address_value_refused_espocrm": Text(
        "ADR-12",
        "EspoCRM lehnt eine Angabe der Adresse ab: {adresse}",
        "Die unten genannten Felder stehen in Advoware; EspoCRM nimmt sie nicht an. Alles andere wurde übertragen.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Die unten genannten Felder dort berichtigen, oder sie in EspoCRM in anderer Form eintragen.",
        ),
    ),
    "address_missing": Text(
        "ADR-13",
        "Änderung einer Adresse kann noch nicht übertragen werden: {adresse}",
        "Die unten genannten Felder wurden geändert, aber das andere Programm zeigt diese Felder zurzeit nicht. Es "
        "wurde nichts überschrieben.",
        (
            "Einen Tag warten: die Übertragung wird von selbst nachgeholt.",
            "Bleibt es dabei: die Felder in beiden Programmen von Hand angleichen und den Administrator informieren.",
        ),
    ),
    "address_shown_otherwise": Text(
        "ADR-23",
        "Advoware zeigt eine Adresse anders als bisher: {adresse}",
        "Advoware zeigt die unten genannten Felder anders als beim letzten Abgleich, obwohl dort seither niemand etwas "
        "geändert hat. Das gilt nicht als Änderung: in EspoCRM bleibt der bisherige Wert stehen.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Die unten genannten Felder prüfen („alt“ steht in Advoware, „neu“ in EspoCRM).",
            "Stimmt der Wert in Advoware nicht: ihn dort berichtigen und speichern.",
            "Stimmt er: ihn auch in EspoCRM eintragen.",
        ),
    ),
    "address_block": Text(
        "ADR-14",
        "Anschrift zum Drucken in Advoware von Hand anpassen: {adresse}",
        "Die Adresse wurde in EspoCRM geändert. Die Anschrift zum Drucken wurde in Advoware von Hand geschrieben; das "
        "Programm hat sie nicht verändert, weil die bisherigen Angaben darin nicht wörtlich stehen.",
        (
            OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Die Anschrift zum Drucken („alt“) an die neuen Angaben („neu“) anpassen und speichern.",
        ),
    ),
    "address_failed": Text(
        "ADR-20",
        "Adresse wurde nicht abgeglichen: {adresse}",
        "Der Abgleich der Adresse ist misslungen. Er wird von selbst wiederholt.",
        ("Einen Tag warten.", "Bleibt es dabei: den Administrator informieren."),
        sentence="Die Adresse „{adresse}“ wurde nicht abgeglichen: {value}",
    ),
    "address_list_missing": Text(
        "ADR-21",
        "Adressen wurden nicht abgeglichen",
        "Advoware hat die Liste der Adressen nicht geliefert.",
        ("Einen Tag warten.", "Bleibt es dabei: den Administrator informieren."),
        sentence="Die Adressen wurden nicht abgeglichen: Advoware hat ihre Liste nicht geliefert.",
    ),
    "address_unreadable": Text(
        "ADR-22",
        "Adresse in Advoware ist nicht lesbar",
        "Advoware hat eine Adresse ohne Nummer geliefert. Die anderen wurden abgeglichen.",
        ("Einen Tag warten.", "Bleibt es dabei: den Administrator informieren."),
        sentence="Nicht alle Adressen wurden abgeglichen: Advoware hat Einträge ohne Nummer geliefert ({value})",
    ),
}

#: The beginnings of the keys of problems that stand for as long as an Adresse is as it is (a conflict, once).
STATE_KINDS = tuple(
    f"{word}:"
    for word in (*TEXTS, "readonly_field_conflict", "missing_in_advoware")
    if word != "address_failed"
)
#: Reported at the CBeteiligte.
DELETE_KINDS = ("address_delete_required:",)
SETTLED = "Die Adresse stimmt inzwischen überein oder wurde geändert."
