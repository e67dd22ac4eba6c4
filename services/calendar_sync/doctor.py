"""Checks everything that the calendar sync relies on in Google. It writes nothing; what Google refuses is a check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from config import Settings
from services.calendar_sync.audit.findings import Finding, Kind
from services.calendar_sync.audit.reader import AuditReader
from services.calendar_sync.audit.survey import (
    Survey,
    firm_findings,
    read_survey,
    survey_findings,
)
from services.calendar_sync.employees import active_employees
from services.core.errors import BitByLawError, ConfigurationError, ForeignSystemError
from services.core.rate_limit import (
    DEFAULT_RATE,
    GOOGLE_CALENDAR,
    calls_of_last_minute,
)
from services.core.resources import Clock, Resources, system_clock
from services.espocrm_setup.webhooks import Check, Status
from services.google_calendar import SYSTEM

#: Google accepts a login that was signed a few minutes ago or ahead, and no more (RFC 7523 asks for "a few minutes").
LARGEST_SKEW = timedelta(minutes=3)
NOTICED_SKEW = timedelta(seconds=30)
CLOCK_SECONDS = 10.0
#: Of the calls that we allow ourselves in a minute.
MUCH_OF_QUOTA = 0.8

REACH_GOOGLE = (
    "See that this computer reaches Google (GOOGLE_CALENDAR_API_ENDPOINT, firewall)."
)
SET_CLOCK = "Let this computer follow a time server (timedatectl set-ntp true)."
NEW_KEY = (
    "Make a JSON key of the service account in the Google Cloud console, put it where "
    "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH says, and see that the Calendar API is enabled in its project."
)
LOOK = "Run: bitbylaw audit list-calendars"

_CALENDARS: frozenset[Kind] = frozenset(
    {
        "calendar_missing",
        "duplicate_calendar",
        "calendar_not_owned",
        "calendar_without_employee",
        "kuerzel_unclear",
    },
)
_SHARING: frozenset[Kind] = frozenset(
    {
        "missing_acl",
        "wrong_role",
        "surplus_acl",
        "acl_without_employee",
        "shared_without_employee",
    },
)
_DESCRIPTIONS: frozenset[Kind] = frozenset({"description_not_true"})


async def diagnose_google(
    settings: Settings,
    *,
    clock: Clock = system_clock,
) -> list[Check]:
    """Check account, clock, calendars, sharing, descriptions, writers and quota, in this order.

    Never raises because of a system that is away: what could not be asked is ``unchecked``.
    """
    if not settings.google_calendar.is_configured:
        fix = "Set GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH in .env, if calendars are to be synced."
        return [
            Check(
                "google account",
                "warning",
                "Google Calendar is not configured: no calendar is synced.",
                fix,
            ),
        ]
    async with Resources(settings, clock=clock) as resources:
        reader = AuditReader(resources)
        account = await _check_account(reader)
        checks = [account, await _check_clock(resources)]
        if account.status == "ok":
            checks += await _check_calendars(resources, reader)
        checks.append(await _check_quota(resources))
        return checks


async def _check_account(reader: AuditReader) -> Check:
    try:
        address = await reader.own_address()
    except ConfigurationError as error:
        return Check("google account", "failed", str(error), NEW_KEY)
    except ForeignSystemError as error:
        fix = f"{REACH_GOOGLE} Redis has to be running as well."
        return Check("google account", "unchecked", str(error), fix)
    return Check("google account", "ok", f"Google knows us as {address}.")


async def _check_clock(resources: Resources) -> Check:
    """Compare with the ``Date`` of any answer, for which no login is needed."""
    (url,) = resources.settings.google_calendar.addresses.values()
    try:
        timeout = aiohttp.ClientTimeout(total=CLOCK_SECONDS)
        async with resources.http.head(
            url,
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            now = resources.clock()
            date = answer.headers.get("Date", "")
    except (aiohttp.ClientError, TimeoutError):
        return Check(
            "google clock",
            "unchecked",
            f"{SYSTEM} cannot be reached.",
            REACH_GOOGLE,
        )
    try:
        skew = now - _aware(parsedate_to_datetime(date))
    except ValueError:
        return Check(
            "google clock",
            "unchecked",
            "The answer does not say what time it is.",
            REACH_GOOGLE,
        )
    return _judge_skew(skew)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo:
        return moment
    return moment.replace(tzinfo=UTC)


def _judge_skew(skew: timedelta) -> Check:
    seconds = round(skew.total_seconds())
    if abs(skew) > LARGEST_SKEW:
        message = f"This computer's clock differs from Google's by {seconds} s: Google refuses the login."
        return Check("google clock", "failed", message, SET_CLOCK)
    if abs(skew) > NOTICED_SKEW:
        return Check(
            "google clock",
            "warning",
            f"This computer's clock differs from Google's by {seconds} s.",
            SET_CLOCK,
        )
    return Check("google clock", "ok", "This computer's clock is Google's.")


async def _check_calendars(resources: Resources, reader: AuditReader) -> list[Check]:
    settings = resources.settings
    try:
        active = active_employees(await reader.advoware.list_mitarbeiter())
        survey = await read_survey(resources, reader, active)
    except BitByLawError as error:
        fix = "Mend that (the calendars are compared with Advoware's employees and our tables), then ask again."
        return [Check("google calendars", "unchecked", str(error), fix)]
    findings = firm_findings(survey, settings)
    for kuerzel in sorted({*survey.calendars, *survey.cached, *survey.covered}):
        findings += survey_findings(survey, settings, kuerzel)
    number = sum(len(calendars) for calendars in survey.calendars.values())
    return [
        *_of_kinds(
            "google calendars",
            findings,
            _CALENDARS,
            f"{number} calendars, one for each employee, all our own.",
        ),
        *_of_kinds(
            "google sharing",
            findings,
            _SHARING,
            "Shared as GOOGLE_CALENDAR_ACL says.",
        ),
        *_of_kinds(
            "google descriptions",
            findings,
            _DESCRIPTIONS,
            "They say what becomes of people's changes.",
        ),
        _check_writers(survey, settings),
    ]


def _of_kinds(
    name: str,
    findings: Iterable[Finding],
    kinds: frozenset[Kind],
    well: str,
) -> Sequence[Check]:
    """One line for each finding of these kinds, or that all is well."""
    checks = [
        _of_finding(name, finding) for finding in findings if finding.kind in kinds
    ]
    return checks or [Check(name, "ok", well)]


def _of_finding(name: str, finding: Finding) -> Check:
    """What the next sync mends is no failure."""
    status: Status = "warning" if finding.remedy == "next_sync" else "failed"
    fix = "The next sync mends it." if finding.remedy == "next_sync" else LOOK
    return Check(
        name,
        status,
        f"{finding.employee_kuerzel}: {finding.kind}: {finding.reason}",
        fix,
    )


def _check_writers(survey: Survey, settings: Settings) -> Check:
    """Whoever may change events while Advoware is protected works in vain."""
    if not settings.advoware.write_protection:
        return Check(
            "google writers",
            "ok",
            "Advoware may be written, so changes in Google arrive there.",
        )
    writers: list[str] = []
    for kuerzel, calendars in sorted(survey.calendars.items()):
        for calendar in calendars:
            texts = [f"{kuerzel}: {rule.text}" for rule in calendar.writers]
            writers.extend(texts)
    if not writers:
        return Check("google writers", "ok", "No one but us may change events.")
    message = f"May change events, and the sync undoes it while ADVOWARE_WRITE_PROTECTION is on: {', '.join(writers)}."
    fix = "Give them the role reader (GOOGLE_CALENDAR_ACL, or by hand in Google), or switch the protection off."
    return Check("google writers", "warning", message, fix)


async def _check_quota(resources: Resources) -> Check:
    """Our own share of the quota, as all workers book it; what Google itself counts, only its console shows."""
    try:
        used = await calls_of_last_minute(resources, GOOGLE_CALENDAR)
    except ForeignSystemError as error:
        return Check(
            "google quota",
            "unchecked",
            str(error),
            "Check the REDIS_ settings and that the server runs.",
        )
    limit = DEFAULT_RATE.per_minute
    message = (
        f"{used} of {limit} calls that we allow ourselves were made in the last minute."
    )
    if used < MUCH_OF_QUOTA * limit:
        return Check("google quota", "ok", message)
    fix = (
        "Wait a few minutes; if it stays so, see in Google's console (Calendar API, quotas) "
        "whether others use it too."
    )
    return Check("google quota", "warning", message, fix)
