"""Writing an Adresse although the receiver refuses one of its values: that one is left out, the rest is sent (G6)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.core.errors import ValidationFailed
from services.values.advoware_protocol import SYSTEM as ADVOWARE

#: Sends the fields of these names, and always what has to be sent besides; returns the receiver's answer.
Write = Callable[[Sequence[str]], Awaitable[Any]]
#: Per name that was left out, the words of the receiver about it in German; may be empty.
LeftOut = dict[str, str]


async def update_fitting(
    write: Write,
    names: Sequence[str],
    *,
    idle: frozenset[str] | None = None,
) -> tuple[Any, LeftOut]:
    """Update a record with as many of the names as the receiver takes.

    A refusal that names a field leaves that one out. After one that names none, the fields are sent one by one, each
    with those that were taken before.

    Args:
        write: may be called several times.
        names: what should be sent.
        idle: names that are not worth a request without others; None if even a request without names is.

    Returns:
        the last answer (None if nothing was worth a request), and what was left out.

    Raises:
        ValidationFailed: every request was refused without a word about a field; and whatever else ``write`` raises.
    """
    rest = list(names)
    left_out: LeftOut = {}
    while _is_worth_a_request(rest, idle):
        try:
            return await write(rest), left_out
        except ValidationFailed as error:
            named = named_field(error, rest)
            if named is None:
                answer, further = await _add_one_by_one(write, rest, error, idle)
                return answer, {**left_out, **further}
            rest.remove(named)
            left_out[named] = _words(error)
    return None, {**left_out, **dict.fromkeys(rest, "")}


def _is_worth_a_request(names: Sequence[str], idle: frozenset[str] | None) -> bool:
    return idle is None or bool(set(names) - idle)


async def create_fitting(write: Write, names: Sequence[str]) -> tuple[Any, LeftOut]:
    """Create a record with as many of the names as the receiver takes; likewise.

    A create can be done only once: after a refusal that names no field, one after the other is left out, then all.
    """
    rest = list(names)
    left_out: LeftOut = {}
    while True:
        try:
            return await write(rest), left_out
        except ValidationFailed as error:
            named = named_field(error, rest)
            if named is None:
                answer, further = await _leave_out_one(write, rest, error)
                return answer, {**left_out, **further}
            rest.remove(named)
            left_out[named] = _words(error)


async def _add_one_by_one(
    write: Write,
    names: list[str],
    error: ValidationFailed,
    idle: frozenset[str] | None,
) -> tuple[Any, LeftOut]:
    answer = None
    if idle is None and names:
        answer = await write([])
    taken: list[str] = []
    left_out: LeftOut = {}
    for name in names:
        if not _is_worth_a_request([*taken, name], idle):
            left_out[name] = ""
            continue
        try:
            answer = await write([*taken, name])
            taken.append(name)
        except ValidationFailed as further:
            left_out[name] = _words(further)
    if answer is None:
        raise error
    return answer, left_out


async def _leave_out_one(
    write: Write,
    names: list[str],
    error: ValidationFailed,
) -> tuple[Any, LeftOut]:
    words = _words(error)
    for name in names:
        others = [other for other in names if other != name]
        try:
            return await write(others), {name: words}
        except ValidationFailed:
            continue
    if not names:
        raise error
    return await write([]), dict.fromkeys(names, words)


def named_field(error: ValidationFailed, names: Sequence[str]) -> str | None:
    """The one of the names that the receiver's answer speaks of; None if it speaks of none or of several."""
    words = error.reason
    if error.details is not None:
        words = f"{words} {error.details}"
    found = [name for name in names if _names(words.casefold(), name.casefold())]
    if len(found) != 1:
        return None
    return found[0]


def _names(words: str, name: str) -> bool:
    """Whether a name stands in a text by itself."""
    pattern = rf"(?<![a-z0-9_]){re.escape(name)}(?![a-z0-9_])"
    return re.search(pattern, words) is not None


def _words(error: ValidationFailed) -> str:
    """What a person may read of a refusal: that of Advoware is in German."""
    if error.system != ADVOWARE:
        return ""
    return error.reason
