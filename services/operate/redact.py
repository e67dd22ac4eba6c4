"""What may be shown of a text that others wrote: ids, numbers and technical words, no names. Pure.

The board shows no personal data. What may be a name is replaced: a word that is not lower case ASCII and
not one that we know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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
    }
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
    }
)
#: A class of errors, an id, a time, a number, an event name or a topic, a path of technical words.
_TECHNICAL = re.compile(
    r"[A-Z][A-Za-z]+(?:Error|Exception|Timeout|Failed|Unavailable|Refused|Conflict|Busy|Missing|Found|Limited|Denied)"
    r"|[0-9a-f-]{8,40}|[0-9a-z]{17,40}"
    r"|\d[\d:.,TZ+-]*(?:ms|s|kB|MB|%)?"
    r"|Var\d|/?[a-z0-9_]+(?:[./_-][a-z0-9_][a-zA-Z0-9_]*)*"
)
_ID = re.compile(r"[A-Za-z0-9_.:+-]{1,80}")
_WORDS = re.compile(r"[^\s()\[\]{},;:]+|:+")


def redacted(text: object) -> str:
    """A text whose words are shown if they are technical, at most `MAX_LENGTH` characters; names are hidden."""
    return _WORDS.sub(_shown_word, str(text)[:MAX_LENGTH])


def _shown_word(match: re.Match[str]) -> str:
    word = match.group()
    core = word.strip(".:!?'\"„“")
    if not core or core in _KNOWN or _TECHNICAL.fullmatch(core):
        return word
    return HIDDEN


def redacted_payload(value: Any) -> Any:
    """A decoded JSON value with the members that are ids, numbers and our own words; all else is hidden."""
    if isinstance(value, Mapping):
        return {
            _member(name): _shown_member(name, item) for name, item in value.items()
        }
    if isinstance(value, list):
        return [redacted_payload(item) for item in value[:20]]
    return _shown_scalar(value)


def _member(name: object) -> str:
    return redacted(name)


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
    return _shown_id(value) if is_shown else _shown_scalar(value)


def _shown_id(value: Any) -> Any:
    """An id, a Kürzel, a topic; what is a longer word and not technical may be a name."""
    if not isinstance(value, str):
        return _shown_scalar(value)
    is_id = _ID.fullmatch(value) is not None
    is_word = value.isalpha() and len(value) > LONGEST_KUERZEL
    if not is_id or (is_word and redacted(value) != value):
        return HIDDEN
    return value


def _shown_scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return HIDDEN
