"""The calendars in Google, compared with employees, configuration and what we remember. It writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config import Settings
from services.calendar_sync.audit.findings import Finding, Kind, Remedy
from services.calendar_sync.audit.reader import AuditReader
from services.calendar_sync.calendars import (
    CALENDAR_PREFIX,
    calendar_description,
    calendar_name,
    is_description,
    is_own_description,
)
from services.calendar_sync.employees import EmployeeStore, Renames, find_renames
from services.calendar_sync.sharing import (
    OwnRule,
    Rule,
    SharingStore,
    Step,
    read_rules,
    sharing_steps,
)
from services.core.resources import Resources

Json = dict[str, Any]

WRITERS = frozenset({"writer", "writerWithoutPrivateAccess", "owner"})
_NO_EMPLOYEE = (
    "no active employee has this Kürzel, so its texts stay as they were; if he has left, end the sharing and delete "
    "the calendar when no one needs it; if he is still there, correct Advoware's list"
)
_STILL_SHARED = "the calendar of a person who is no active employee is still shared with {}; end that in Google"
_BY_HAND = (
    "{} by hand, and GOOGLE_CALENDAR_ACL says {}; change it in Google, or the setting"
)


@dataclass(frozen=True)
class SharedCalendar:
    """A calendar of the sync in our account's list. Only of one that we own the rules can be read."""

    kuerzel: str
    calendar_id: str
    entry: Json
    account: str  #: our address
    rules: Sequence[Rule] = ()
    own: Sequence[OwnRule] = ()

    @property
    def is_owned(self) -> bool:
        """Whether our account owns it."""
        return self.entry.get("accessRole") == "owner"

    @property
    def others(self) -> list[Rule]:
        """The rules of all but our account."""
        return [rule for rule in self.rules if rule.email != self.account]

    @property
    def by_hand(self) -> list[Rule]:
        """The rules that people have set."""
        own_ids = {rule.rule_id for rule in self.own}
        return [rule for rule in self.others if rule.rule_id not in own_ids]

    @property
    def writers(self) -> list[Rule]:
        """Who besides our account may change events."""
        return [rule for rule in self.others if rule.role in WRITERS]


@dataclass(frozen=True)
class Survey:
    """What was read.

    Attributes:
        active: ``{Kürzel: name}`` of the active employees.
        covered: those of them whom the sync covers.
        cached: ``{Kürzel: id}`` of the calendars that the sync remembers.
        calendars: by the Kürzel in their name, or that remembers them.
        renames: who has another Kürzel now, as far as the next run has not followed yet.
    """

    active: Mapping[str, str]
    covered: Collection[str]
    cached: Mapping[str, str]
    calendars: Mapping[str, Sequence[SharedCalendar]]
    renames: Renames

    @property
    def followed(self) -> dict[str, str]:
        """``{Kürzel: the new one}`` of those whom the next sync of all follows."""
        moves: dict[str, str] = {}
        for chain in self.renames.chains:
            moves.update(chain)
        return moves

    def used(self, kuerzel: str) -> str | None:
        """The calendar that the sync of an employee uses, or would use."""
        if kuerzel in self.cached:
            return self.cached[kuerzel]
        for calendar in self.calendars.get(kuerzel, ()):
            if calendar.is_owned:
                return calendar.calendar_id
        return None


async def read_survey(
    resources: Resources,
    reader: AuditReader,
    active: Mapping[str, str],
) -> Survey:
    """Read calendars, their sharing and what we remember.

    Raises:
        ForeignSystemError, ConfigurationError: Google or PostgreSQL does not answer.
    """
    pool = await resources.database()
    cached = await _remembered_calendars(reader)
    employees = EmployeeStore(pool)
    known = await employees.known()
    renames = find_renames(known, active, await employees.occupied())
    calendars: dict[str, list[SharedCalendar]] = {}
    sharing = SharingStore(pool)
    entries = await reader.google.list_calendars()
    for kuerzel, entry in _of_the_sync(entries, cached):
        calendar = await _read_calendar(reader, sharing, kuerzel, entry)
        calendars.setdefault(kuerzel, []).append(calendar)
    for found in calendars.values():
        found.sort(key=lambda calendar: calendar.calendar_id)
    covered = frozenset(active)
    only = resources.settings.calendar_sync.only_kuerzel
    if only:
        covered &= only
    return Survey(active, covered, cached, calendars, renames)


async def _remembered_calendars(reader: AuditReader) -> dict[str, str]:
    """``{Kürzel: calendar id}`` of those whose calendar the sync remembers."""
    store = await reader.store()
    cached = {}
    for cursor in await store.load_cursors():
        if cursor.calendar_id:
            cached[cursor.employee_kuerzel] = cursor.calendar_id
    return cached


def _of_the_sync(
    entries: Iterable[Json],
    cached: Mapping[str, str],
) -> list[tuple[str, Json]]:
    """The calendars that the sync remembers (whatever people call them now), and those named as it names them."""
    by_id = {calendar_id: kuerzel for kuerzel, calendar_id in cached.items()}
    found: list[tuple[str, Json]] = []
    for entry in entries:
        name = str(entry.get("summary") or "")
        remembered_for = by_id.get(str(entry["id"]))
        if remembered_for is not None:
            found.append((remembered_for, entry))
        elif name.startswith(CALENDAR_PREFIX):
            found.append((name.removeprefix(CALENDAR_PREFIX), entry))
    return found


async def _read_calendar(
    reader: AuditReader,
    store: SharingStore,
    kuerzel: str,
    entry: Json,
) -> SharedCalendar:
    calendar_id = str(entry["id"])
    account = await reader.own_address()
    if entry.get("accessRole") != "owner":
        return SharedCalendar(kuerzel, calendar_id, entry, account)
    rules = read_rules(await reader.google.list_acl(calendar_id))
    return SharedCalendar(
        kuerzel,
        calendar_id,
        entry,
        account,
        rules,
        await store.rules(calendar_id),
    )


# -- what is not in order -------------------------------------------------------------------------------------------


def survey_findings(survey: Survey, settings: Settings, kuerzel: str) -> list[Finding]:
    """What is not in order with one employee's calendars."""
    findings = _of_calendars(survey, kuerzel)
    used = survey.used(kuerzel)
    for calendar in survey.calendars.get(kuerzel, ()):
        if kuerzel in survey.followed:
            continue
        if kuerzel not in survey.active:
            findings += _of_former_employee(calendar)
        elif calendar.calendar_id == used and calendar.is_owned:
            findings += _of_sharing(calendar, settings)
            findings += _of_description(calendar, settings)
    return findings


def firm_findings(survey: Survey, settings: Settings) -> list[Finding]:
    """What is not in order with no calendar in particular."""
    findings: list[Finding] = []
    for kuerzel, reason in sorted(survey.renames.unclear.items()):
        reason = (
            f"{reason}; nothing was moved, look which calendar shows whose appointments"
        )
        findings.append(_of_kuerzel("kuerzel_unclear", reason, kuerzel))
    named = {
        rule.kuerzel for rule in settings.google_calendar.sharing_rules if rule.kuerzel
    }
    for kuerzel in sorted(named - survey.active.keys()):
        reason = "GOOGLE_CALENDAR_ACL names a Kürzel that no active employee has; write it as Advoware does"
        findings.append(_of_kuerzel("acl_without_employee", reason, kuerzel))
    return findings


def _of_calendars(survey: Survey, kuerzel: str) -> list[Finding]:
    findings = [
        *_missing_calendar(survey, kuerzel),
        *_without_employee(survey, kuerzel),
    ]
    calendars = survey.calendars.get(kuerzel, ())
    used = survey.used(kuerzel)
    for calendar in calendars:
        if not calendar.is_owned:
            role = calendar.entry.get("accessRole")
            reason = f"our account is {role} and not owner: another person's calendar"
            findings.append(_of(calendar, "calendar_not_owned", reason, "person"))
        elif calendar.calendar_id != used:
            reason = f"there are {len(calendars)} calendars of this name, and the sync does not use this one"
            findings.append(_of(calendar, "duplicate_calendar", reason, "person"))
    return findings


def _missing_calendar(survey: Survey, kuerzel: str) -> Iterator[Finding]:
    cached = survey.cached.get(kuerzel)
    calendars = survey.calendars.get(kuerzel, ())
    listed = [calendar.calendar_id for calendar in calendars]
    if cached and cached not in listed:
        reason = "the remembered calendar is not in the account's list; the next sync makes a new one"
        yield _finding("calendar_missing", reason, "next_sync", kuerzel, cached)
    elif survey.used(kuerzel) is None and kuerzel in survey.covered:
        reason = "there is none yet"
        yield _finding("calendar_missing", reason, "next_sync", kuerzel, None)


def _without_employee(survey: Survey, kuerzel: str) -> Iterator[Finding]:
    kind: Kind = "calendar_without_employee"
    used = survey.used(kuerzel)
    calendars = survey.calendars.get(kuerzel, ())
    if kuerzel in survey.followed:
        reason = f"called {survey.followed[kuerzel]} in Advoware now; the next sync of all follows"
        yield _finding(kind, reason, "next_sync", kuerzel, used)
    elif calendars and kuerzel not in survey.active:
        calendar_id = used or calendars[0].calendar_id
        yield _finding(kind, _NO_EMPLOYEE, "person", kuerzel, calendar_id)


def _of_former_employee(calendar: SharedCalendar) -> list[Finding]:
    findings: list[Finding] = []
    for rule in calendar.others:
        reason = _STILL_SHARED.format(rule.text)
        findings.append(_of(calendar, "shared_without_employee", reason, "person"))
    return findings


def _of_sharing(calendar: SharedCalendar, settings: Settings) -> list[Finding]:
    wanted = settings.google_calendar.sharing_of(calendar.kuerzel)
    findings: list[Finding] = []
    for step in sharing_steps(wanted, calendar.rules, calendar.own):
        if step.action in {"grant", "change", "revoke"}:
            findings.append(_of_step(calendar, step))
    for rule in calendar.by_hand:
        role = wanted.get(rule.email, rule.role)
        if role == rule.role:
            continue
        reason = _BY_HAND.format(rule.text, role)
        findings.append(_of(calendar, "wrong_role", reason, "person"))
    return findings


def _of_step(calendar: SharedCalendar, step: Step) -> Finding:
    kinds: dict[str, tuple[Kind, str]] = {
        "grant": ("missing_acl", f"not shared with {step.role}:{step.email}"),
        "change": (
            "wrong_role",
            f"we have given {step.email} another role than {step.role}",
        ),
        "revoke": (
            "surplus_acl",
            f"{step.role}:{step.email} was set by the sync and is no longer in GOOGLE_CALENDAR_ACL",
        ),
    }
    kind, reason = kinds[step.action]
    return _of(calendar, kind, reason, "next_sync")


def _of_description(calendar: SharedCalendar, settings: Settings) -> list[Finding]:
    present = calendar.entry.get("description")
    if is_description(present, calendar_description(settings)):
        return []
    if is_own_description(present):
        reason = "does not say what becomes of people's changes"
        return [_of(calendar, "description_not_true", reason, "next_sync")]
    reason = "was written by a person and does not say what becomes of changes; empty it, and the sync writes its own"
    return [_of(calendar, "description_not_true", reason, "person")]


def _of_kuerzel(kind: Kind, reason: str, kuerzel: str) -> Finding:
    return _finding(kind, reason, "person", kuerzel, None)


def _of(calendar: SharedCalendar, kind: Kind, reason: str, remedy: Remedy) -> Finding:
    return _finding(kind, reason, remedy, calendar.kuerzel, calendar.calendar_id)


def _finding(
    kind: Kind,
    reason: str,
    remedy: Remedy,
    kuerzel: str,
    calendar_id: str | None,
) -> Finding:
    return Finding(
        kind=kind,
        reason=reason,
        remedy=remedy,
        employee_kuerzel=kuerzel,
        calendar_id=calendar_id,
    )


def calendar_row(survey: Survey, calendar: SharedCalendar) -> Json:
    """A calendar as ``list-calendars`` shows it."""
    return {
        "employee_kuerzel": calendar.kuerzel,
        "name": str(calendar.entry.get("summary") or calendar_name(calendar.kuerzel)),
        "calendar_id": calendar.calendar_id,
        "is_employee": calendar.kuerzel in survey.active,
        "cached": survey.cached.get(calendar.kuerzel) == calendar.calendar_id,
        "sharing": [rule.text for rule in calendar.rules],
        "by_hand": [rule.text for rule in calendar.by_hand],
    }
