"""Writing an Adresse although the receiver refuses one of its values: that one is left out, the rest is sent (G6)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.core.errors import ValidationFailed
from services.values.advoware_protocol import SYSTEM as ADVOWARE

#: Sends the fields of these names, and always what has to be sent besides; returns the receiver's answer.
Write = Callable[[Sequence[str]], Awaitable[Any]]
#: Per name that was left out, what the receiver said about it in German; may be empty.
LeftOut = dict[str, str]


async def update_fitting(
    write: Write, names: Sequence[str], *, idle: frozenset[str] | None = None
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
    rest, left_out = list(names), LeftOut()
    while idle is None or set(rest) - idle:
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


async def create_fitting(write: Write, names: Sequence[str]) -> tuple[Any, LeftOut]:
    """Create a record with as many of the names as the receiver takes; likewise.

    A create can be done only once: after a refusal that names no field, one after the other is left out, then all.
    """
    rest, left_out = list(names), LeftOut()
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
    write: Write, names: list[str], error: ValidationFailed, idle: frozenset[str] | None
) -> tuple[Any, LeftOut]:
    answer = await write([]) if idle is None and names else None
    taken, left_out = list[str](), LeftOut()
    for name in names:
        if idle is not None and not {*taken, name} - idle:
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
    write: Write, names: list[str], error: ValidationFailed
) -> tuple[Any, LeftOut]:
    for name in names:
        try:
            return await write([other for other in names if other != name]), {
                name: _words(error)
            }
        except ValidationFailed:
            continue
    if not names:
        raise error
    return await write([]), dict.fromkeys(names, _words(error))


def named_field(error: ValidationFailed, names: Sequence[str]) -> str | None:
    """The one of the names that the receiver's answer speaks of; None if it speaks of none or of several."""
    said = f"{error.reason} {error.details if error.details is not None else ''}".casefold()
    found = [
        name
        for name in names
        if re.search(rf"(?<![a-z0-9_]){re.escape(name.casefold())}(?![a-z0-9_])", said)
    ]
    return found[0] if len(found) == 1 else None


def _words(error: ValidationFailed) -> str:
    """What a person may read of a refusal: Advoware says it in German."""
    return error.reason if error.system == ADVOWARE else ""
