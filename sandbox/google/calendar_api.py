"""The API's collections calendars, acl and calendarList."""

from __future__ import annotations

from typing import Final

from sandbox.google.api import Call, Method, Route, scopes
from sandbox.google.calendar_store import ROLES
from sandbox.google.errors import not_found
from sandbox.google.event import Resource, merge_patch
from sandbox.google.listing import Listing, SyncState

_CALENDAR: Final = "/calendars/{calendarId}"
_ACL: Final = f"{_CALENDAR}/acl"
_LIST: Final = "/users/me/calendarList"
_PAGE: Final = 100
_MAX_PAGE: Final = 250


def routes() -> list[Route]:
    """All methods of these collections."""
    calendars = scopes("calendar", "calendar.calendars")
    rules = scopes("calendar", "calendar.acls")
    entries = scopes("calendar", "calendar.calendarlist")
    read_entries = entries | scopes(
        "calendar.readonly", "calendar.calendarlist.readonly"
    )
    return [
        Route("POST", "/calendars", _insert_calendar, calendars),
        Route(
            "GET",
            _CALENDAR,
            _get_calendar,
            calendars | scopes("calendar.readonly", "calendar.calendars.readonly"),
        ),
        Route("PUT", _CALENDAR, _change_calendar(patch=False), calendars),
        Route("PATCH", _CALENDAR, _change_calendar(patch=True), calendars),
        Route("DELETE", _CALENDAR, _delete_calendar, calendars),
        Route("GET", _ACL, _list_rules, rules | scopes("calendar.acls.readonly")),
        Route("POST", _ACL, _insert_rule, rules),
        Route(
            "GET",
            f"{_ACL}/{{ruleId}}",
            _get_rule,
            rules | scopes("calendar.readonly", "calendar.acls.readonly"),
        ),
        Route("PUT", f"{_ACL}/{{ruleId}}", _change_rule(patch=False), rules),
        Route("PATCH", f"{_ACL}/{{ruleId}}", _change_rule(patch=True), rules),
        Route("DELETE", f"{_ACL}/{{ruleId}}", _delete_rule, rules),
        Route("GET", _LIST, _list_entries, read_entries),
        Route("POST", _LIST, _insert_entry, entries),
        Route("GET", f"{_LIST}/{{calendarId}}", _get_entry, read_entries),
        Route("DELETE", f"{_LIST}/{{calendarId}}", _delete_entry, entries),
    ]


# -- calendars ------------------------------------------------------------------------------------------------------


def _insert_calendar(call: Call) -> Resource:
    return call.world.calendars.insert(call.caller, call.body).render()


def _get_calendar(call: Call) -> Resource:
    resource = call.calendar("freeBusyReader").render()
    call.stop_if_known(resource["etag"])
    return resource


def _change_calendar(*, patch: bool) -> Method:
    def change(call: Call) -> Resource:
        calendar = call.calendar("owner")
        before = calendar.render()
        call.expect_etag(before["etag"])
        call.world.calendars.change(
            calendar, merge_patch(before, call.body) if patch else call.body
        )
        return calendar.render()

    return change


def _delete_calendar(call: Call) -> None:
    calendar = call.calendar("owner")
    call.expect_etag(calendar.render()["etag"])
    call.world.calendars.delete(calendar)


# -- access control lists -------------------------------------------------------------------------------------------


def _list_rules(call: Call) -> Resource:
    calendar = call.calendar("writer")

    def select(since: SyncState | None) -> list[Resource]:
        with_deleted = since is not None or call.query.flag("showDeleted")
        return [
            rule.render()
            for rule in calendar.acl.values()
            if rule.version > (since.version if since else 0)
            and (with_deleted or rule.role != "none")
        ]

    listing = Listing(
        f"acl of {calendar.id}",
        call.caller,
        calendar.role_of(call.caller),
        _PAGE,
        _MAX_PAGE,
    )
    page = call.world.lister.page(listing, call.query, select)
    return {"kind": "calendar#acl", "etag": f'"{call.world.versions.last}"', **page}


def _insert_rule(call: Call) -> Resource:
    calendar = call.calendar("owner")
    return call.world.calendars.share(call.caller, calendar, call.body).render()


def _get_rule(call: Call) -> Resource:
    rule = call.world.calendars.rule(call.calendar("writer"), call.path("ruleId"))
    call.stop_if_known(rule.render()["etag"])
    return rule.render()


def _change_rule(*, patch: bool) -> Method:
    def change(call: Call) -> Resource:
        calendar = call.calendar("owner")
        before = call.world.calendars.rule(calendar, call.path("ruleId"))
        call.expect_etag(before.render()["etag"])
        body = merge_patch(before.render(), call.body) if patch else call.body
        return call.world.calendars.change_rule(
            call.caller, calendar, before, body
        ).render()

    return change


def _delete_rule(call: Call) -> None:
    calendar = call.calendar("owner")
    rule = call.world.calendars.rule(calendar, call.path("ruleId"))
    if rule.role == "none":
        raise not_found()
    call.expect_etag(rule.render()["etag"])
    call.world.calendars.unshare(call.caller, calendar, rule)


# -- lists of calendars ---------------------------------------------------------------------------------------------


def _list_entries(call: Call) -> Resource:
    least = call.query.choice("minAccessRole", frozenset(ROLES[1:])) or ROLES[0]

    def select(since: SyncState | None) -> list[Resource]:
        with_deleted = since is not None or call.query.flag("showDeleted")
        return [
            resource
            for resource, entry in call.world.calendars.entries(call.caller)
            if entry.version > (since.version if since else 0)
            and (with_deleted or not entry.deleted)
            and ROLES.index(resource.get("accessRole", ROLES[0])) >= ROLES.index(least)
        ]

    filters = frozenset({"minAccessRole", "showOwnOrganizationOnly"})
    listing = Listing("calendars", call.caller, "owner", _PAGE, _MAX_PAGE, filters)
    page = call.world.lister.page(listing, call.query, select)
    return {
        "kind": "calendar#calendarList",
        "etag": f'"{call.world.versions.last}"',
        **page,
    }


def _insert_entry(call: Call) -> Resource:
    return call.world.calendars.subscribe(call.caller, call.body.get("id"))


def _get_entry(call: Call) -> Resource:
    resource = call.world.calendars.entry(call.caller, call.path("calendarId"))
    call.stop_if_known(resource["etag"])
    return resource


def _delete_entry(call: Call) -> None:
    call.world.calendars.unsubscribe(call.caller, call.path("calendarId"))
