"""Google's description is HTML, Advoware's ``notiz`` is text: one is read as the other. Pure.

Text that went to Google comes back as the same text. What a person formats in Google becomes lines, list marks and
addresses of links. A line feed counts as a line break in both forms, because Google shows it as one [A].
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

#: Longest description that Google takes, in characters (support.nylas.com, "Event Description Limits"); beyond it
#: Google answers "A provided value exceeds the allowed size limit" (kewisch/gdata-provider issue 713).
MAX_DESCRIPTION = 8192
#: Ends a description of which Google cannot hold the rest.
CUT_MARK = "\n\n[gekürzt: Der vollständige Text steht in Advoware.]"

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_LISTS = frozenset({"ul", "ol"})
_BLOCKS = (
    _HEADINGS
    | _LISTS
    | {"p", "div", "li", "hr", "table", "tr", "pre", "blockquote", "dl", "dt", "dd"}
)
_INLINE = frozenset(
    {
        "a",
        "b",
        "big",
        "br",
        "code",
        "del",
        "em",
        "font",
        "i",
        "img",
        "ins",
        "s",
        "small",
        "span",
        "strike",
        "strong",
    }
    | {"sub", "sup", "tbody", "td", "tfoot", "th", "thead", "tt", "u", "wbr"},
)
_MAX_DEPTH = 8

#: A ``<`` that begins no element of these. It is text: "Max <max@example.org>", "a < b".
_LITERAL_BRACKET = re.compile(
    rf"<(?!/?(?:{'|'.join(sorted(_BLOCKS | _INLINE))})(?:\s[^<>]*)?/?>)",
    re.IGNORECASE,
)
#: How editors write two spaces in a row. The character itself stays what it is.
_SPACE = re.compile(r"&nbsp;|&#160;|&#xa0;", re.IGNORECASE)
#: What a browser takes for the beginning of a tag, a comment or a declaration.
_TAG_LIKE = re.compile(r"<[A-Za-z/!?]")
_LINE_AFTER_TAG = re.compile(r"[ \t]*\n")


def text_of_description(description: str) -> str:
    """The text that a reader of the description sees; a link's address follows its words in brackets."""
    if "<" not in description and "&" not in description:
        return description
    reader = _Reader()
    reader.feed(_LITERAL_BRACKET.sub("&lt;", _SPACE.sub(" ", description)))
    reader.close()
    return reader.text()


def description_of_text(text: str) -> str:
    """The description that reads as this text: the text itself, unless a browser would take a part of it for HTML."""
    if text == html.unescape(text) and not _TAG_LIKE.search(text):
        return text
    return html.escape(text, quote=False)


def fitting_description(text: str) -> str:
    """The description of a text, at most as long as Google takes it. One that is cut ends with `CUT_MARK`."""
    description = description_of_text(text)
    kept = text
    while len(description) > MAX_DESCRIPTION:
        longest = MAX_DESCRIPTION - len(CUT_MARK)
        fewer = min(
            longest,
            len(kept) - max(1, (len(description) - MAX_DESCRIPTION) // len("&amp;")),
        )
        kept = kept[:fewer].rstrip()
        description = description_of_text(kept + CUT_MARK)
    return description


def is_cut(text: str | None) -> bool:
    """Whether a text is only the beginning of what stands in Advoware."""
    return text is not None and text.endswith(CUT_MARK.strip())


class _Reader(HTMLParser):
    """Collects what is to be read. It is fed known elements only, so nothing is left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._is_line_start = True
        self._follows_break = False
        self._links: list[tuple[str, int]] = []
        self._lists: list[int | None] = []  # the last number of an ordered list

    def text(self) -> str:
        """What was read."""
        while self._links:
            self._end_link()
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, a list, an item or a link."""
        if tag == "br":
            self._add("\n")
            self._follows_break = True
        elif tag in _BLOCKS:
            self._begin_line()
        if tag in _LISTS:
            self._begin_list(tag)
        elif tag == "li":
            self._begin_item()
        elif tag == "a":
            self._begin_link(attrs)
        elif tag in {"td", "th"}:
            self._begin_cell()

    def handle_endtag(self, tag: str) -> None:
        """End a line, a list or a link."""
        if tag in _BLOCKS:
            self._begin_line()
        if tag in _LISTS:
            self._end_list()
        elif tag == "a" and self._links:
            self._end_link()

    def handle_data(self, data: str) -> None:
        """Text between tags. A line feed of the markup itself, after a tag that breaks the line, is none of it."""
        if self._follows_break:
            data = (
                _LINE_AFTER_TAG.sub("", data, count=1)
                if _LINE_AFTER_TAG.match(data)
                else data
            )
            if self._is_line_start and not data.strip(" \t\n"):
                return
        self._add(data)

    def _add(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self._is_line_start = text.endswith("\n")
            self._follows_break = False

    def _begin_line(self) -> None:
        if not self._is_line_start:
            self._add("\n")
        self._follows_break = True

    def _begin_list(self, tag: str) -> None:
        last_number = None
        if tag == "ol":
            last_number = 0
        self._lists.append(last_number)

    def _end_list(self) -> None:
        if self._lists:
            self._lists.pop()

    def _begin_item(self) -> None:
        mark = "- "
        if self._lists and self._lists[-1] is not None:
            self._lists[-1] += 1
            mark = f"{self._lists[-1]}. "
        depth = min(len(self._lists), _MAX_DEPTH)
        indentation = "  " * max(depth - 1, 0)
        self._add(indentation + mark)

    def _begin_link(self, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href") or ""
        self._links.append((target, len(self._parts)))

    def _begin_cell(self) -> None:
        if not self._is_line_start:
            self._add(" ")

    def _end_link(self) -> None:
        target, position = self._links.pop()
        words = "".join(self._parts[position:]).strip()
        address = target.strip().removeprefix("mailto:").removeprefix("tel:")
        if not address or address.rstrip("/") in words:
            return
        if words:
            address = f" ({address})"
        self._add(address)
