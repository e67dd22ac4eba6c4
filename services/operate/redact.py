"""What may be shown of a text that others wrote: ids, numbers and technical words, no names. Pure.

The board shows no personal data. What may be a name is replaced: each word that our own code does not use, also one in
lower case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT
from services.core import errors

HIDDEN = "•••"
MAX_LENGTH = 400
LONGEST_KUERZEL = 8
#: Of payloads and log lines: the members whose values are ids, numbers or our own words.
SHOWN_MEMBERS = frozenset(
    {
        *("action", "advoware_id", "applied", "attempts", "betnr", "code", "count"),
        *("duration_ms", "employees", "enqueued", "entity", "entity_id", "entity_type"),
        *("error", "event_id", "frnr", "full_content", "function_id", "id", "ids"),
        *("job_id", "kuerzel", "limit", "method", "reason", "result", "rows", "source"),
        *("status", "step", "sync_id", "timestamp", "topic", "total", "trace_id"),
    },
)
#: Of these the words that are technical.
_SENTENCES = frozenset({"error", "reason", "code", "result"})
_KNOWN = frozenset(
    {
        *errors.__all__,
        *("API", "Advoware", "CAdressen", "CBankverbindungen", "CBeteiligte", "DELETE"),
        *("EspoCRM", "GET", "Google", "Calendar", "HTTP", "PATCH", "POST", "PUT"),
        *("PostgreSQL", "Redis", "Sync", "Cron", "Event", "All", "VMH", "Beteiligte"),
        *(
            "Beteiligter",
            "Bankverbindungen",
            "Termin",
            "Task",
            "Health",
            "Hello",
            "Step",
        ),
        *(
            "Webhook",
            "Create",
            "Update",
            "Delete",
            "Action",
            "Preview",
            "Again",
            "Proxy",
        ),
        *("Reset", "Next", "Call", "CRM", "BBL", "Resume"),
    },
)
#: What engines, drivers and libraries say, and our own code does not.
_OTHERS_WORDS = frozenset(
    {
        *("abnormal", "addr", "aborted", "broken", "disconnected", "errno", "expired"),
        *("exhausted", "failure", "gateway", "handshake", "http", "invocation", "null"),
        *("overloaded", "pipe", "refused", "reset", "resolve", "socket", "timeout"),
        *("undefined", "unreachable", "violates", "websocket", "iii", "motia", "boom"),
    },
)
#: Texts for people in the firm; they have words that are names as well.
_FOR_PEOPLE = ("texts", "description.py")
#: An id, a time, a number, an advoware slot.
_NUMBER = re.compile(
    r"[0-9a-f-]{8,40}|[0-9a-z]{17,40}|\d[\d:.,TZ+-]*(?:ms|s|kB|MB|%)?|Var\d",
)
_ERROR_CLASS = re.compile(
    r"[A-Z][A-Za-z]+(?:Error|Exception|Timeout|Failed|Unavailable|Refused|Conflict|Busy|Missing|Found|Limited|Denied)",
)
#: An event name, a topic, a function, a path: words in lower case, with what separates them.
_COMPOUND = re.compile(r"/?[a-z0-9]+(?:[./_-]+[a-z0-9][a-zA-Z0-9]*)*_?")
_PART = re.compile(r"[A-Z]?[a-z]+")
_WORD_OF_CODE = re.compile(r"[a-z]+")
_DIGIT = re.compile(r"[0-9]")
_ID = re.compile(r"[A-Za-z0-9_.:+-]{1,80}")
_WORDS = re.compile(r"[^\s()\[\]{},;:]+|:+")


def redacted(text: object) -> str:
    """A text whose words are shown if they are technical, at most `MAX_LENGTH` characters; names are hidden."""
    return _WORDS.sub(_shown_word, str(text)[:MAX_LENGTH])


def redacted_or_none(text: object) -> str | None:
    """As `redacted`; None if there is no text."""
    if not text:
        return None
    return redacted(text)


def _shown_word(match: re.Match[str]) -> str:
    word = match.group()
    core = word.strip(".:!?'\"„“")
    if not core or _is_technical(core):
        return word
    return HIDDEN


def _is_technical(core: str) -> bool:
    if core in _KNOWN or _is_number(core):
        return True
    if _ERROR_CLASS.fullmatch(core):
        return True
    if _COMPOUND.fullmatch(core) is None:
        return False
    words = map(str.lower, _PART.findall(core))
    return _technical_words().issuperset(words)


def _is_number(core: str) -> bool:
    """Whether it is an id, a time or a number; letters alone are none, however many."""
    return _NUMBER.fullmatch(core) is not None and not core.isalpha()


@cache
def _technical_words() -> frozenset[str]:
    """The words in lower case that our own code uses: new events, topics and codes are among them by themselves."""
    found = set(_OTHERS_WORDS)
    for folder in ("services", "steps"):
        for path in (PROJECT_ROOT / folder).rglob("*.py"):
            if _is_for_people(path):
                continue
            source = path.read_text("utf-8")
            found.update(_WORD_OF_CODE.findall(source))
    return frozenset(found)


def _is_for_people(path: Path) -> bool:
    return any(name in str(path) for name in _FOR_PEOPLE)


def redacted_payload(value: Any) -> Any:
    """A decoded JSON value with the members that are ids, numbers and our own words; all else is hidden."""
    if isinstance(value, Mapping):
        shown = {}
        for name, item in value.items():
            shown[redacted(name)] = _shown_member(name, item)
        return shown
    if isinstance(value, list):
        return [redacted_payload(item) for item in value[:20]]
    return _shown_scalar(value)


def _shown_member(name: object, value: Any) -> Any:
    is_shown = str(name) in SHOWN_MEMBERS
    if isinstance(value, list) and is_shown:
        return [_shown_id(item) for item in value[:50]]
    if isinstance(value, Mapping | list):
        return redacted_payload(value)
    if value == "None":  # what the SDK's log makes of None
        return None
    if str(name) in _SENTENCES and isinstance(value, str):
        return redacted(value)
    if is_shown:
        return _shown_id(value)
    return _shown_scalar(value)


def _shown_id(value: Any) -> Any:
    """An id, a Kürzel, a topic; a word that is not technical may be a name."""
    if not isinstance(value, str):
        return _shown_scalar(value)
    if _is_kuerzel(value):
        return value
    if _ID.fullmatch(value) is None:
        return HIDDEN
    if _DIGIT.search(value):
        return value
    if redacted(value) == value:
        return value
    return HIDDEN


def _is_kuerzel(value: str) -> bool:
    return value.isalpha() and value.isupper() and len(value) <= LONGEST_KUERZEL


def _shown_scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return HIDDEN
