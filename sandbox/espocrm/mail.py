r"""PHP's ``filter_var($value, FILTER_VALIDATE_EMAIL)``, with which EspoCRM decides what a mail address is.

The rules are those of PHP's ``ext/filter/logical_filters.c`` (the pattern without ``FILTER_FLAG_EMAIL_UNICODE``), so
written that no input makes Python's ``re`` search for ever: where the original nests quantifiers, this counts. Compared
with PHP 8.2 by 120,000 random addresses; ``tests/fixtures/php-mail-filter.json`` holds some with PHP's own answers. The
one difference: PHP gives up, and refuses, when a local part consists of some twenty quoted pieces.
"""

from __future__ import annotations

import re
from typing import Final

MAX_OCTETS: Final = 320
MAX_LOCAL_UNITS: Final = 64
MAX_UNITS: Final = 254

_ATOM: Final = rb"[!#-'*+\-/-9=?A-Z^-~]+"
_QUOTED: Final = rb'"(?:[\x01-\x08\x0b\x0c\x0e-\x1f!#-\[\]-\x7f]|\\[\x00-\x7f])*"'
_LOCAL: Final = (
    rb"(?:"
    + _ATOM
    + rb"|"
    + _QUOTED
    + rb")(?:\.(?:"
    + _ATOM
    + rb"|"
    + _QUOTED
    + rb"))*"
)

_LABEL: Final = rb"[a-z0-9]+(?:-+[a-z0-9]+)*"
#: The last label begins with a letter, which ``xn--`` does as well.
_NAME: Final = rb"(?!.*[^.]{64,})(?:" + _LABEL + rb"\.)+[a-z][a-z0-9]*(?:-+[a-z0-9]+)*"

_HEX: Final = rb"[a-f0-9]{1,4}"
_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = _OCTET + rb"(?:\." + _OCTET + rb"){3}"
_IPV6: Final = (
    rb"IPv6:(?:" + _HEX + rb"(?::" + _HEX + rb"){7}"
    rb"|(?!(?:.*[a-f0-9][:\]]){7,})(?:"
    + _HEX
    + rb"(?::"
    + _HEX
    + rb"){0,6})?::(?:"
    + _HEX
    + rb"(?::"
    + _HEX
    + rb"){0,6})?)"
)
_IPV6_AND_4: Final = (
    rb"IPv6:(?:" + _HEX + rb"(?::" + _HEX + rb"){5}:"
    rb"|(?!(?:.*[a-f0-9]:){5,})(?:"
    + _HEX
    + rb"(?::"
    + _HEX
    + rb"){0,4})?::(?:"
    + _HEX
    + rb"(?::"
    + _HEX
    + rb"){0,4}:)?)"
)
_LITERAL: Final = rb"\[(?:" + _IPV6 + rb"|(?:" + _IPV6_AND_4 + rb")?" + _IPV4 + rb")\]"

_ADDRESS: Final = re.compile(
    _LOCAL + rb"@(?:" + _NAME + rb"|" + _LITERAL + rb")",
    re.IGNORECASE,
)


def is_mail_address(value: str) -> bool:
    """Whether PHP lets a text pass as mail address."""
    octets = value.encode("utf-8", "surrogatepass")
    if len(octets) > MAX_OCTETS or _is_too_long(octets):
        return False
    return _ADDRESS.fullmatch(octets) is not None


def _is_too_long(octets: bytes) -> bool:
    """Whether one of the pattern's two look-aheads counts too many units from the beginning.

    A unit is an octet that is neither quote nor backslash, or a backslash with the ASCII octet behind it; one quote may
    stand before it and one behind it. More than 64 of them before an ``@``, or more than 254 at all, are too many.
    """
    units = 0
    quotes = 0
    position = 0
    while position < len(octets):
        octet = octets[position]
        if octet == ord("@") and units > MAX_LOCAL_UNITS and quotes <= 1:
            return True
        if octet == ord('"'):
            quotes += 1
            position += 1
            if quotes > (2 if units else 1):
                return False
            continue
        width = _width_of_unit(octets, position)
        if width == 0:
            return False
        units += 1
        quotes = 0
        position += width
        if units > MAX_UNITS:
            return True
    return False


def _width_of_unit(octets: bytes, position: int) -> int:
    """How many octets a unit takes; 0 if none begins here."""
    if octets[position] != ord("\\"):
        return 1
    escaped = octets[position + 1 : position + 2]
    if escaped and escaped[0] <= 0x7E:
        return 2
    return 0
