"""Alterations on the wire: what a twin shows or stores differently from what it holds or was sent.

An alteration is plain JSON: the place of a value, what happens to it, and which values are meant::

    {"field": "kommunikation[].tlf", "how": "cut", "to": 10, "where": {"kommKz": 3}, "match": "^0511"}

``field`` is a path: keys joined by dots, ``[]`` for every entry of an array, ``*`` for every key. An answer that is an
array as a whole is altered entry by entry, whether the path begins with ``[]`` or not. What there is for ``how`` stands
in `CHANGES`, with the meaning of ``to``; besides that: ``missing`` (the key, or the entry of an array, is not there),
``add`` (the key is there, with the value ``to``, where the system has none: a field that is known nowhere),
``key_case`` (the key is spelled as ``to`` says: ``upper``, ``lower``, ``capital``, or as given), and for what is stored
``ignore`` (the value that is there stays) and ``refuse`` (400 for the whole object; ``to`` says whether the message
names ``nothing``, the ``field`` or the ``entry``).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Naming = Literal["nothing", "field", "entry"]
#: Decides whether the value with this description is among those that the probability of a rule hits.
Chosen = Callable[[str], bool]
#: Where a value stands in a body, and the value that was sent there.
Sent = tuple[tuple[Any, ...], Any]

NAMINGS: Final = ("nothing", "field", "entry")
HALF_EMOJI: Final = "\ud83d"
ZERO_WIDTH: Final = "\u200b"
BIDI_MARKS: Final = (
    "\u202a",
    "\u202c",
)  #: as telephone numbers copied from a Windows dialogue carry them
_ID_KEYS: Final = ("frNr", "id", "betNr")
_GERMAN_ASCII: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"},
)
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d))?(?:\.\d+)?Z?")


def _only_text(change: Callable[[str, Any], Any]) -> Callable[[Any, Any], Any]:
    def changed(value: Any, to: Any) -> Any:
        if isinstance(value, str):
            return change(value, to)
        return value

    return changed


def _inside(text: str, inserted: str) -> str:
    middle = len(text) // 2
    before = text[:middle]
    after = text[middle:]
    return before + inserted + after


def _to_number(value: str, _to: Any) -> Any:
    digits = re.sub(r"\D", "", value)
    if digits:
        return int(digits)
    return 0


def _to_text(value: Any, _to: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return value


def _net_date(moment: datetime) -> str:
    seconds = moment.replace(tzinfo=UTC).timestamp()
    milliseconds = int(seconds * 1000)
    return f"/Date({milliseconds})/"


DATE_FORMS: Final[Mapping[str, Callable[[datetime], str]]] = {
    "german": lambda moment: f"{moment:%d.%m.%Y}",
    "american": lambda moment: f"{moment:%m/%d/%Y}",
    "utc": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}Z",
    "offset": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}+01:00",
    "fractions": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}.0000000",
    "day": lambda moment: f"{moment:%Y-%m-%d}",
    "net": _net_date,
    "net_min": lambda _moment: "0001-01-01T00:00:00",
    "net_max": lambda _moment: "9999-12-31T00:00:00",
    "before_1800": lambda _moment: "1799-12-31T00:00:00",
    "after_2200": lambda _moment: "2201-01-01T00:00:00",
    "impossible": lambda moment: f"{moment:%Y}-02-30T00:00:00",
}


def _other_date(value: str, form: Any) -> str:
    """A date in another form; what is no date stays."""
    match = _DATE.fullmatch(value)
    if match is None:
        return value
    return DATE_FORMS[form](
        datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00:00'}"),
    )


#: What can happen to a value. Those on texts leave other values alone, and `date` leaves what is no date.
CHANGES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "value": lambda _value, to: (
        to
    ),  # this value instead: an unknown enum value, another spelling, anything
    "null": lambda _value, _to: None,
    "empty_text": lambda _value, _to: "",
    "empty_list": lambda _value, _to: [],
    "cut": _only_text(lambda text, length: text[:length]),
    "pad": _only_text(
        lambda text, length: text.ljust(length, "x"),
    ),  # longer than the receiver takes
    "upper": _only_text(lambda text, _to: text.upper()),
    "lower": _only_text(lambda text, _to: text.lower()),
    "title": _only_text(lambda text, _to: text.title()),
    "trim": _only_text(lambda text, _to: text.strip()),
    "blanks": _only_text(lambda text, _to: f" {text} ".replace(" ", "  ")),
    "no_blanks": _only_text(lambda text, _to: re.sub(r"\s", "", text)),
    "ascii": _only_text(lambda text, _to: text.translate(_GERMAN_ASCII)),
    "nfd": _only_text(lambda text, _to: unicodedata.normalize("NFD", text)),
    "format": _only_text(lambda text, form: form.replace("{}", text)),  # "Fa. {}"
    "nul": _only_text(lambda text, _to: _inside(text, "\x00")),
    "half_emoji": _only_text(lambda text, _to: _inside(text, HALF_EMOJI)),
    "zero_width": _only_text(lambda text, _to: _inside(text, ZERO_WIDTH)),
    "bidi": _only_text(lambda text, _to: text.join(BIDI_MARKS)),
    "number": _only_text(_to_number),
    "text": _to_text,
    "date": _only_text(_other_date),  # `to`: one of `DATE_FORMS`
}
_KEY_CASES: Final[Mapping[str, Callable[[str], str]]] = {
    "upper": str.upper,
    "lower": str.lower,
    "capital": lambda key: key[:1].upper() + key[1:],
}
_ON_KEYS: Final = ("missing", "key_case", "add")
_ON_STORED: Final = ("ignore", "refuse")


class Alteration(BaseModel):
    """One value, or many of a kind, and what happens to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str = Field(pattern=r"^(\[\]|\*|[\w@-]+(\[\])*)(\.(\*|[\w@-]+(\[\])*))*$")
    how: str
    to: Any = None
    match: str | None = (
        None  #: regular expression, searched in the value (JSON for what is no text)
    )
    where: dict[
        str,
        Any,
    ] = {}  #: what the object must hold that holds the value, such as ``{"kommKz": 3}``
    echo: bool = False  #: what is stored differently is shown as it was sent in the answer to that very request

    @field_validator("match")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        return checked_pattern(pattern)

    @model_validator(mode="after")
    def _knows_how(self) -> Alteration:
        known = (*CHANGES, *_ON_KEYS, *_ON_STORED)
        if self.how not in known:
            raise ValueError(f"'how' must be one of: {', '.join(sorted(known))}")
        if self.how in _WANTED_TO:
            is_wanted, wanted = _WANTED_TO[self.how]
            if not is_wanted(self.to):
                raise ValueError(f"'{self.how}' needs as 'to' {wanted}")
        return self

    @property
    def for_stored_only(self) -> bool:
        """Whether it makes sense only for what is stored."""
        return self.how in _ON_STORED or self.echo

    @property
    def segments(self) -> list[str]:
        """The path as list: keys, ``*`` and ``[]``."""
        parts: list[str] = []
        for key in self.field.split("."):
            parts += re.findall(r"\[\]|[^\[\]]+", key)
        return parts


def _is_length(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if not isinstance(value, int):
        return False
    return value >= 0


_WANTED_TO: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "cut": (_is_length, "a number of characters"),
    "pad": (_is_length, "a number of characters"),
    "format": (lambda to: isinstance(to, str) and "{}" in to, "a text with {}"),
    "date": (lambda to: to in DATE_FORMS, f"one of: {', '.join(DATE_FORMS)}"),
    "key_case": (
        lambda to: isinstance(to, str) and bool(to),
        "upper, lower, capital or a key",
    ),
    "refuse": (lambda to: to in NAMINGS, "nothing, field or entry"),
}


def checked_pattern(pattern: str | None) -> str | None:
    """A regular expression that can be used.

    Raises:
        ValueError: it cannot.
    """
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


class RefusedAlterationError(Exception):
    """A write is refused as a whole because of one value."""

    def __init__(self, attribute: str, key: str, value: Any, naming: Naming) -> None:
        super().__init__(f"{attribute}: refused by a fault rule")
        self.attribute = attribute  #: key at the top of the object
        self.key = key  #: key of the value itself
        self.value = (
            str(value).encode("utf-8", "replace").decode()
        )  #: half an emoji cannot be written in an answer
        self.naming = naming
        self.place = (
            0  #: of the write that the value is in, where a request holds several
        )


@dataclass(frozen=True)
class _Place:
    """Where a value stands in a JSON document."""

    container: Any  #: dict or list
    key: Any
    path: tuple[Any, ...]  #: keys and positions from the top
    owner: (
        str  #: the innermost object around it that has a number, and the way from there
    )

    @property
    def value(self) -> Any:
        """The value; None for a key that is to be added."""
        if isinstance(self.container, dict):
            return self.container.get(self.key)
        return self.container[self.key]

    @property
    def name(self) -> str:
        """What names the value: an entry with a number of its own by that, as its position may change."""
        entry: str | None = None
        if isinstance(self.container, list):
            entry = _identity(self.value)
        return f"{self.owner}/{entry or self.key}"


def _places(
    node: Any,
    segments: list[str],
    path: tuple[Any, ...],
    owner: str,
    *,
    adds: bool = False,
) -> Iterator[_Place]:
    """Where the values stand; ``adds``: also where one could be added."""
    head, *rest = segments
    if rest:
        for key in _keys(node, head):
            child = node[key]
            child_owner = _identity(child) or f"{owner}/{key}"
            yield from _places(child, rest, (*path, key), child_owner, adds=adds)
        return
    keys = _keys(node, head)
    if adds and isinstance(node, dict):
        keys = [head]
    for key in keys:
        yield _Place(node, key, (*path, key), owner)


def _keys(node: Any, head: str) -> list[Any]:
    if isinstance(node, list):
        if head == "[]":
            return list(range(len(node)))
        return []
    if not isinstance(node, dict) or head == "[]":
        return []
    if head == "*":
        return list(node)
    if head in node:
        return [head]
    return []


def _identity(node: Any) -> str | None:
    """What names an object wherever it is shown; None for one without a number of its own."""
    if not isinstance(node, dict):
        return None
    for name in _ID_KEYS:
        number = node.get(name)
        if number is not None:
            return f"{name}={number}"
    return None


def _meant(document: Any, alteration: Alteration) -> list[_Place]:
    segments = alteration.segments
    if isinstance(document, list) and segments[0] != "[]":
        segments = ["[]", *segments]
    owner = _identity(document) or ""
    adds = alteration.how == "add"
    meant = []
    for place in _places(document, segments, (), owner, adds=adds):
        if not _holds(place, alteration.where):
            continue
        if _matches(place.value, alteration.match):
            meant.append(place)
    return meant


def _holds(place: _Place, where: Mapping[str, Any]) -> bool:
    if not where:
        return True
    holder = place.container
    if not isinstance(holder, dict):
        holder = place.value
    if not isinstance(holder, dict):
        return False
    return all(holder.get(key) == value for key, value in where.items())


def _matches(value: Any, pattern: str | None) -> bool:
    if pattern is None:
        return True
    text = value
    if not isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    return re.search(pattern, text) is not None


def alter_answer(document: Any, alteration: Alteration, chosen: Chosen) -> bool:
    """Alter what an answer shows, in place; whether anything is different now.

    ``chosen`` is asked with the identity of the value, which is the same for every answer that shows it.
    """
    changed = False
    for place in reversed(
        _meant(document, alteration),
    ):  # from the end, as entries may go
        if chosen(place.name):
            changed |= _change(place, alteration)
    return changed


def alter_stored(
    body: dict[str, Any],
    alteration: Alteration,
    chosen: Chosen,
    stored: Mapping[str, Any] | None,
) -> list[Sent]:
    """Alter what will be stored, in place; the places that are different now, each with what was sent.

    Args:
        body: the object that was sent.
        alteration: what happens.
        chosen: asked with place and value, so that the same value meets the same fate again.
        stored: what is stored of this object now; None if it is new.

    Raises:
        RefusedAlterationError: the write is to be refused.
    """
    changed: list[Sent] = []
    for place in reversed(_meant(body, alteration)):
        value = place.value
        shown = json.dumps(value)
        if not chosen(f"{place.name}={shown}"):
            continue
        if alteration.how == "refuse":
            raise _refused(place, alteration)
        if alteration.how == "ignore":
            _keep_stored(place, stored)
            changed.append((place.path, value))
        elif _change(place, alteration):
            changed.append((place.path, value))
    return changed


def _refused(place: _Place, alteration: Alteration) -> RefusedAlterationError:
    field = str(place.path[0])
    key = str(place.path[-1])
    return RefusedAlterationError(field, key, place.value, alteration.to)


def _keep_stored(place: _Place, stored: Mapping[str, Any] | None) -> None:
    is_field = len(place.path) == 1
    if is_field and stored is not None and place.key in stored:
        place.container[place.key] = stored[place.key]
    else:
        del place.container[place.key]


def _change(place: _Place, alteration: Alteration) -> bool:
    if alteration.how == "missing":
        del place.container[place.key]
        return True
    if alteration.how == "add":
        place.container[place.key] = alteration.to
        return True
    if alteration.how == "key_case":
        return _respell_key(place, alteration.to)
    before = place.value
    change = CHANGES[alteration.how]
    after = change(before, alteration.to)
    place.container[place.key] = after
    if type(after) is not type(before):
        return True
    return bool(after != before)


def _respell_key(place: _Place, to: str) -> bool:
    if not isinstance(place.container, dict):
        return False
    key = to
    if to in _KEY_CASES:
        respell = _KEY_CASES[to]
        key = respell(place.key)
    if key == place.key:
        return False
    place.container[key] = place.container.pop(place.key)
    return True


def show_as_sent(document: Any, path: tuple[Any, ...], value: Any) -> None:
    """Put what was sent at its place in an answer, if the answer has that place."""
    *parents, last = path
    node = document
    for key in parents:
        if not _has(node, key):
            return
        node = node[key]
    if _has(node, last):
        node[last] = value


def _has(node: Any, key: Any) -> bool:
    if isinstance(node, dict):
        return key in node
    if not isinstance(node, list):
        return False
    if not isinstance(key, int):
        return False
    return key < len(node)


def share(key: str, description: str) -> float:
    """A number from 0 to 1 that belongs to a value under a key: the same again, whatever else happens."""
    named = f"{key}:{description}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(named).digest()
    return int.from_bytes(digest[:6]) / 2**48
