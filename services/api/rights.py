"""What the key of an internal tool permits. A right is one of:

* ``all``: everything;
* ``calendar``: starting the calendar sync; ``nextcall``: resetting the next call;
* methods of the proxy, such as ``GET`` (a read-only key) or ``GET-PUT``: for any path in Advoware;
* ``GET-PUT@api/v1/advonet/Termine``: for this path and what lies below it.

A path counts as it was sent: case matters, and under a right with a path only plain characters are permitted. So no
encoding, double slash, ``..`` or parameter of a segment can make Advoware read another path than was compared here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from services.api.errors import NotPermitted

ToolEndpoint = Literal["calendar", "nextcall"]
ALL = "all"
_PLAIN_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~-]+")
#: Segments that name the kind of a record: ``api/v1/advonet/Beteiligte``. What follows may be anything.
_KIND_SEGMENTS = 4


@dataclass(frozen=True)
class Caller:
    """Who was admitted; ``name`` is that of the key, empty where no keys are needed."""

    name: str
    rights: tuple[str, ...]

    def may_use(self, endpoint: ToolEndpoint) -> bool:
        """Whether the key permits this endpoint."""
        return ALL in self.rights or endpoint in self.rights

    def require_proxy(self, method: str, endpoint: str) -> None:
        """Raise NotPermitted unless the key permits this method for this path in Advoware, which may have a query."""
        path = endpoint.partition("?")[0]
        if not any(_permits(right, method, path) for right in self.rights):
            raise NotPermitted(
                f"the key {self.name} has no right to {method} this path",
            )


def _permits(right: str, method: str, path: str) -> bool:
    if right == ALL:
        return True
    methods, _, prefix = right.partition("@")
    if method not in methods.split("-"):
        return False
    return not prefix or _is_below(path, prefix)


def _is_below(path: str, prefix: str) -> bool:
    """Whether a path is the prefix or lies below it; compared by whole segments."""
    segments = path.removeprefix("/").removesuffix("/").split("/")
    if not all(map(_PLAIN_SEGMENT.fullmatch, segments)):
        return False
    wanted = prefix.split("/")
    return segments[: len(wanted)] == wanted


def loggable(endpoint: str) -> str:
    """A path as it may be logged: the kind of the record, and numbers; for anything else ``-``."""
    segments = endpoint.partition("?")[0].strip("/").split("/")
    return "/".join(_loggable_segments(segments))


def _loggable_segments(segments: Iterable[str]) -> list[str]:
    found = []
    for number, segment in enumerate(segments):
        is_kind = number < _KIND_SEGMENTS and _PLAIN_SEGMENT.fullmatch(segment)
        is_number = segment.isascii() and segment.isdecimal()
        found.append(segment[:40] if is_kind or is_number else "-")
    return found[:8]
