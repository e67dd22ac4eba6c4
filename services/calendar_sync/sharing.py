"""With whom a calendar is shared: what is configured is what holds, and what people set by hand stays.

The sync remembers the rules that it has set, and changes or removes no others. A rule is remembered before it is asked
for, so that a crash in between leaves a row without ``set_at``, which the next run compares with Google.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from services.calendar_sync.provider import CalendarProvider
from services.core.database import database_errors
from services.core.errors import (
    Conflict,
    Forbidden,
    ForeignSystemError,
    NotFound,
    UnexpectedAnswer,
    ValidationFailed,
)

Json = dict[str, Any]

#: Google has answered, and the answer is no: the same request will be refused again.
REFUSALS = (Conflict, Forbidden, NotFound, ValidationFailed)


@dataclass(frozen=True)
class Rule:
    """A rule as Google has it. ``email``: lower case; empty if it is not about one account."""

    rule_id: str
    role: str
    email: str

    @property
    def text(self) -> str:
        """As in ``GOOGLE_CALENDAR_ACL``: ``role:email``; of other rules with the name of their scope."""
        return f"{self.role}:{self.email or self.rule_id}"


@dataclass(frozen=True)
class OwnRule:
    """A rule that we have set. Without ``set_at`` it was requested, and it is not known whether it came to that."""

    email: str
    rule_id: str
    role: str
    set_at: datetime | None


StepAction = Literal["revoke", "change", "grant", "confirm", "forget"]


@dataclass(frozen=True)
class Step:
    """One thing to do. ``role`` is the one that the account gets.

    ``grant`` and ``change`` write the role, ``revoke`` takes the access away; ``confirm`` (Google has the rule) and
    ``forget`` (it is no rule of the sync any more) concern our memory only. ``notify``: Google may notify the person.
    """

    action: StepAction
    email: str
    rule_id: str
    role: str
    notify: bool = False


def read_rules(resources: Iterable[object]) -> list[Rule]:
    """The rules in Google's answer, without removed ones and without what is no rule."""
    rules: list[Rule] = []
    for resource in resources:
        if isinstance(resource, dict):
            rule = _read_rule(resource)
            if rule.role not in {"", "none"}:
                rules.append(rule)
    return rules


def _read_rule(resource: Json) -> Rule:
    role = resource.get("role")
    scope = resource.get("scope")
    rule_id = str(resource.get("id") or "")
    if not isinstance(role, str):
        return Rule(rule_id, "", "")
    if not isinstance(scope, dict):
        return Rule(rule_id, role, "")
    if scope.get("type") not in ("user", "group"):
        return Rule(rule_id, role, "")
    email = str(scope.get("value") or "")
    return Rule(rule_id, role, email.lower())


def sharing_steps(
    wanted: Mapping[str, str],
    present: Sequence[Rule],
    own: Sequence[OwnRule],
) -> list[Step]:
    """What makes the sharing agree with the configuration, access that ends first.

    The rule by which our account owns the calendar was there before all others, so it is none of ``own``.

    Args:
        wanted: ``{e-mail address: role}``, addresses in lower case.
        present: what Google has.
        own: what we have set, or tried to.
    """
    ended = _steps_for_others(wanted, present, own)
    granted = _steps_for_wanted(wanted, present, own)
    return sorted([*ended, *granted], key=_urgency)


def _steps_for_others(
    wanted: Mapping[str, str],
    present: Sequence[Rule],
    own: Sequence[OwnRule],
) -> Iterator[Step]:
    """What is to be done for accounts that the configuration does not name."""
    by_id = _by_id(present)
    for mine in own:
        if mine.email not in wanted:
            yield _end(mine, by_id.get(mine.rule_id))


def _by_id(rules: Sequence[Rule]) -> dict[str, Rule]:
    return {rule.rule_id: rule for rule in rules}


def _steps_for_wanted(
    wanted: Mapping[str, str],
    present: Sequence[Rule],
    own: Sequence[OwnRule],
) -> Iterator[Step]:
    """What is to be done for accounts that the configuration names."""
    by_id = _by_id(present)
    owned = {mine.email: mine for mine in own}
    taken = {rule.email for rule in present}
    for email, role in wanted.items():
        if email in owned:
            mine = owned[email]
            yield from _keep(email, role, mine, by_id.get(mine.rule_id))
        elif email not in taken:  # one that is there already is a person's
            yield Step("grant", email, f"user:{email}", role, notify=True)


def _urgency(step: Step) -> int:
    """Access that ends comes first, then access that is changed."""
    if step.action == "revoke":
        return 0
    if step.action == "change":
        return 1
    return 2


def _end(mine: OwnRule, there: Rule | None) -> Step:
    """The configuration does not name the account any more. Who has changed the role by hand has taken it over."""
    action: StepAction = "forget"
    if there is not None and (mine.set_at is None or there.role == mine.role):
        action = "revoke"
    return Step(action, mine.email, mine.rule_id, mine.role)


def _keep(email: str, role: str, mine: OwnRule, there: Rule | None) -> Iterator[Step]:
    """What is to be done for an account that the configuration names; nothing if all is as it should be."""
    if there is None:
        # Removed by hand, or never set. Only who never got it has not been notified yet.
        is_new = mine.set_at is None
        yield Step("grant", email, mine.rule_id, role, notify=is_new)
    elif there.role != role:
        yield Step("change", email, there.rule_id, role)
    elif mine.set_at is None or mine.role != role:
        yield Step("confirm", email, there.rule_id, role)


class SharingStore:
    """Reads and writes the rules that the sync has set. All methods raise `Unavailable` without PostgreSQL."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def rules(self, calendar_id: str) -> list[OwnRule]:
        """The rules of a calendar that we have set, by address."""
        async with database_errors():
            rows = await self._pool.fetch(
                "SELECT email, rule_id, role, set_at FROM calendar_sync_sharing WHERE calendar_id = $1 ORDER BY email",
                calendar_id,
            )
        return [OwnRule(**row) for row in rows]

    async def save(self, calendar_id: str, rule: OwnRule) -> None:
        """Remember a rule, instead of an earlier one for that account."""
        async with database_errors():
            await self._pool.execute(
                """
                INSERT INTO calendar_sync_sharing (calendar_id, email, rule_id, role, set_at)
                VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (calendar_id, email) DO UPDATE SET
                    rule_id = excluded.rule_id, role = excluded.role, set_at = excluded.set_at
                """,
                calendar_id,
                rule.email,
                rule.rule_id,
                rule.role,
                rule.set_at,
            )

    async def forget(self, calendar_id: str, email: str) -> None:
        """No rule for that account is the sync's any more."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM calendar_sync_sharing WHERE calendar_id = $1 AND email = $2",
                calendar_id,
                email,
            )


class Sharing:
    """Applies the steps to one calendar. The caller holds the employee's lock."""

    def __init__(
        self,
        google: CalendarProvider,
        store: SharingStore,
        calendar_id: str,
        now: datetime,
    ) -> None:
        self._google = google
        self._store = store
        self._calendar_id = calendar_id
        self._now = now

    async def apply(self, step: Step, before: OwnRule | None) -> None:
        """Do it. ``before``: what we remembered of the account until now.

        Raises:
            ForeignSystemError: Google refuses, or is away; what is remembered is then true, or says that it is unknown.
        """
        if step.action == "forget":
            await self._store.forget(self._calendar_id, step.email)
        elif step.action == "confirm":
            await self._remember(step, step.rule_id)
        elif step.action == "revoke":
            await self._revoke(step)
        else:
            await self._write(step, before)

    async def _revoke(self, step: Step) -> None:
        with suppress(NotFound):  # an earlier attempt, or a person, was faster
            await self._google.delete_acl(self._calendar_id, step.rule_id)
        await self._store.forget(self._calendar_id, step.email)

    async def _write(self, step: Step, before: OwnRule | None) -> None:
        # One that was removed by hand counts as set, so that no attempt to set it again writes the person an e-mail.
        set_at = (
            before.set_at if before is not None and step.action == "grant" else None
        )
        await self._store.save(
            self._calendar_id,
            OwnRule(step.email, step.rule_id, step.role, set_at),
        )
        try:
            if step.action == "grant":
                answer = await self._google.insert_acl(
                    self._calendar_id,
                    step.role,
                    step.email,
                    notify=step.notify,
                )
            else:
                answer = await self._google.patch_acl(
                    self._calendar_id,
                    step.rule_id,
                    step.role,
                )
        except REFUSALS:
            await self._take_back(step, before)
            raise
        await self._remember(step, str(answer.get("id") or step.rule_id))

    async def _take_back(self, step: Step, before: OwnRule | None) -> None:
        """Nothing was written: what people set for that account from now on stays."""
        if before is None:
            await self._store.forget(self._calendar_id, step.email)
        else:
            await self._store.save(self._calendar_id, before)

    async def _remember(self, step: Step, rule_id: str) -> None:
        await self._store.save(
            self._calendar_id,
            OwnRule(step.email, rule_id, step.role, self._now),
        )


def is_final(error: ForeignSystemError) -> bool:
    """Whether trying again soon is of no use."""
    return isinstance(error, (*REFUSALS, UnexpectedAnswer))
