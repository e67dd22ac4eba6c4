"""What a page's address says: filters, page number, language. Whatever stands there is usable afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

MAX_TEXT = 100
MAX_PAGE = 10_000


def usable_text(text: str) -> str:
    """The first 100 characters of what a browser sent, without NUL, which PostgreSQL takes in no text."""
    return text.replace("\0", "")[:MAX_TEXT]


@dataclass(frozen=True)
class Query:
    """The parameters of a page, those of its path among them."""

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """A parameter without blanks around it, at most 100 characters; empty if it is missing."""
        return usable_text(self.values.get(name, "")).strip()

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """A parameter if it is one of these, else empty."""
        value = self.text(name)
        return value if value in allowed else ""

    @property
    def page(self) -> int:
        """The number of the page, from 1."""
        text = self.text("page")
        is_number = text.isascii() and text.isdigit() and len(text) <= 6
        return min(max(1, int(text)), MAX_PAGE) if is_number else 1

    def flag(self, name: str) -> bool:
        """Whether a parameter is 1."""
        return self.text(name) == "1"


def with_parameters(path: str, query: Mapping[str, str], **changes: object) -> str:
    """The address of the same page with some parameters changed; None takes one away."""
    merged = {**query, **changes}
    kept = {name: str(value) for name, value in merged.items() if value is not None}
    return f"{path}?{urlencode(kept)}" if kept else path
