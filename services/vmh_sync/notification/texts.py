"""What users in the office read about a problem, in German: a Task's title and steps, a record's sentence.

Pure. Of what else the details of a problem hold, that is listed which has a label (`problem_texts.labels`), or is one
itself and begins with a capital letter.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.core.errors import NeedsPerson
from services.core.foreign_text import clean_text, has_invisible, shortened
from services.values.sealed import PREFIX
from services.vmh_sync.problem_texts import CATALOGUE, Text, failures
from services.vmh_sync.problem_texts.labels import LABELS, UNLABELLED
from services.vmh_sync.problem_texts.text import FIELD_REASONS
from services.vmh_sync.result import Details, FieldLine, Problem, RecordLine

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
ERASED = "(gelöscht)"

#: What `services.values.sealed` leaves of a value.
_SEALED = re.compile(rf"{PREFIX}[0-9a-f]{{32}}")

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[+-]\d{2}:\d{2}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_YES_OR_NO = {True: "ja", False: "nein"}

DONE = "Diese Aufgabe auf „Abgeschlossen“ setzen."


def task_title(problem: Problem) -> str:
    """The title of the Task, at most 255 characters."""
    text = text_of_problem(problem)
    title = _filled(text.title, problem.details).strip().rstrip(":")
    return shortened(title, TITLE_LENGTH)


def problem_sentence(problem: Problem) -> str:
    """One short sentence for the record itself (``syncErrorMessage``), with the code for the operator."""
    text = text_of_problem(problem)
    sentence = task_title(problem)
    if text.sentence:
        sentence = _filled(text.sentence, problem.details)
    return f"{sentence.rstrip('.: ')} ({text.code})."


def failure_sentence(error: Exception) -> str:
    """What an error means, in one German sentence that ends with its code, for ``syncErrorMessage``."""
    if isinstance(error, NeedsPerson):
        return problem_sentence(
            Problem(
                "general_manual_action",
                "",
                "",
                "",
                Details(error.reason),
            ),
        )
    return failures.sentence_of(error)


def task_description(problem: Problem) -> str:
    """Why there is a Task and what to do, step by step, with old and new values, and the code for the operator."""
    details = problem.details
    text = text_of_problem(problem)
    why = _filled(text.why, details)
    lines = [why, "", *_numbered_steps(text, details)]
    if details.fields:
        lines += ["", "Felder:", *map(_field_line, details.fields)]
    if details.records:
        lines += ["", "Betroffen:", *map(_record_line, details.records)]
    further = _further_lines(details)
    if further:
        lines += ["", *further]
    if details.since:
        since = shown_value(details.since, quoted=False)
        lines.append(f"Festgestellt: {since}")
    lines.append(f"Meldung {text.code}")
    return "\n".join(lines)


def _numbered_steps(text: Text, details: Details) -> list[str]:
    steps = [_filled(step, details) for step in text.steps]
    lines = []
    for number, step in enumerate([*steps, DONE], start=1):
        lines.append(f"{number}. {step}")
    return lines


def _further_lines(details: Details) -> list[str]:
    """The details with a label that the description does not show otherwise."""
    listed = {**details.texts, **details.further}
    if details.fields:
        listed.pop("value", None)
    lines = []
    for name, value in listed.items():
        if _is_shown(name):
            lines.append(f"{_label(name)}: {shown_value(value, quoted=False)}")
    return lines


def words_for_people(words: str) -> str:
    """What a foreign system answered, with the names of fields as they are labelled on the screens."""
    return re.sub(r"\w+", _labelled, words)


def _labelled(match: re.Match[str]) -> str:
    return LABELS.get(match.group(), match.group())


def withdrawn_description(description: str, why: str) -> str:
    """The text of a Task whose problem is over: what it was, and why nothing is left to do."""
    return f"{description}\n\nErledigt: {why}"


def text_of_problem(problem: Problem) -> Text:
    """The problem's entry in the catalogue."""
    general = CATALOGUE[problem.action_type]
    return CATALOGUE.get(problem.details.reason, general)


def _field_line(item: FieldLine) -> str:
    old = shown_value(item.old)
    new = shown_value(item.new)
    line = f"- {_label(item.field)}: alt {old}, neu {new}"
    reason = item.why or FIELD_REASONS.get(item.reason)
    if not reason:
        return line
    return f"{line} ({reason})"


def _record_line(record: RecordLine) -> str:
    return f"- {_person(record) or '(ohne Namen)'}"


def _is_shown(name: str) -> bool:
    """Whether a detail has a label; a capital letter begins one that stands for itself."""
    return name in LABELS or name[:1].isupper()


def _label(name: Any) -> str:
    text = str(name)
    if text in LABELS:
        return LABELS[text]
    if _is_shown(text):
        return text
    return UNLABELLED


def _number(about: Details | RecordLine) -> str:
    if not about.betnr:
        return ""
    return f"Nr. {about.betnr}"


def _person(about: Details | RecordLine) -> str:
    parts = [_visible(str(about.name or "")), _number(about)]
    return ", ".join(filter(None, parts))


def _in_one_line(text: str | None) -> str:
    words = _visible(str(text or "")).split()
    return " ".join(words)


def _filled(template: str, details: Details) -> str:
    adresse = _in_one_line(details.adresse)
    konto = _in_one_line(details.konto)
    value = _in_one_line(details.value)
    text = template.format(
        betnr=_number(details),
        adresse=adresse or "ohne Angaben",
        konto=konto,
        value=value,
        name=_in_one_line(details.name),
        count=len(details.records or ()),
        subject=adresse or konto or value or _person(details),
    )
    text = text.replace("„“", "")
    text = re.sub(r" {2,}", " ", text)
    return re.sub(r" +([.,:]|$)", r"\1", text)


def shown_value(value: Any, *, quoted: bool = True) -> str:
    """A value as users read it."""
    if value is None or value == "":
        return "(leer)"
    if isinstance(value, bool):
        return _YES_OR_NO[value]
    if isinstance(value, list | tuple):
        return ", ".join(shown_value(item, quoted=False) for item in value)
    lines = _visible(str(value)).splitlines()
    return _shown_text(" / ".join(lines), quoted=quoted)


def _shown_text(text: str, *, quoted: bool) -> str:
    """A text in one line as users read it; a day or a moment as it is written in German."""
    if _MOMENT.fullmatch(text):
        moment = datetime.fromisoformat(text).astimezone(BERLIN)
        return f"{moment:%d.%m.%Y %H:%M} Uhr"
    if _DAY.fullmatch(text):
        year, month, day = text.split("-")
        text = f"{day}.{month}.{year}"
    if not quoted:
        return text
    return f"„{text}“"


def _visible(text: str) -> str:
    """A text in which invisible characters are named, several in a row once; what was erased is named as such."""
    text = _SEALED.sub(ERASED, text)
    if not has_invisible(text) and clean_text(text) == text:
        return text
    marked = "".join(map(_visible_character, text))
    several = rf"(?:{re.escape(INVISIBLE)})+"
    return re.sub(several, INVISIBLE, marked)


def _visible_character(char: str) -> str:
    if has_invisible(char) or clean_text(char) != char:
        return INVISIBLE
    return char
