"""Lists: query parameters, pages, and sync tokens, the same for events, rules and calendars."""

from __future__ import annotations

import base64
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    },
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}=*")
#: Names and values of query parameters.
Parameters = tuple[tuple[str, str], ...]


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
                f"Invalid boolean value: '{value}'.",
                name,
                reason="invalidParameter",
            )
        return value == "true"

    def number(self, name: str) -> int | None:
        """A positive integer; None if missing. Raises ApiError 400."""
        value = self._parameters.get(name)
        if value is None:
            return None
        number = 0
        if re.fullmatch(r"\d{1,9}", value):
            number = int(value)
        if number < 1:
            message = f"Invalid value '{value}'. Values must be within the range: [1, 2147483647]"
            raise invalid(message, name, reason="invalidParameter")
        return number

    def choice(self, name: str, choices: frozenset[str]) -> str | None:
        """One of the choices; None if missing. Raises ApiError 400."""
        value = self._parameters.get(name)
        if value is None or value in choices:
            return value
        allowed = ", ".join(sorted(choices))
        message = f"Invalid value '{value}'. Allowed values: [{allowed}]"
        raise invalid(message, name, reason="invalidParameter")

    def restrictions(self) -> Parameters:
        """What determines the content of a list: must be equal for all its pages."""
        restrictions = []
        for name, value in self._parameters.items():
            if name not in _PRESENTATION:
                restrictions.append((name, value))
        return tuple(sorted(restrictions))


@dataclass(frozen=True)
class SyncState:
    """What a sync token stands for."""

    collection: str  #: "events of <calendar>" and the like
    caller: str
    role: str  #: the caller's; when it changes, the token is void
    parameters: tuple[tuple[str, str], ...]  #: those that have to stay the same
    version: int  #: changes up to this one are known to the caller
    issued_at: datetime

    def is_of(self, listing: Listing) -> bool:
        """Whether it is the state of this list, for the same caller in the same role."""
        if self.collection != listing.collection:
            return False
        if self.caller != listing.caller:
            return False
        return self.role == listing.role


#: Makes a whole list, or that of the changes since a state.
Select = Callable[[SyncState | None], list[Resource]]


def known_version(since: SyncState | None) -> int:
    """The last change that a caller knows; 0 if he knows none."""
    if since is None:
        return 0
    return since.version


def shows_deleted(query: Query, since: SyncState | None) -> bool:
    """Whether a list has what was deleted: changes always do. Raises ApiError 400."""
    if since is not None:
        return True
    return bool(query.flag("showDeleted"))


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


@dataclass(frozen=True)
class _Place:
    """Where a page of an open list begins; what a page token holds."""

    key: str
    offset: int
    may_be_empty: bool  #: whether an empty page may come before it


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
        select: Select,
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
        size = self._page_size(listing, query)
        token = query.text("pageToken")
        if token is None:
            place = _Place(secrets.token_hex(8), offset=0, may_be_empty=True)
            opened = self._begin(listing, query, since, select(since))
        else:
            place = self._read_page_token(token)
            opened = self._continued(place, listing, query)
        if self.empty_pages and place.may_be_empty:
            same = replace(place, may_be_empty=False)
            return {"items": [], "nextPageToken": self._keep(same, opened)}
        end = place.offset + size
        items = opened.items[place.offset : end]
        if end < len(opened.items):
            following = replace(place, offset=end, may_be_empty=True)
            return {"items": items, "nextPageToken": self._keep(following, opened)}
        if opened.sync is None:
            return {"items": items}
        return {"items": items, "nextSyncToken": self._issue(opened.sync)}

    def _page_size(self, listing: Listing, query: Query) -> int:
        wanted = query.number("maxResults") or listing.default_size
        size = min(wanted, listing.max_size)
        if self.page_size:
            return min(size, self.page_size)
        return size

    def _continued(self, place: _Place, listing: Listing, query: Query) -> _OpenList:
        """The list of which a page token asks for another page. Raises ApiError 400 if it is another list."""
        opened = self._open[place.key]
        if opened.restrictions != query.restrictions():
            raise _bad_page_token()
        if opened.collection != listing.collection:
            raise _bad_page_token()
        if opened.caller != listing.caller:
            raise _bad_page_token()
        return opened

    def _since(self, listing: Listing, query: Query) -> SyncState | None:
        token = query.text("syncToken")
        if token is None:
            return None
        for name in listing.filters:
            if name in query:
                raise _bad_combination()
        if query.flag("showDeleted") is False:
            raise _bad_combination()
        if not _TOKEN.fullmatch(token):
            # Known from clients that meet it, for example Thunderbird's calGoogleRequest.
            raise invalid("Invalid sync token value.", "syncToken")
        state = self._tokens.get(token)
        if state is None:
            raise full_sync_required()
        if self._now() - state.issued_at > MEMORY:
            raise full_sync_required()
        if not state.is_of(listing):
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
        is_filtered = any(name in query for name in listing.filters)
        state = None
        if since is not None or not is_filtered:
            state = SyncState(
                collection=listing.collection,
                caller=listing.caller,
                role=listing.role,
                parameters=_repeated(listing, query),
                version=self._versions.last,
                issued_at=self._now(),
            )
        return _OpenList(
            items=items,
            restrictions=query.restrictions(),
            collection=listing.collection,
            caller=listing.caller,
            sync=state,
        )

    def _keep(self, place: _Place, opened: _OpenList) -> str:
        self._open[place.key] = opened
        self._open.move_to_end(place.key)
        while len(self._open) > MAX_OPEN_LISTS:
            self._open.popitem(last=False)
        written = f"{place.key}:{place.offset}:{int(place.may_be_empty)}"
        return base64.urlsafe_b64encode(written.encode()).decode()

    def _read_page_token(self, token: str) -> _Place:
        try:
            written = base64.urlsafe_b64decode(token.encode()).decode()
            key, offset, may_be_empty = written.split(":")
            place = _Place(key, int(offset), may_be_empty == "1")
        except ValueError:
            raise _bad_page_token() from None
        if place.key not in self._open:
            raise _bad_page_token()
        return place

    def _issue(self, state: SyncState) -> str:
        content = secrets.token_bytes(20)
        token = base64.b64encode(content).decode()
        self._tokens[token] = state
        while len(self._tokens) > MAX_SYNC_TOKENS:
            self._tokens.popitem(last=False)
        return token


def _repeated(listing: Listing, query: Query) -> Parameters:
    pairs = []
    for name in sorted(listing.repeated):
        for value in sorted(query.texts(name)):
            if value != "false":
                pairs.append((name, value))
    return tuple(pairs)


def _bad_combination() -> ApiError:
    return ApiError(
        400,
        "badRequest",
        "Sync token cannot be used with other request restrictions.",
    )


def _bad_page_token() -> ApiError:
    return invalid("Invalid page token value.", "pageToken")
