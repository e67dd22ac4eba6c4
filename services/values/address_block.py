"""The printed block of an Adresse (``anschrift``): how it is built, read and changed. Pure.

Advoware keeps the block beside the parts (Straße, PLZ, Ort) and does not keep the two together. Users write into it
what the parts cannot hold: departments, ``c/o``, foreign formats. So a block that differs from the one built from the
parts belongs to the user: only its lines that hold exactly the old parts are replaced (specification 13, Adressen).
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
_GREETINGS = {"herr": "Herrn", "frau": "Frau"}


def lines_of(text: Any) -> list[str]:
    """The lines of a text as they are compared: normalised, without empty ones."""
    lines = []
    for written in str(text or "").splitlines():
        line = comparable_text(written)
        if line:
            lines.append(line)
    return lines


def place_of(values: Values) -> str:
    """PLZ and Ort in one line, empty if there is neither."""
    return _joined(_text(values, "plz"), _text(values, "ort"))


def addressee_of(beteiligter: Values) -> str | None:
    """The first line of a Beteiligter's printed block: ``Herrn Dr. Max Müller`` or the company's name."""
    name = comparable_text(beteiligter.get("name"))
    if kind_of_advoware(beteiligter) == "company":
        return name
    anrede = comparable_text(beteiligter.get("anrede")) or ""
    greeting = _GREETINGS.get(anrede.casefold())
    titel = comparable_text(beteiligter.get("titel"))
    vorname = comparable_text(beteiligter.get("vorname"))
    line = _joined(greeting, titel, vorname, name)
    return comparable_text(line)


def build_anschrift(addressee: str | None, values: Values) -> str:
    """The block that Advoware prints, one line each; without a street it is that of the post-office box."""
    lines = [addressee]
    if _text(values, "strasse"):
        lines += _street_lines(values)
    else:
        lines += _box_lines(values)
    lines.append(_country_line(values))
    return "\n".join(filter(None, lines))


def _street_lines(values: Values) -> list[str]:
    street = _text(values, "strasse")
    below = lines_of(_text(values, "weitereZeilen"))
    return [street, *below, place_of(values)]


def _box_lines(values: Values) -> list[str]:
    box = _text(values, "postfach")
    if not box:
        return [place_of(values)]
    plz = _text(values, "postfachPLZ") or values.get("plz")
    place = place_of({**values, "plz": plz})
    return [f"Postfach {box}", place]


def _country_line(values: Values) -> str:
    return country_text(_text(values, "land")).upper()


def lines_below_street(block: Any, values: Values) -> Sequence[str] | None:
    """The lines between street and place in a block; None if it does not show them.

    An empty block, and one of an address without a street, has none.
    """
    lines = lines_of(block)
    street = _text(values, "strasse")
    place = place_of(values)
    if not street or not lines:
        return ()
    if street not in lines or place not in lines:
        return None
    first = _position_of_street(lines, street) + 1
    end = _position_of_place(lines, first, values)
    if end is None:
        return None
    return lines[first:end]


def _position_of_street(lines: Sequence[str], street: str) -> int:
    """Where the street stands; in the first line, where the addressee stands, only if it is in no other."""
    if street in lines[1:]:
        return lines.index(street, 1)
    return 0


def _position_of_place(
    lines: Sequence[str],
    first: int,
    values: Values,
) -> int | None:
    """Where the place stands from this line on: where the address ends, else where it stands first; None if nowhere."""
    place = place_of(values)
    end = _end_of_address(lines, values)
    if first <= end and lines[end] == place:
        return end
    if place not in lines[first:]:
        return None
    return lines.index(place, first)


def _end_of_address(lines: Sequence[str], values: Values) -> int:
    """The last line, or the one before if the last is the country."""
    country = _country_line(values)
    if country and lines[-1] == country:
        return len(lines) - 2
    return len(lines) - 1


def changed_block(
    block: Any,
    addressee: str | None,
    old: Sequence[Values],
    new: Values,
) -> str | None:
    """The block after its parts have changed to ``new``; None if a user has to change it.

    ``old`` are the parts as Advoware has them, and as it had them before. A block that equals the one built from any of
    these is built again. In any other, which a user has written, exactly the lines of the old parts are replaced, if
    each stands there once.
    """
    if _is_built(block, addressee, old):
        changed: str | None = build_anschrift(addressee, new)
    else:
        changed = _changed_by_hand(str(block), old, new)
    if changed is None or len(changed) > BLOCK_LENGTH:
        return None
    return changed


def _is_built(block: Any, addressee: str | None, old: Sequence[Values]) -> bool:
    """Whether the block is empty or equals the one built from any of these parts."""
    lines = lines_of(block)
    if not lines:
        return True
    built = [build_anschrift(addressee, parts) for parts in old]
    return lines in map(lines_of, built)


def _changed_by_hand(block: str, old: Sequence[Values], new: Values) -> str | None:
    for values in old:
        changed = _with_replaced_lines(block, values, new)
        if changed is not None:
            return changed
    return None


def block_label(block: Any) -> str:
    """A block in one line."""
    return ", ".join(lines_of(block))


def _with_replaced_lines(block: str, old: Values, new: Values) -> str | None:
    lines = _lines_with_new_parts(block.splitlines(), old, new)
    if lines is None:
        return None
    line_end = "\n"
    if "\r\n" in block:
        line_end = "\r\n"
    return line_end.join(lines)


def _lines_with_new_parts(
    lines: list[str],
    old: Values,
    new: Values,
) -> list[str] | None:
    """The lines with street, place and the further lines replaced; None if that cannot be done exactly."""
    street = _text(new, "strasse")
    with_street = _replace(lines, _text(old, "strasse"), street)
    if with_street is None:
        return None
    with_place = _replace(with_street, place_of(old), place_of(new))
    if with_place is None:
        return None
    if _text(old, "weitereZeilen") == _text(new, "weitereZeilen"):
        return with_place
    return _replace_below_street(with_place, street, old, new)


def _replace(lines: list[str], old: Any, new: Any) -> list[str] | None:
    """The lines with the one that says ``old`` saying ``new``; None if that cannot be done exactly."""
    if (old or "") == (new or ""):
        return lines
    found = _positions(lines, old)
    if len(found) > 1:
        return None
    if found:
        return _replace_line(lines, found[0], new)
    is_done = not new or bool(_positions(lines, new))
    if is_done:
        return lines
    return None


def _replace_line(lines: list[str], position: int, new: Any) -> list[str]:
    """The lines with one replaced, or without it if the new one is empty."""
    changed = list(lines)
    if new:
        changed[position] = new
    else:
        del changed[position]
    return changed


def _positions(lines: Sequence[str], text: Any) -> list[int]:
    """Where the text stands; nowhere if it is empty."""
    if not text:
        return []
    positions = []
    for number, line in enumerate(lines):
        if comparable_text(line) == text:
            positions.append(number)
    return positions


def _replace_below_street(
    lines: list[str],
    street: Any,
    old: Values,
    new: Values,
) -> list[str] | None:
    """The lines with the further lines below the street replaced; None if the old ones do not stand there."""
    present = lines_of(_text(old, "weitereZeilen"))
    wanted = lines_of(_text(new, "weitereZeilen"))
    found = _positions(lines, street)
    if len(found) != 1:
        return None
    start = found[0] + 1
    if _stand_at(start, lines, present):
        end = start + len(present)
        above = lines[:start]
        below = lines[end:]
        return [*above, *wanted, *below]
    if _stand_at(start, lines, wanted):
        return lines
    return None


def _stand_at(start: int, lines: Sequence[str], texts: Sequence[str]) -> bool:
    end = start + len(texts)
    written = map(comparable_text, lines[start:end])
    return list(written) == list(texts)


def _joined(*parts: str | None) -> str:
    return " ".join(filter(None, parts))


def _text(values: Values, name: str) -> Any:
    return text_of(values.get(name)) or None
