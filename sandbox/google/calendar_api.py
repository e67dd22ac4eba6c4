"""The API's collections calendars, acl and calendarList."""

from __future__ import annotations

from typing import Final

from sandbox.google.api import Call, Method, Route, scopes
from sandbox.google.calendar_store import ROLES, AclRule, Calendar
from sandbox.google.errors import not_found
from sandbox.google.event import Resource, merge_patch
from sandbox.google.listing import Listing, SyncState, known_version, shows_deleted

_CALENDAR: Final = "/calendars/{calendarId}"
_ACL: Final = f"{_CALENDAR}/acl"
_RULE: Final = f"{_ACL}/{{ruleId}}"
_LIST: Final = "/users/me/calendarList"
_ENTRY: Final = f"{_LIST}/{{calendarId}}"
_PAGE: Final = 100
_MAX_PAGE: Final = 250


def routes() -> list[Route]:
    """All methods of these collections."""
    calendars = scopes("calendar", "calendar.calendars")
    read_calendar = calendars | scopes(
        "calendar.readonly",
        "calendar.calendars.readonly",
    )
    rules = scopes("calendar", "calendar.acls")
    list_rules = rules | scopes("calendar.acls.readonly")
    read_rule = list_rules | scopes("calendar.readonly")
    entries = scopes("calendar", "calendar.calendarlist")
    read_entries = entries | scopes(
        "calendar.readonly",
        "calendar.calendarlist.readonly",
    )
    return [
        Route("POST", "/calendars", _insert_calendar, calendars),
        Route("GET", _CALENDAR, _get_calendar, read_calendar),
        Route("PUT", _CALENDAR, _change_calendar(patch=False), calendars),
        Route("PATCH", _CALENDAR, _change_calendar(patch=True), calendars),
        Route("DELETE", _CALENDAR, _delete_calendar, calendars),
        Route("GET", _ACL, _list_rules, list_rules),
        Route("POST", _ACL, _insert_rule, rules),
        Route("GET", _RULE, _get_rule, read_rule),
        Route("PUT", _RULE, _change_rule(patch=False), rules),
        Route("PATCH", _RULE, _change_rule(patch=True), rules),
        Route("DELETE", _RULE, _delete_rule, rules),
        Route("GET", _LIST, _list_entries, read_entries),
        Route("POST", _LIST, _insert_entry, entries),
        Route("GET", _ENTRY, _get_entry, read_entries),
        Route("DELETE", _ENTRY, _delete_entry, entries),
    ]


# -- calendars ------------------------------------------------------------------------------------------------------


def _insert_calendar(call: Call) -> Resource:
    calendar = call.calendars.insert(call.caller, call.body)
    return calendar.render()


def _get_calendar(call: Call) -> Resource:
    resource = call.calendar("freeBusyReader").render()
    call.stop_if_known(resource["etag"])
    return resource


def _change_calendar(*, patch: bool) -> Method:
    def change(call: Call) -> Resource:
        calendar = call.calendar("owner")
        before = calendar.render()
        call.expect_etag(before["etag"])
        body = call.body
        if patch:
            body = merge_patch(before, body)
        call.world.calendars.change(calendar, body)
        return calendar.render()

    return change


def _delete_calendar(call: Call) -> None:
    calendar = call.calendar("owner")
    before = calendar.render()
    call.expect_etag(before["etag"])
    call.calendars.delete(calendar)


# -- access control lists -------------------------------------------------------------------------------------------


def _list_rules(call: Call) -> Resource:
    calendar = call.calendar("writer")

    def select(since: SyncState | None) -> list[Resource]:
        known = known_version(since)
        with_deleted = shows_deleted(call.query, since)
        shown = []
        for rule in calendar.acl.values():
            if rule.version <= known:
                continue
            if with_deleted or rule.role != "none":
                shown.append(rule.render())
        return shown

    listing = Listing(
        collection=f"acl of {calendar.id}",
        caller=call.caller,
        role=call.role_in(calendar),
        default_size=_PAGE,
        max_size=_MAX_PAGE,
    )
    page = call.page(listing, select)
    return {"kind": "calendar#acl", "etag": call.list_etag, **page}


def _insert_rule(call: Call) -> Resource:
    calendar = call.calendar("owner")
    rule = call.calendars.share(call.caller, calendar, call.body)
    return rule.render()


def _get_rule(call: Call) -> Resource:
    calendar = call.calendar("writer")
    rule = _rule(call, calendar).render()
    call.stop_if_known(rule["etag"])
    return rule


def _rule(call: Call, calendar: Calendar) -> AclRule:
    """The rule of the path. Raises ApiError 404."""
    rule_id = call.path("ruleId")
    return call.calendars.rule(calendar, rule_id)


def _change_rule(*, patch: bool) -> Method:
    def change(call: Call) -> Resource:
        calendar = call.calendar("owner")
        rule = _rule(call, calendar)
        before = rule.render()
        call.expect_etag(before["etag"])
        body = call.body
        if patch:
            body = merge_patch(before, body)
        changed = call.calendars.change_rule(call.caller, calendar, rule, body)
        return changed.render()

    return change


def _delete_rule(call: Call) -> None:
    calendar = call.calendar("owner")
    rule = _rule(call, calendar)
    if rule.role == "none":
        raise not_found()
    before = rule.render()
    call.expect_etag(before["etag"])
    call.calendars.unshare(call.caller, calendar, rule)


# -- lists of calendars ---------------------------------------------------------------------------------------------


def _list_entries(call: Call) -> Resource:
    least = call.query.choice("minAccessRole", frozenset(ROLES[1:])) or ROLES[0]
    wanted_roles = ROLES[ROLES.index(least) :]

    def select(since: SyncState | None) -> list[Resource]:
        known = known_version(since)
        with_deleted = shows_deleted(call.query, since)
        shown = []
        for resource, entry in call.calendars.entries(call.caller):
            if entry.version <= known:
                continue
            if entry.deleted and not with_deleted:
                continue
            if resource.get("accessRole", ROLES[0]) in wanted_roles:
                shown.append(resource)
        return shown

    listing = Listing(
        collection="calendars",
        caller=call.caller,
        role="owner",
        default_size=_PAGE,
        max_size=_MAX_PAGE,
        filters=frozenset({"minAccessRole", "showOwnOrganizationOnly"}),
    )
    page = call.page(listing, select)
    return {"kind": "calendar#calendarList", "etag": call.list_etag, **page}


def _insert_entry(call: Call) -> Resource:
    calendar_id = call.body.get("id")
    return call.calendars.subscribe(call.caller, calendar_id)


def _get_entry(call: Call) -> Resource:
    calendar_id = call.path("calendarId")
    resource = call.calendars.entry(call.caller, calendar_id)
    call.stop_if_known(resource["etag"])
    return resource


def _delete_entry(call: Call) -> None:
    calendar_id = call.path("calendarId")
    call.calendars.unsubscribe(call.caller, calendar_id)
