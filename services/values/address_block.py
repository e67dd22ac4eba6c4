"""The printed block of an Adresse (``anschrift``): what it says, what we make it say, and what we never touch. Pure.

Advoware keeps the block beside the parts (Straße, PLZ, Ort) and does not keep the two together. People write into it
what the parts cannot hold: departments, ``c/o``, foreign formats. So a block that is not what we would build is
theirs: only its lines that hold exactly the old parts are replaced (specification 13, Adressen).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.core.foreign_text import comparable_text
from services.values.countries import country_text
from services.values.kind import kind_of_advoware
from services.values.merge import text_of

Values = Mapping[str, Any]

BLOCK = "anschrift"
#: Longest block that Advoware takes [A].
BLOCK_LENGTH = 1000


def lines_of(text: Any) -> list[str]:
    """The lines of a text as they are compared: normalised, without empty ones."""
    return [line for line in map(comparable_text, str(text or "").splitlines()) if line]


def place_of(values: Values) -> str:
    """PLZ and Ort in one line, empty if there is neither."""
    return " ".join(
        part for part in (_text(values, "plz"), _text(values, "ort")) if part
    )


def addressee_of(beteiligter: Values) -> str | None:
    """The first line of a Beteiligter's printed block: ``Herrn Dr. Max Müller`` or the company's name."""
    name = comparable_text(beteiligter.get("name"))
    if kind_of_advoware(beteiligter) == "company":
        return name
    anrede = comparable_text(beteiligter.get("anrede"))
    greeting = {"herr": "Herrn", "frau": "Frau"}.get((anrede or "").casefold())
    titel, vorname = (
        comparable_text(beteiligter.get(field)) for field in ("titel", "vorname")
    )
    return comparable_text(
        " ".join(part for part in (greeting, titel, vorname, name) if part)
    )


def build_anschrift(addressee: str | None, values: Values) -> str:
    """The block that Advoware prints, one line each; without a street it is that of the post-office box."""
    if street := _text(values, "strasse"):
        lines = [street, *lines_of(_text(values, "weitereZeilen")), place_of(values)]
    else:
        box = _text(values, "postfach")
        plz = _text(values, "postfachPLZ") if box else None
        lines = [
            f"Postfach {box}" if box else "",
            place_of({**values, "plz": plz or values.get("plz")}),
        ]
    country = country_text(_text(values, "land")).upper()
    return "\n".join(line for line in (addressee, *lines, country) if line)


def lines_below_street(block: Any, values: Values) -> Sequence[str] | None:
    """The lines between street and place in a block; None if it does not show them.

    An empty block, and one of an address without a street, has none.
    """
    lines, street, place = lines_of(block), _text(values, "strasse"), place_of(values)
    if not street or not lines:
        return ()
    if street not in lines or place not in lines:
        return None
    start = lines.index(street, 1) if street in lines[1:] else 0
    country = country_text(_text(values, "land")).upper()
    end = len(lines) - (2 if country and lines[-1] == country else 1)
    if end <= start or lines[end] != place:
        after = [
            number
            for number, line in enumerate(lines)
            if line == place and number > start
        ]
        if not after:
            return None
        end = after[0]
    return lines[start + 1 : end]


def changed_block(
    block: Any, addressee: str | None, old: Sequence[Values], new: Values
) -> str | None:
    """The block after its parts have changed to ``new``; None if a person has to change it.

    ``old`` are the parts as Advoware has them, and as it had them before. A block that we would build from one of these
    is built anew. In any other, which somebody has written by hand, exactly the lines of the old parts are replaced,
    if each stands there once.
    """
    lines = lines_of(block)
    if not lines or any(
        lines == lines_of(build_anschrift(addressee, values)) for values in old
    ):
        changed: str | None = build_anschrift(addressee, new)
    else:
        attempts = (_with_replaced_lines(str(block), values, new) for values in old)
        changed = next((attempt for attempt in attempts if attempt is not None), None)
    return changed if changed is not None and len(changed) <= BLOCK_LENGTH else None


def block_label(block: Any) -> str:
    """A block in one line."""
    return ", ".join(lines_of(block))


def _with_replaced_lines(block: str, old: Values, new: Values) -> str | None:
    lines: list[str] | None = block.splitlines()
    lines = _replace(lines, _text(old, "strasse"), _text(new, "strasse"))
    lines = _replace(lines, place_of(old), place_of(new))
    if lines is not None and _text(old, "weitereZeilen") != _text(new, "weitereZeilen"):
        lines = _replace_below_street(lines, _text(new, "strasse"), old, new)
    return None if lines is None else ("\r\n" if "\r\n" in block else "\n").join(lines)


def _replace(lines: list[str] | None, old: Any, new: Any) -> list[str] | None:
    """The lines with the one that says ``old`` saying ``new``; None if that cannot be done exactly."""
    if lines is None or (old or "") == (new or ""):
        return lines
    found = [
        number
        for number, line in enumerate(lines)
        if old and comparable_text(line) == old
    ]
    if len(found) == 1:
        return [*lines[: found[0]], *([new] if new else []), *lines[found[0] + 1 :]]
    says_it = any(comparable_text(line) == new for line in lines) if new else not found
    return lines if says_it and not found else None


def _replace_below_street(
    lines: list[str], street: Any, old: Values, new: Values
) -> list[str] | None:
    """The lines with the further lines below the street replaced; None if the old ones do not stand there."""
    below, wanted = (
        lines_of(_text(old, "weitereZeilen")),
        lines_of(_text(new, "weitereZeilen")),
    )
    found = [
        number
        for number, line in enumerate(lines)
        if street and comparable_text(line) == street
    ]
    if len(found) != 1:
        return None
    start = found[0] + 1
    if [comparable_text(line) for line in lines[start : start + len(below)]] == below:
        return [*lines[:start], *wanted, *lines[start + len(below) :]]
    return (
        lines
        if [comparable_text(line) for line in lines[start : start + len(wanted)]]
        == wanted
        else None
    )


def _text(values: Values, name: str) -> Any:
    return text_of(values.get(name)) or None
