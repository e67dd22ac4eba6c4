"""Lists: query parameters, pages, and sync tokens, the same for events, rules and calendars."""

from __future__ import annotations

import base64
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from multidict import MultiMapping

from sandbox.google.calendar_store import Versions
from sandbox.google.errors import ApiError, full_sync_required, invalid
from sandbox.google.event import Resource

#: How long Google remembers deletions. The period is not published; reports say about a month.
MEMORY: Final = timedelta(days=30)
#: Lists of which further pages can be asked for at the same time; the oldest is forgotten first.
MAX_OPEN_LISTS: Final = 300
MAX_SYNC_TOKENS: Final = 100_000

#: May differ from page to page and between a list and its sync.
_PRESENTATION: Final = frozenset(
    {
        "alt",
        "fields",
        "key",
        "maxAttendees",
        "maxResults",
        "pageToken",
        "prettyPrint",
        "quotaUser",
        "timeZone",
    }
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}=*")


class Query:
    """The query parameters of a request. Unknown ones are ignored, as Google does."""

    def __init__(self, parameters: MultiMapping[str]) -> None:
        self._parameters = parameters

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    def text(self, name: str) -> str | None:
        """The value; None if it is missing or empty."""
        return self._parameters.get(name) or None

    def texts(self, name: str) -> list[str]:
        """All values of a repeated parameter."""
        return list(self._parameters.getall(name, []))

    def flag(self, name: str) -> bool | None:
        """A boolean; None if missing. Raises ApiError 400."""
        value = self._parameters.get(name)
        if value is None:
            return None
        if value not in {"true", "false"}:
            raise invalid(
                f"Invalid boolean value: '{value}'.", name, reason="invalidParameter"
            )
        return value == "true"

    def number(self, name: str) -> int | None:
        """A positive integer; None if missing. Raises ApiError 400."""
        value = self._parameters.get(name)
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,9}", value) or int(value) < 1:
            message = f"Invalid value '{value}'. Values must be within the range: [1, 2147483647]"
            raise invalid(message, name, reason="invalidParameter")
        return int(value)

    def choice(self, name: str, choices: frozenset[str]) -> str | None:
        """One of the choices; None if missing. Raises ApiError 400."""
        value = self._parameters.get(name)
        if value is not None and value not in choices:
            message = f"Invalid value '{value}'. Allowed values: [{', '.join(sorted(choices))}]"
            raise invalid(message, name, reason="invalidParameter")
        return value

    def restrictions(self) -> tuple[tuple[str, str], ...]:
        """What determines the content of a list: must be equal for all its pages."""
        return tuple(
            sorted(
                (name, value)
                for name, value in self._parameters.items()
                if name not in _PRESENTATION
            )
        )


@dataclass(frozen=True)
class SyncState:
    """What a sync token stands for."""

    collection: str  #: "events of <calendar>" and the like
    caller: str
    role: str  #: the caller's; when it changes, the token is void
    parameters: tuple[tuple[str, str], ...]  #: those that have to stay the same
    version: int  #: changes up to this one are known to the caller
    issued_at: datetime


@dataclass(frozen=True)
class Listing:
    """What is listed for whom."""

    collection: str
    caller: str
    role: str
    default_size: int
    max_size: int
    #: Parameters that cannot be combined with a sync token, and without which a list gives none.
    filters: frozenset[str] = frozenset()
    #: Parameters that an incremental list must repeat; Google calls the behaviour otherwise undefined.
    repeated: frozenset[str] = frozenset()


@dataclass
class _OpenList:
    items: list[Resource]
    restrictions: tuple[tuple[str, str], ...]
    collection: str
    caller: str
    sync: SyncState | None


class Lister:
    """Cuts lists into pages, and gives out and honours sync tokens.

    A list is fixed when its first page is asked for; what changes between two pages comes with the next sync.
    """

    def __init__(self, versions: Versions, now: Callable[[], datetime]) -> None:
        self.page_size: int | None = None  #: smaller pages than asked for, for tests
        self.empty_pages = (
            False  #: precede every page by an empty one, which Google may do
        )
        self._versions = versions
        self._now = now
        self._open: OrderedDict[str, _OpenList] = OrderedDict()
        self._tokens: OrderedDict[str, SyncState] = OrderedDict()

    def expire_sync_tokens(self) -> None:
        """Make every sync token handed out so far invalid."""
        self._tokens.clear()

    def page(
        self,
        listing: Listing,
        query: Query,
        select: Callable[[SyncState | None], list[Resource]],
    ) -> Mapping[str, object]:
        """``items`` of one page, with ``nextPageToken`` or, on the last page, ``nextSyncToken``.

        Args:
            listing: what is listed.
            query: the request's parameters.
            select: makes the whole list, or that of the changes since a state.

        Raises:
            ApiError: 400 for bad parameters or an unknown page token; 410 for a sync token that has expired.
        """
        since = self._since(listing, query)
        size = min(
            query.number("maxResults") or listing.default_size,
            listing.max_size,
            self.page_size or 10**9,
        )
        token = query.text("pageToken")
        key, offset, stay = self._read_page_token(token) if token else (None, 0, True)
        if key is None:
            key = secrets.token_hex(8)
            opened = self._begin(listing, query, since, select(since))
        else:
            opened = self._open[key]
            expected = (query.restrictions(), listing.collection, listing.caller)
            if (opened.restrictions, opened.collection, opened.caller) != expected:
                raise _bad_page_token()
        if self.empty_pages and stay:
            return {
                "items": [],
                "nextPageToken": self._keep(key, opened, offset, stay=False),
            }
        items = opened.items[offset : offset + size]
        rest = len(opened.items) - offset - size
        if rest > 0:
            return {
                "items": items,
                "nextPageToken": self._keep(key, opened, offset + size, stay=True),
            }
        return {
            "items": items,
            **({"nextSyncToken": self._issue(opened.sync)} if opened.sync else {}),
        }

    def _since(self, listing: Listing, query: Query) -> SyncState | None:
        token = query.text("syncToken")
        if token is None:
            return None
        if (
            any(name in query for name in listing.filters)
            or query.flag("showDeleted") is False
        ):
            raise _bad_combination()
        if not _TOKEN.fullmatch(token):
            # Known from clients that meet it, for example Thunderbird's calGoogleRequest.
            raise invalid("Invalid sync token value.", "syncToken")
        state = self._tokens.get(token)
        if state is None or self._now() - state.issued_at > MEMORY:
            raise full_sync_required()
        if (state.collection, state.caller, state.role) != (
            listing.collection,
            listing.caller,
            listing.role,
        ):
            raise full_sync_required()
        if state.parameters != _repeated(listing, query):
            raise _bad_combination()
        return state

    def _begin(
        self,
        listing: Listing,
        query: Query,
        since: SyncState | None,
        items: list[Resource],
    ) -> _OpenList:
        state = None
        if since is not None or not any(name in query for name in listing.filters):
            state = SyncState(
                listing.collection,
                listing.caller,
                listing.role,
                _repeated(listing, query),
                self._versions.last,
                self._now(),
            )
        return _OpenList(
            items, query.restrictions(), listing.collection, listing.caller, state
        )

    def _keep(self, key: str, opened: _OpenList, offset: int, *, stay: bool) -> str:
        self._open[key] = opened
        self._open.move_to_end(key)
        while len(self._open) > MAX_OPEN_LISTS:
            self._open.popitem(last=False)
        return base64.urlsafe_b64encode(f"{key}:{offset}:{int(stay)}".encode()).decode()

    def _read_page_token(self, token: str) -> tuple[str, int, bool]:
        try:
            key, offset, stay = (
                base64.urlsafe_b64decode(token.encode()).decode().split(":")
            )
            if key in self._open:
                return key, int(offset), stay == "1"
        except ValueError:
            pass
        raise _bad_page_token()

    def _issue(self, state: SyncState) -> str:
        token = base64.b64encode(secrets.token_bytes(20)).decode()
        self._tokens[token] = state
        while len(self._tokens) > MAX_SYNC_TOKENS:
            self._tokens.popitem(last=False)
        return token


def _repeated(listing: Listing, query: Query) -> tuple[tuple[str, str], ...]:
    pairs = []
    for name in sorted(listing.repeated):
        values = sorted(query.texts(name))
        pairs += [(name, value) for value in values if value != "false"]
    return tuple(pairs)


def _bad_combination() -> ApiError:
    return ApiError(
        400, "badRequest", "Sync token cannot be used with other request restrictions."
    )


def _bad_page_token() -> ApiError:
    return invalid("Invalid page token value.", "pageToken")
