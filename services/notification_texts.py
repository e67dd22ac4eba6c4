"""What a Task in EspoCRM says: title and steps in German, for people in the office. Pure.

``details`` of a problem may hold: ``betnr``, ``adresse`` or ``konto`` (what it is about, in one line), ``fields``
(``[{"field", "old", "new"}]``), ``reason`` (which of the texts below applies), ``since`` (ISO time), and, to say
something else altogether, ``title`` and ``steps``. Whatever else there is, is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.problem_texts import CATALOGUE, Text
from services.sync_parts import Problem

BERLIN = ZoneInfo("Europe/Berlin")
TITLE_LENGTH = 255

#: Field names as they are labelled on the screens.
LABELS = {
    "adresse": "Adresse",
    "anrede": "Anrede",
    "anschrift": "Anschrift zum Drucken",
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


def task_title(problem: Problem) -> str:
    """The title of the Task, at most 255 characters."""
    details = problem.details
    title = str(details.get("title") or _filled(_text_of(problem).title, details)).strip().rstrip(":")
    return title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 1]}…"


def problem_sentence(problem: Problem) -> str:
    """One short sentence for the record itself (``syncErrorMessage``), with the code for the operator."""
    text = _text_of(problem)
    sentence = _filled(text.sentence, problem.details) if text.sentence else task_title(problem)
    return f"{sentence.rstrip('.')} ({text.code})."


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


def _text_of(problem: Problem) -> Text:
    return CATALOGUE.get(str(problem.details.get("reason")), CATALOGUE[problem.action_type])


def _filled(template: str, details: Mapping[str, Any]) -> str:
    values = {
        "betnr": f"Nr. {details['betnr']}" if details.get("betnr") else "",
        "adresse": details.get("adresse") or "ohne Angaben",
        "konto": details.get("konto") or "",
        "value": details.get("value") or "",
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
