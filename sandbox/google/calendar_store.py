"""Calendars, who may do what with them (ACL), and each user's list of calendars."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sandbox.google.errors import (
    ApiError,
    already_deleted,
    forbidden,
    invalid,
    not_found,
    quota,
    required,
)
from sandbox.google.event import Event, Resource
from sandbox.google.times import time_zone

#: Roles from weakest to strongest.
ROLES: Final = (
    "none",
    "freeBusyReader",
    "reader",
    "writerWithoutPrivateAccess",
    "writer",
    "owner",
)
SCOPE_TYPES: Final = ("default", "user", "group", "domain")
#: More new calendars than this within `CREATION_WINDOW` lock an account (support.google.com/a/answer/2905486).
MAX_NEW_CALENDARS: Final = 60
CREATION_WINDOW: Final = timedelta(hours=1)

_SERVICE_ACCOUNT_DOMAIN: Final = ".gserviceaccount.com"
_CALENDAR_TEXTS: Final = ("summary", "description", "location")


def is_service_account(email: str) -> bool:
    """Whether the address is that of a service account."""
    return email.endswith(_SERVICE_ACCOUNT_DOMAIN)


class Versions:
    """Version numbers that grow with time and never repeat, over all calendars. They are also the etags."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.last = 0

    def next(self) -> int:
        """The next one: twice the microseconds since 1970, as Google's event etags look."""
        microseconds = int(self._now().timestamp() * 1_000_000)
        self.last = max(self.last + 1, microseconds * 2)
        return self.last


@dataclass
class AclRule:
    """What one scope may do; ``role == "none"`` is a removed rule."""

    scope_type: str
    scope_value: str | None
    role: str
    version: int = 0  #: of its last change; 0 before it is stored

    @property
    def id(self) -> str:
        """``user:anna@example.de``, ``domain:example.de`` or ``default``."""
        if self.scope_value is None:
            return self.scope_type
        return f"{self.scope_type}:{self.scope_value}"

    def covers(self, email: str) -> bool:
        """Whether the rule is about that account. (No user here is a member of a group.)"""
        if self.scope_type == "default":
            return True
        if self.scope_type == "domain":
            return email.endswith(f"@{self.scope_value}")
        if self.scope_type != "user":
            return False
        return self.scope_value == email

    def render(self) -> Resource:
        """As the API shows it."""
        scope = {"type": self.scope_type}
        if self.scope_value:
            scope["value"] = self.scope_value
        return {
            "kind": "calendar#aclRule",
            "etag": f'"{self.version}"',
            "id": self.id,
            "scope": scope,
            "role": self.role,
        }


@dataclass
class Calendar:
    """A calendar with its events (`sandbox.google.event_store` works on them)."""

    id: str
    data_owner: str
    zone: str
    version: int
    texts: dict[str, str]  #: summary, description, location; none is empty
    acl: dict[str, AclRule] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)

    @property
    def primary(self) -> bool:
        """Whether it is its owner's primary calendar."""
        return self.id == self.data_owner

    def role_of(self, email: str) -> str:
        """The strongest role that any rule gives to the account."""
        return max(
            (rule.role for rule in self.acl.values() if rule.covers(email)),
            key=ROLES.index,
            default="none",
        )

    def render(self) -> Resource:
        """As ``calendars.get`` shows it."""
        owner: Resource = {}
        if not self.primary:
            owner = {"dataOwner": self.data_owner}
        return {
            "kind": "calendar#calendar",
            "etag": f'"{self.version}"',
            "id": self.id,
            **self.texts,
            "timeZone": self.zone,
            **owner,
            "conferenceProperties": {
                "allowedConferenceSolutionTypes": ["hangoutsMeet"],
            },
        }


@dataclass
class Subscription:
    """A calendar on a user's list."""

    version: int
    deleted: bool = False


class CalendarStore:
    """All calendars. Methods take the e-mail address of who asks and refuse what they may not do."""

    def __init__(
        self,
        versions: Versions,
        now: Callable[[], datetime],
        seed: int,
    ) -> None:
        self.calendars: dict[str, Calendar] = {}
        self.subscriptions: dict[
            str,
            dict[str, Subscription],
        ] = {}  #: account -> calendar id -> entry
        self.max_new_calendars: int | None = MAX_NEW_CALENDARS
        self._versions = versions
        self._now = now
        self._ids = random.Random(seed)  # noqa: S311 - seeded
        self._creations: dict[str, list[datetime]] = {}

    # -- access -------------------------------------------------------------------------------------------------

    def add_account(self, email: str) -> None:
        """Give an account its primary calendar, unless it has one."""
        if email in self.calendars:
            return
        primary = Calendar(
            id=email,
            data_owner=email,
            zone="UTC",
            version=self._versions.next(),
            texts={"summary": email},
        )
        self._add(primary)

    def get(self, caller: str, calendar_id: str, role: str) -> Calendar:
        """The calendar, if the caller has at least that role.

        Raises:
            ApiError: 404 if the caller may see nothing of it; 403 if less than ``role``.
        """
        calendar = self.calendars.get(_full_id(caller, calendar_id))
        if calendar is None:
            raise not_found()
        actual = calendar.role_of(caller)
        if actual == "none":
            raise not_found()
        if ROLES.index(actual) >= ROLES.index(role):
            return calendar
        if role in {"writer", "writerWithoutPrivateAccess"}:
            message = "You need to have writer access to this calendar."
            raise ApiError(403, "requiredAccessLevel", message, domain="calendar")
        raise forbidden()

    # -- calendars ----------------------------------------------------------------------------------------------

    def insert(self, caller: str, body: Resource) -> Calendar:
        """A new secondary calendar of the caller.

        Raises:
            ApiError: 400; 403 quotaExceeded after too many new ones.
        """
        texts, zone = _calendar_fields(body)
        self._count_creation(caller)
        number = self._ids.getrandbits(256)
        calendar = Calendar(
            id=f"c_{number:064x}@group.calendar.google.com",
            data_owner=caller,
            zone=zone or "UTC",
            version=self._versions.next(),
            texts=texts,
        )
        self._add(calendar)
        return calendar

    def change(self, calendar: Calendar, body: Resource) -> None:
        """Replace the metadata; a time zone that is not given stays.

        Raises:
            ApiError: 400.
        """
        texts, zone = _calendar_fields(body)
        calendar.texts = texts
        calendar.zone = zone or calendar.zone
        calendar.version = self._versions.next()

    def delete(self, calendar: Calendar) -> None:
        """Remove a secondary calendar for all users.

        Raises:
            ApiError: 403; it is a primary calendar.
        """
        if calendar.primary:
            message = "A primary calendar cannot be deleted."
            raise ApiError(
                403,
                "cannotDeletePrimaryCalendar",
                message,
                domain="calendar",
            )
        del self.calendars[calendar.id]
        for entries in self.subscriptions.values():
            if calendar.id in entries:
                entries[calendar.id] = Subscription(self._versions.next(), deleted=True)

    def _add(self, calendar: Calendar) -> None:
        owner = AclRule(
            scope_type="user",
            scope_value=calendar.data_owner,
            role="owner",
            version=self._versions.next(),
        )
        calendar.acl[owner.id] = owner
        self.calendars[calendar.id] = calendar
        self._subscribe(calendar.data_owner, calendar.id)

    def _count_creation(self, caller: str) -> None:
        if self.max_new_calendars is None:
            return
        recent = []
        for at in self._creations.get(caller, []):
            if self._now() - at < CREATION_WINDOW:
                recent.append(at)
        if len(recent) >= self.max_new_calendars:
            raise quota("quotaExceeded")
        self._creations[caller] = [*recent, self._now()]

    # -- access control lists -----------------------------------------------------------------------------------

    def share(self, caller: str, calendar: Calendar, body: Resource) -> AclRule:
        """Add a rule; a scope has one rule only, so that a second one replaces it.

        Raises:
            ApiError: 400; 403 for one's own rule and the data owner's.
        """
        rule = _acl_rule(body)
        before = calendar.acl.get(rule.id)
        if before is not None and before.role == rule.role:
            return before
        self._set_role(caller, calendar, rule)
        return rule

    def change_rule(
        self,
        caller: str,
        calendar: Calendar,
        before: AclRule,
        body: Resource,
    ) -> AclRule:
        """Change the role of a rule.

        Raises:
            ApiError: 400, also for a change of the scope; 403 as in `share`.
        """
        rule = _acl_rule(body)
        if rule.id != before.id:
            raise invalid("Invalid scope value.")
        return self.share(caller, calendar, body)

    def unshare(self, caller: str, calendar: Calendar, rule: AclRule) -> None:
        """Remove a rule. Raises ApiError 403 as in `share`."""
        removed = AclRule(rule.scope_type, rule.scope_value, "none")
        self._set_role(caller, calendar, removed)

    def rule(self, calendar: Calendar, rule_id: str) -> AclRule:
        """The rule, also a removed one. Raises ApiError 404."""
        rule = calendar.acl.get(rule_id)
        if rule is None:
            raise not_found()
        return rule

    def _set_role(self, caller: str, calendar: Calendar, rule: AclRule) -> None:
        _check_may_set(caller, calendar, rule)
        rule.version = self._versions.next()
        calendar.acl[rule.id] = rule
        for account, entries in self.subscriptions.items():
            entry = entries.get(calendar.id)
            if entry is None:
                continue
            if calendar.role_of(account) == "none":
                entry.deleted = True
                entry.version = self._versions.next()

    # -- lists of calendars -------------------------------------------------------------------------------------

    def entries(self, caller: str) -> Iterator[tuple[Resource, Subscription]]:
        """The caller's list with removed entries, oldest first: as the API shows them, and what is stored."""
        for calendar_id, entry in self._subscriptions_of(caller).items():
            resource = self._render_entry(caller, calendar_id, entry)
            yield resource, entry

    def _subscriptions_of(self, account: str) -> dict[str, Subscription]:
        return self.subscriptions.get(account, {})

    def entry(self, caller: str, calendar_id: str) -> Resource:
        """One entry. Raises ApiError 404."""
        full_id = _full_id(caller, calendar_id)
        entry = self._subscriptions_of(caller).get(full_id)
        if entry is None or entry.deleted:
            raise not_found()
        return self._render_entry(caller, full_id, entry)

    def subscribe(self, caller: str, calendar_id: object) -> Resource:
        """Put a calendar on the list. Raises ApiError 400, or 404 if the caller may not see it."""
        if not isinstance(calendar_id, str) or not calendar_id:
            raise required("Required")
        calendar = self.get(caller, calendar_id, "freeBusyReader")
        entry = self._subscriptions_of(caller).get(calendar.id)
        if entry is None or entry.deleted:
            self._subscribe(caller, calendar.id)
        return self.entry(caller, calendar.id)

    def unsubscribe(self, caller: str, calendar_id: str) -> None:
        """Take a calendar off the list. Raises ApiError 403 for one's primary calendar, 404, or 410 if it is off."""
        if calendar_id == "primary":
            calendar_id = caller
        if calendar_id == caller:
            message = "Cannot unsubscribe from one's own primary calendar."
            raise ApiError(
                403,
                "cannotChangeOwnPrimarySubscription",
                message,
                domain="calendar",
            )
        entry = self.subscriptions.get(caller, {}).get(calendar_id)
        if entry is None:
            raise not_found()
        if entry.deleted:
            raise already_deleted()
        entry.deleted = True
        entry.version = self._versions.next()

    def _subscribe(self, account: str, calendar_id: str) -> None:
        self.subscriptions.setdefault(account, {})[calendar_id] = Subscription(
            self._versions.next(),
        )

    def _render_entry(
        self,
        caller: str,
        calendar_id: str,
        entry: Subscription,
    ) -> Resource:
        head: Resource = {
            "kind": "calendar#calendarListEntry",
            "etag": f'"{entry.version}"',
            "id": calendar_id,
        }
        calendar = self.calendars.get(calendar_id)
        if entry.deleted or calendar is None:
            return {**head, "deleted": True}
        primary: Resource = {}
        if calendar.id == caller:
            primary = {"primary": True}
        return {
            **head,
            **calendar.texts,
            "timeZone": calendar.zone,
            "colorId": "1",
            "backgroundColor": "#ac725e",
            "foregroundColor": "#1d1d1d",
            "selected": True,
            "accessRole": calendar.role_of(caller),
            "defaultReminders": [],
            **primary,
            "conferenceProperties": {
                "allowedConferenceSolutionTypes": ["hangoutsMeet"],
            },
        }


def _full_id(caller: str, calendar_id: str) -> str:
    """The id of a calendar, which may be named by a word of its own."""
    if calendar_id == "primary":
        return caller
    return calendar_id


def _check_may_set(caller: str, calendar: Calendar, rule: AclRule) -> None:
    """Raises ApiError 403 for one's own rule and the data owner's."""
    if rule.id == f"user:{caller}":
        message = "Cannot change your own access level."
        raise ApiError(403, "cannotChangeOwnAcl", message, domain="calendar")
    if rule.id == f"user:{calendar.data_owner}":
        message = "Cannot change the access level of the calendar's owner."
        raise ApiError(403, "cannotChangeOwnerAcl", message, domain="calendar")


def _calendar_fields(body: Resource) -> tuple[dict[str, str], str | None]:
    texts: dict[str, str] = {}
    for name in _CALENDAR_TEXTS:
        text = _checked_text(body, name)
        if text:
            texts[name] = text
    if "summary" not in texts:
        raise required("Missing title.")
    zone = _checked_text(body, "timeZone")
    if zone is not None:
        time_zone(zone)
    return texts, zone


def _checked_text(body: Resource, name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise invalid(f"Invalid value for: {name}")


def _acl_rule(body: Resource) -> AclRule:
    scope = body.get("scope")
    role = body.get("role")
    if not isinstance(scope, dict) or "type" not in scope:
        raise required("Missing scope type.")
    if role is None:
        raise required("Missing role.")
    kind = scope["type"]
    if kind not in SCOPE_TYPES:
        raise invalid("Invalid scope type.")
    if role not in ROLES:
        raise invalid("Invalid role.")
    value = scope.get("value")
    if kind == "default":
        return _default_rule(value, role)
    if not _is_scope_value(kind, value):
        raise invalid("Invalid scope value.", reason="invalidScopeValue")
    return AclRule(kind, str(value).lower(), role)


def _is_scope_value(kind: str, value: object) -> bool:
    if kind == "domain":
        return _is_domain(value)
    return _is_mail(value)


def _default_rule(value: object, role: str) -> AclRule:
    """The rule for all users, who may read at the most."""
    if value:
        raise invalid("Invalid scope value.", reason="invalidScopeValue")
    if ROLES.index(role) > ROLES.index("reader"):
        message = "The role is not allowed for the default scope."
        raise ApiError(400, "illegalAccessRoleForDefault", message, domain="calendar")
    return AclRule("default", None, role)


def _is_mail(value: object) -> bool:
    if not isinstance(value, str):
        return False
    if value.count("@") != 1:
        return False
    if value.startswith("@"):
        return False
    return not value.endswith("@")


def _is_domain(value: object) -> bool:
    if not isinstance(value, str):
        return False
    if "." not in value:
        return False
    return "@" not in value
