"""The calendar of an employee: its name, where it is found, how it is made, and with whom it is shared."""

from __future__ import annotations

from collections.abc import Iterable

from services.errors import Forbidden, NotFound, ValidationFailed
from services.google_calendar import GoogleCalendarAPI

CALENDAR_PREFIX = "AW-"


def calendar_name(kuerzel: str) -> str:
    """The name of an employee's calendar."""
    return f"{CALENDAR_PREFIX}{kuerzel}"


async def find_calendar(google: GoogleCalendarAPI, kuerzel: str) -> str | None:
    """The id of the employee's calendar, looked up by its name; of several the same one each time.

    Only those that we own count: anybody can give a calendar that name and share it with us.
    """
    name = calendar_name(kuerzel)
    ours = [entry for entry in await google.list_calendars() if entry.get("accessRole") == "owner"]
    return min((str(entry["id"]) for entry in ours if entry.get("summary") == name), default=None)


async def ensure_calendar(google: GoogleCalendarAPI, kuerzel: str) -> str:
    """The id of the employee's calendar, made if there is none. The caller holds the employee's lock.

    Google chooses the id, so a creation of unknown fate is not repeated: the next run finds it by its name.
    """
    return await find_calendar(google, kuerzel) or str((await google.insert_calendar(calendar_name(kuerzel)))["id"])


async def share_calendar(google: GoogleCalendarAPI, calendar_id: str, rules: Iterable[tuple[str, str]]) -> None:
    """Share the calendar by pairs of role and e-mail address; what is shared already stays.

    Raises:
        Forbidden, NotFound, ValidationFailed: Google refused some account; the others have the calendar.
    """
    refusal: Exception | None = None
    for role, email in rules:
        try:
            await google.insert_acl(calendar_id, role, email)
        except (Forbidden, NotFound, ValidationFailed) as error:
            refusal = error
    if refusal is not None:
        raise refusal
