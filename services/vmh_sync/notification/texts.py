"""What people read about a problem, in German, for people in the office: a Task's title and steps, a record's sentence.

Pure. ``details`` of a problem may hold: ``reason`` (which text of the catalogue applies; without it that of the action
type), ``betnr``, ``name`` (of the person or firm), ``adresse`` or ``konto`` (what it is about, in one line), ``value``,
``fields`` (``[{"field", "old", "new"}]``, with a ``why`` in German or a ``reason`` of `FIELD_REASONS`),
``records`` (of a list, ``[{"betnr", "name"}]``) and ``since`` (ISO time). Of what else there is, that is listed which
has a label (`problem_texts.labels`), or is one itself and begins with a capital letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.core.errors import NeedsPerson
from services.core.foreign_text import clean_text, has_invisible
from services.vmh_sync.problem_texts import CATALOGUE, Text, failures
from services.vmh_sync.problem_texts.labels import LABELS, UNLABELLED
from services.vmh_sync.problem_texts.text import FIELD_REASONS
from services.vmh_sync.result import Problem

__all__ = [
    "LABELS",
    "failure_sentence",
    "problem_sentence",
    "shown_value",
    "task_description",
    "task_title",
    "text_of_problem",
    "withdrawn_description",
    "words_for_people",
]

BERLIN = ZoneInfo("Europe/Berlin")
TITLE_LENGTH = 255
INVISIBLE = "(unsichtbares Zeichen)"

_STRUCTURE = frozenset({"fields", "reason", "records", "since"})

DONE = "Diese Aufgabe auf „Abgeschlossen“ setzen."


def task_title(problem: Problem) -> str:
    """The title of the Task, at most 255 characters."""
    title = _filled(text_of_problem(problem).title, problem.details).strip().rstrip(":")
    return title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 1]}…"


def problem_sentence(problem: Problem) -> str:
    """One short sentence for the record itself (``syncErrorMessage``), with the code for the operator."""
    text = text_of_problem(problem)
    sentence = (
        _filled(text.sentence, problem.details)
        if text.sentence
        else task_title(problem)
    )
    return f"{sentence.rstrip('.: ')} ({text.code})."


def failure_sentence(error: Exception) -> str:
    """What an error means, in one German sentence that ends with its code, for ``syncErrorMessage``."""
    if isinstance(error, NeedsPerson):
        return problem_sentence(
            Problem("general_manual_action", "", "", "", {"reason": error.reason})
        )
    return failures.sentence_of(error)


def task_description(problem: Problem) -> str:
    """Why there is a Task and what to do, step by step, with old and new values, and the code for the operator."""
    details, text = problem.details, text_of_problem(problem)
    steps = [_filled(step, details) for step in text.steps]
    lines = [_filled(text.why, details), ""]
    lines += [
        f"{number}. {step}" for number, step in enumerate([*steps, DONE], start=1)
    ]
    if details.get("fields"):
        lines += ["", "Felder:", *map(_field_line, details["fields"])]
    if details.get("records"):
        lines += [
            "",
            "Betroffen:",
            *(
                f"- {_person(record) or '(ohne Namen)'}"
                for record in details["records"]
            ),
        ]
    listed = _STRUCTURE | {"value"} if details.get("fields") else _STRUCTURE
    further = {
        name: value
        for name, value in details.items()
        if _is_shown(name) and name not in listed
    }
    if further:
        lines += [
            "",
            *(
                f"{_label(name)}: {shown_value(value, quoted=False)}"
                for name, value in further.items()
            ),
        ]
    if details.get("since"):
        lines += [f"Festgestellt: {shown_value(details['since'], quoted=False)}"]
    return "\n".join([*lines, f"Meldung {text.code}"])


def words_for_people(words: str) -> str:
    """What a foreign system said, with the names of fields as they are labelled on the screens."""
    return re.sub(r"\w+", lambda match: LABELS.get(match.group(), match.group()), words)


def withdrawn_description(description: str, why: str) -> str:
    """The text of a Task whose problem is over: what it said, and why nobody has to do anything any more."""
    return f"{description}\n\nErledigt: {why}"


def text_of_problem(problem: Problem) -> Text:
    """The problem's entry in the catalogue."""
    return CATALOGUE.get(
        str(problem.details.get("reason")), CATALOGUE[problem.action_type]
    )


def _field_line(item: Mapping[str, Any]) -> str:
    reason = item.get("why") or FIELD_REASONS.get(str(item.get("reason")))
    line = f"- {_label(item['field'])}: alt {shown_value(item.get('old'))}, neu {shown_value(item.get('new'))}"
    return f"{line} ({reason})" if reason else line


def _is_shown(name: str) -> bool:
    """Whether a detail has a label; a capital letter begins one that stands for itself."""
    return name in LABELS or name[:1].isupper()


def _label(name: Any) -> str:
    text = str(name)
    return LABELS.get(text) or (text if _is_shown(text) else UNLABELLED)


def _person(details: Mapping[str, Any]) -> str:
    number = f"Nr. {details['betnr']}" if details.get("betnr") else ""
    return ", ".join(
        part for part in (_visible(str(details.get("name") or "")), number) if part
    )


def _filled(template: str, details: Mapping[str, Any]) -> str:
    adresse, konto, value, name = (
        " ".join(_visible(str(details.get(key) or "")).split())
        for key in ("adresse", "konto", "value", "name")
    )
    values = {
        "betnr": f"Nr. {details['betnr']}" if details.get("betnr") else "",
        "adresse": adresse or "ohne Angaben",
        "konto": konto,
        "value": value,
        "name": name,
        "count": len(details.get("records") or ()),
        "subject": adresse or konto or value or _person(details),
    }
    text = re.sub(r" {2,}", " ", template.format(**values).replace("„“", ""))
    return re.sub(r" +([.,:]|$)", r"\1", text)


def shown_value(value: Any, *, quoted: bool = True) -> str:
    """A value as people read it."""
    if value is None or value == "":
        return "(leer)"
    if isinstance(value, bool):
        return "ja" if value else "nein"
    if isinstance(value, list | tuple):
        return ", ".join(shown_value(item, quoted=False) for item in value)
    text = " / ".join(_visible(str(value)).splitlines())
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        text = f"{text[8:]}.{text[5:7]}.{text[:4]}"
    elif re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[+-]\d{2}:\d{2}", text):
        return f"{datetime.fromisoformat(text).astimezone(BERLIN):%d.%m.%Y %H:%M} Uhr"
    return f"„{text}“" if quoted else text


def _visible(text: str) -> str:
    """A text in which characters that nobody sees are named, several in a row once."""
    if not has_invisible(text) and clean_text(text) == text:
        return text
    marked = "".join(
        INVISIBLE if has_invisible(char) or clean_text(char) != char else char
        for char in text
    )
    return re.sub(rf"(?:{re.escape(INVISIBLE)})+", INVISIBLE, marked)
