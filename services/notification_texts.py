"""What a Task in EspoCRM says: title and steps in German, for people in the office. Pure.

``details`` of a problem may hold: ``betnr``, ``adresse`` or ``konto`` (what it is about, in one line), ``fields``
(``[{"field", "old", "new"}]``), ``reason`` (which of the texts below applies), ``since`` (ISO time), and, to say
something else altogether, ``title`` and ``steps``. Whatever else there is, is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.sync_parts import Problem

BERLIN = ZoneInfo("Europe/Berlin")
TITLE_LENGTH = 255

#: Field names as they are labelled on the screens.
LABELS = {
    "adresse": "Adresse",
    "anrede": "Anrede",
    "art": "Registerart",
    "bank": "Bank",
    "beteiligteId": "Beteiligter",
    "betnr": "Beteiligter Nr.",
    "bic": "BIC",
    "geburtsdatum": "Geburtsdatum",
    "error": "Meldung",
    "gueltigBis": "Gültig bis",
    "gueltigVon": "Gültig von",
    "handelsRegisterNummer": "Handelsregisternummer",
    "iban": "IBAN",
    "istAktiv": "Aktiv",
    "konto": "Bankverbindung",
    "kontoinhaber": "Kontoinhaber",
    "land": "Land",
    "name": "Name",
    "ort": "Ort",
    "plz": "PLZ",
    "postfach": "Postfach",
    "postfachPLZ": "Postfach-PLZ",
    "rechtsform": "Rechtsform",
    "registergericht": "Registergericht",
    "standardAnschrift": "Standardanschrift",
    "strasse": "Straße",
    "value": "Wert",
    "vorname": "Vorname",
    "weitereZeilen": "Adresszeilen unter der Straße",
}
_STRUCTURE = frozenset({"fields", "reason", "since", "steps", "title"})

DONE = "Diese Aufgabe auf „Abgeschlossen“ setzen."
_OPEN_BETEILIGTER = "In Advoware den Beteiligten {betnr} öffnen."
_ADDRESS_TAB = "Dort unter „Adressen“ die Adresse „{adresse}“ auswählen."
_BANK_TAB = "Dort unter „Bankverbindungen“ die Bankverbindung {konto} auswählen."
_CALL_BACK = (
    "Vor jeder Übernahme neuer Bankdaten den Beteiligten unter einer schon länger bekannten Telefonnummer anrufen und "
    "die Änderung bestätigen lassen (Schutz vor Betrug). Ohne Bestätigung nichts ändern."
)


@dataclass(frozen=True)
class _Text:
    title: str
    why: str
    steps: tuple[str, ...]


_TEXTS: Mapping[str, _Text] = {
    "address_delete_required": _Text(
        "Adresse in Advoware löschen: {adresse}",
        "Die Adresse wurde in EspoCRM gelöscht, deaktiviert oder einem anderen Beteiligten zugeordnet. In Advoware ist "
        "sie noch vorhanden; das Programm darf dort nicht löschen.",
        (
            _OPEN_BETEILIGTER,
            _ADDRESS_TAB,
            "Prüfen, ob die Adresse in einer Akte noch gebraucht wird. Wenn nicht: die Adresse löschen.",
        ),
    ),
    "address_reactivate_required": _Text(
        "Adresse in Advoware wieder in Gebrauch nehmen: {adresse}",
        "Die Adresse wurde in EspoCRM wieder aktiviert.",
        (
            _OPEN_BETEILIGTER,
            "Ist die Adresse „{adresse}“ dort vorhanden: ein vergangenes Datum unter „Gültig bis“ entfernen.",
            "Fehlt sie dort: die Adresse mit denselben Angaben neu anlegen; die Verknüpfung entsteht von selbst.",
            "Eine noch offene Aufgabe, dieselbe Adresse zu löschen, auf „Abgebrochen“ setzen.",
        ),
    ),
    "address_field_update_required": _Text(
        "Adresse in Advoware von Hand ändern: {adresse}",
        "Die Adresse wurde in EspoCRM geändert. Diese Felder kann das Programm in Advoware nicht ändern.",
        (_OPEN_BETEILIGTER, _ADDRESS_TAB, "Die unten genannten Felder auf den neuen Wert ändern und speichern."),
    ),
    "readonly_field_conflict": _Text(
        "Änderung wurde von Advoware nicht übernommen: {subject}",
        "Advoware hat die Änderung angenommen, die Felder aber nicht geändert. Das Programm versucht es nicht erneut.",
        (
            _OPEN_BETEILIGTER,
            "Die unten genannten Felder prüfen und, wenn der neue Wert stimmt, von Hand ändern.",
            "Stimmt der alte Wert: ihn in EspoCRM eintragen.",
        ),
    ),
    "missing_in_advoware": _Text(
        "In Advoware nicht mehr vorhanden: {subject}",
        "Was in EspoCRM steht, gibt es in Advoware nicht mehr. In EspoCRM wurde nichts gelöscht.",
        (
            "Klären, ob in Advoware absichtlich gelöscht wurde.",
            "Wenn ja: in EspoCRM nichts weiter tun.",
            "Wenn nein: in Advoware neu anlegen.",
        ),
    ),
    "general_manual_action": _Text(
        "Bitte prüfen: {subject}",
        "EspoCRM und Advoware stimmen nicht überein, und das Programm kann das nicht selbst beheben.",
        (_OPEN_BETEILIGTER, "Die unten genannten Angaben in beiden Programmen vergleichen und richtigstellen."),
    ),
    "conflict": _Text(
        "Gleichzeitige Änderung prüfen: {subject}",
        "Dieselben Felder wurden in EspoCRM und in Advoware verschieden geändert. Der Wert aus EspoCRM gilt jetzt in "
        "beiden Programmen; der aus Advoware wurde ersetzt und steht unten als alter Wert.",
        (
            "Prüfen, welcher Wert richtig ist.",
            "War der alte richtig: ihn in EspoCRM eintragen; Advoware folgt von selbst.",
        ),
    ),
    "bank_changed": _Text(
        "Bankverbindung stimmt nicht überein: {subject}",
        "Die Bankverbindung steht in EspoCRM anders als in Advoware. Das Programm kann in Advoware keine "
        "Bankverbindung ändern.",
        (
            _CALL_BACK,
            _OPEN_BETEILIGTER,
            _BANK_TAB,
            "Ist der Wert aus EspoCRM („neu“) bestätigt: die unten genannten Felder in Advoware ändern und speichern.",
            "Ist der Wert aus Advoware („alt“) richtig: ihn in EspoCRM eintragen.",
        ),
    ),
    "bank_inactive": _Text(
        "Bankverbindung in Advoware entfernen: {subject}",
        "Die Bankverbindung wurde in EspoCRM gelöscht oder deaktiviert. In Advoware ist sie noch vorhanden; das "
        "Programm darf dort nicht löschen.",
        (
            "Klären, warum die Bankverbindung entfernt werden soll.",
            _OPEN_BETEILIGTER,
            _BANK_TAB,
            "Die Bankverbindung löschen, sobald keine Zahlung mehr an sie aussteht.",
        ),
    ),
    "bank_invalid": _Text(
        "Bankverbindung in EspoCRM berichtigen: {subject}",
        "Die Bankverbindung kann nicht nach Advoware übernommen werden: IBAN oder BIC fehlt, ist ungültig oder schon "
        "bei einer anderen Bankverbindung des Beteiligten eingetragen.",
        (
            "In EspoCRM die Bankverbindung öffnen und IBAN und BIC mit dem Beleg vergleichen.",
            _CALL_BACK,
            "Die Angaben in EspoCRM berichtigen und speichern; die Übernahme geschieht dann von selbst.",
        ),
    ),
    "bank_missing": _Text(
        "Bankverbindung fehlt in Advoware: {subject}",
        "Die Bankverbindung war in Advoware vorhanden und ist es nicht mehr.",
        (
            "Klären, ob sie in Advoware absichtlich gelöscht wurde.",
            "Wenn ja: sie in EspoCRM auf nicht aktiv setzen.",
            "Wenn nein: sie in Advoware mit denselben Angaben neu anlegen. " + _CALL_BACK,
        ),
    ),
}


def task_title(problem: Problem) -> str:
    """The title of the Task, at most 255 characters."""
    details = problem.details
    title = str(details.get("title") or _filled(_text_of(problem).title, details)).strip().rstrip(":")
    return title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 1]}…"


def task_description(problem: Problem) -> str:
    """Why there is a Task and what to do, step by step, with old and new values."""
    details, text = problem.details, _text_of(problem)
    steps: Sequence[str] = details.get("steps") or [_filled(step, details) for step in text.steps]
    lines = [] if details.get("title") else [text.why, ""]
    lines += [f"{number}. {step}" for number, step in enumerate([*steps, DONE], start=1)]
    if details.get("fields"):
        lines += ["", "Felder:", *map(_field_line, details["fields"])]
    further = {name: value for name, value in details.items() if name not in _STRUCTURE}
    if further:
        lines += ["", *(f"{LABELS.get(name, name)}: {_value(value, quoted=False)}" for name, value in further.items())]
    if details.get("since"):
        lines += [f"Festgestellt: {_value(details['since'], quoted=False)}"]
    return "\n".join(lines)


def _field_line(item: Mapping[str, Any]) -> str:
    label = LABELS.get(item["field"], item["field"])
    return f"- {label}: alt {_value(item.get('old'))}, neu {_value(item.get('new'))}"


def _text_of(problem: Problem) -> _Text:
    return _TEXTS.get(str(problem.details.get("reason")), _TEXTS[problem.action_type])


def _filled(template: str, details: Mapping[str, Any]) -> str:
    values = {
        "betnr": f"Nr. {details['betnr']}" if details.get("betnr") else "",
        "adresse": details.get("adresse") or "ohne Angaben",
        "konto": details.get("konto") or "",
        "subject": details.get("adresse") or details.get("konto") or details.get("name") or "",
    }
    return re.sub(r" +([.,]|$)", r"\1", template.format(**values))


def _value(value: Any, *, quoted: bool = True) -> str:
    """A value as people read it."""
    if value is None or value == "":
        return "(leer)"
    if isinstance(value, bool):
        return "ja" if value else "nein"
    if isinstance(value, list | tuple):
        return ", ".join(_value(item, quoted=False) for item in value)
    text = " / ".join(str(value).splitlines())
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        text = f"{text[8:]}.{text[5:7]}.{text[:4]}"
    elif re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[+-]\d{2}:\d{2}", text):
        return f"{datetime.fromisoformat(text).astimezone(BERLIN):%d.%m.%Y %H:%M} Uhr"
    return f"„{text}“" if quoted else text
