"""Notifying users of what only they can do: a Task in EspoCRM with instructions, and a note in the record's stream.

Users are notified of a problem once. The row in ``notification`` is written before the Task is requested, and the Task
carries a mark; so after a crash or a lost answer the Task is looked for before it is requested again. What happens when
a known problem comes in again:

- the same occurrence (same details): nothing, whatever became of the Task: users may close it without doing it;
- a new occurrence (other details), the Task still open: its text is brought up to date;
- a new occurrence, the Task completed, cancelled or deleted, or the problem was over meanwhile: a new Task.

A Task is true for as long as it is open. Whoever notifies of problems of a record also says when they are over:

- `settle(entity_type, ids, kinds, standing, why)`: a sync that knows all problems of some records that still stand. All
  others of these kinds (the beginnings of their keys) are over. Only kinds that the caller itself notifies of belong
  there, and only records whose sync came to its end.
- `withdraw(keys, why)`: these problems are over.

That is remembered at once. The Task is set to Canceled with the line "Erledigt: <why>"; while EspoCRM is away, the cron
does it later (`retry_unfinished`). A Task that a user has closed is left alone.

Many at once become one Task with a list, for each reason whose ``<reason>_many`` is in the catalogue: `notify_many`
for what one run has found; and what comes in one by one (a mass deletion) waits for the cron after the first.

With `EspoWrites`, Tasks and notes are collected and written together with what the sync has to write; the row is
written at once all the same.

The Task goes to the user assigned to the record, with the record's teams. Both are remembered together with the name
(`remember_responsible`, to be called with each CBeteiligte that a sync has read), so that a deletion reaches the same
users.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import asyncpg

from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    Forbidden,
    ForeignSystemError,
    NotFound,
    Unavailable,
    ValidationFailed,
    shown_text,
    without_quotes,
)
from services.core.foreign_text import clean_value
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.values.espocrm_query import RecordWrite
from services.values.merge import without
from services.vmh_sync.espocrm_writes import Collected, EspoWrites
from services.vmh_sync.notification.store import (
    NotificationStore,
    Responsible,
    fingerprint_of,
    is_same_occurrence,
    problem_of,
    responsible_of,
)
from services.vmh_sync.notification.texts import (
    task_description,
    task_title,
    text_of_problem,
    withdrawn_description,
)
from services.vmh_sync.problem_texts import CATALOGUE
from services.vmh_sync.result import ActionType, Details, Problem, RecordLine

CLOSED = frozenset({"Completed", "Canceled"})
RETRIES_PER_RUN = 50
#: EspoCRM may still do what it was asked for so long after we have given the request up.
LATE = timedelta(seconds=10)
#: Problems that may become a list cost no request each.
LISTED_PER_RUN = 500
#: So many new problems of one reason get Tasks of their own; more become a list.
SINGLE_TASKS = 1
#: For so long after one problem the next ones of the same reason wait for the cron, which may make a list of them.
LIST_WINDOW = timedelta(minutes=10)
RECORD_GONE = "Der Eintrag, um den es ging, wurde in EspoCRM gelöscht."

Record = dict[str, Any]
#: A problem and who looks after its record.
Assigned = tuple[Problem, Responsible]


class NotificationManager:
    """Creates Tasks for users. ``context`` is the step's FlowContext or None.

    No method raises because a user could not be notified: that is logged, and tried again when the problem comes in the
    next time or by `retry_unfinished`.
    """

    def __init__(
        self,
        espocrm_api: EspoCRMAPI,
        context: Any = None,
        *,
        resources: Resources | None = None,
        writes: EspoWrites | None = None,
    ) -> None:
        self._espocrm = espocrm_api
        self._writes = writes
        self._just_read: dict[tuple[str, str], Responsible] = {}
        self._context = context
        self._resources = resources or current_resources()

    async def notify_manual_action_required(
        self,
        entity_type: str,
        entity_id: str,
        action_type: ActionType,
        details: Mapping[str, Any],
    ) -> str | None:
        """Notify that a record needs a user, once per record and action type; see `notify`.

        ``details`` are in the stored form of `services.vmh_sync.result.Details`.
        """
        key = f"{action_type}:{entity_type}:{entity_id}"
        stored = Details.from_json(details)
        problem = Problem(
            action_type,
            entity_type,
            entity_id,
            key,
            stored,
        )
        return await self.notify(problem)

    async def notify(self, problem: Problem) -> str | None:
        """Notify of a problem. Returns the id of its Task, None if there is none yet or it is collected."""
        try:
            return await self._notify(_as_stored(problem), await self._store())
        except BitByLawError as error:
            self._log_failure(problem, error)
            return None

    async def require_known(self, problem: Problem) -> None:
        """Make sure that a problem is remembered, of which its record gives no further occasion to notify.

        Raises:
            Unavailable: it is not, because PostgreSQL takes no rows: the sync has to try again.
        """
        if await (await self._store()).unknown([problem]):
            raise Unavailable("PostgreSQL", "a problem could not be remembered")

    async def notify_many(self, problems: Iterable[Problem]) -> None:
        """Notify of what one run has found: one Task with a list for each reason of which there are many new ones."""
        found = [_as_stored(problem) for problem in problems]
        try:
            store = await self._store()
            fresh = await store.unknown(list(filter(_heading_reason, found)))
            listed = await self._notify_lists(fresh, store)
        except BitByLawError as error:
            self._log("notification.list_failed", error)
            listed = set()
        for problem in found:
            if problem.key not in listed:
                await self.notify(problem)

    async def settle(
        self,
        entity_type: str,
        entity_ids: Collection[str],
        kinds: Collection[str],
        standing: Collection[str],
        why: str,
    ) -> None:
        """End all problems of these records whose key begins with one of ``kinds`` and is not among ``standing``."""
        try:
            store = await self._store()
            rows = await store.end_others(
                entity_type,
                entity_ids,
                kinds,
                standing,
                why,
                self._resources.now(),
            )
            await self._withdraw_all(rows, store)
        except ConfigurationError:
            raise
        except BitByLawError as error:
            self._log("notification.settle_failed", error)

    async def withdraw(self, keys: Collection[str], why: str) -> None:
        """End these problems: their open Tasks are cancelled with the reason, which is one German sentence."""
        try:
            store = await self._store()
            await self._withdraw_all(
                await store.end(keys, why, self._resources.now()),
                store,
            )
        except ConfigurationError:
            raise
        except BitByLawError as error:
            self._log("notification.withdraw_failed", error)

    async def remember_responsible(
        self,
        entity_type: str,
        record: Mapping[str, Any],
    ) -> None:
        """Remember who looks after a record that was just read in full, for the time when it is gone."""
        entity_id = str(record["id"])
        responsible = responsible_of(record)
        self._just_read[entity_type, entity_id] = responsible
        try:
            store = await self._store()
            await store.remember(entity_type, entity_id, responsible)
        except ConfigurationError:
            raise
        except BitByLawError as error:
            self._log("notification.responsible_not_remembered", error)

    async def remembered_name(self, entity_type: str, entity_id: str) -> str | None:
        """The name of the person or firm that a record was last read with.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        store = await self._store()
        responsible = await store.responsible(entity_type, entity_id)
        return responsible.name

    async def retry_unfinished(self) -> int:
        """Notify of problems that have no Task yet, and cancel those of problems that are over; for the cron.

        A problem whose record is gone is over, unless it is about the deletion. Returns how many have a Task now.
        """
        try:
            store = await self._store()
            await self._withdraw_all(await store.to_withdraw(RETRIES_PER_RUN), store)
            await store.finish_lists()
            rows = await store.unfinished(self._settled_before(), LISTED_PER_RUN)
            problems = list(map(problem_of, rows))
            listed = await self._notify_lists(
                list(filter(_heading_reason, problems)),
                store,
            )
            single = [problem for problem in problems if problem.key not in listed]
            created = await self._notify_single(single[:RETRIES_PER_RUN], store)
        except BitByLawError as error:
            self._log("notification.retry_failed", error)
            return 0
        return len(listed) + created

    async def _notify_single(
        self,
        problems: Sequence[Problem],
        store: NotificationStore,
    ) -> int:
        """Notify of those of the problems that still stand; how many have a Task now."""
        created = 0
        for problem in problems:
            if not await self._stands(problem, store):
                continue
            if await self.notify(problem) is not None:
                created += 1
        return created

    # -- one problem ----------------------------------------------------------------------------------------------

    async def _notify(self, problem: Problem, store: NotificationStore) -> str | None:
        row, is_new = await store.begin(problem, self._resources.now())
        if row is None:
            return None  # another worker has just begun with it
        if row["over_since"] is not None:
            return await self._notify_again(problem, row, store)
        if is_new and await self._waits_for_list(problem, store):
            return None
        if row["task_id"] is not None:
            return await self._notify_known(problem, row, store)
        is_collected = self._is_collected(problem)
        if is_new or is_collected:
            return await self._create(problem, row, store)
        return await self._repeat_request(problem, row, store)

    def _is_collected(self, problem: Problem) -> bool:
        return self._writes is not None and self._writes.holds(problem.key)

    async def _repeat_request(
        self,
        problem: Problem,
        row: asyncpg.Record,
        store: NotificationStore,
    ) -> str | None:
        """Request the Task of a problem again, if an earlier request has ended without leaving one."""
        if row["list_key"] is not None:
            return None  # the Task of its list is requested soon
        if row["attempted_at"] >= self._settled_before():
            return None  # the earlier request may still be under way
        task_id = await self._find(_mark(row))
        if task_id is not None:
            await store.finish(problem, row["fingerprint"], task_id)
            return await self._notify(problem, store)
        attempted_at = self._resources.now()
        if not await store.note_attempt(problem, attempted_at, row["attempted_at"]):
            return None  # another worker has just begun with it
        return await self._create(problem, row, store, attempted_at)

    async def _notify_known(
        self,
        problem: Problem,
        row: asyncpg.Record,
        store: NotificationStore,
    ) -> str | None:
        """Bring the Task of a known problem up to date, or create another one if that is closed."""
        task_id = str(row["task_id"])
        if is_same_occurrence(problem, row):
            return task_id
        if row["list_key"] is None and await self._update_open_task(
            row["task_id"],
            problem,
            row,
            store,
        ):
            return task_id
        return await self._create_again(problem, store)

    async def _create_again(
        self,
        problem: Problem,
        store: NotificationStore,
    ) -> str | None:
        """Create a Task for a new occurrence of a problem."""
        row = await store.begin_again(problem, self._resources.now())
        return await self._create(problem, row, store)

    async def _notify_again(
        self,
        problem: Problem,
        row: asyncpg.Record,
        store: NotificationStore,
    ) -> str | None:
        """Notify of a problem that was over: its Task stays if it has not been cancelled or closed yet."""
        if self._writes is not None:
            self._writes.discard(_over_key(problem.key))
        if row["withdrawn_at"] is not None or row["list_key"] is not None:
            return await self._create_again(problem, store)
        if row["task_id"] is None:
            await store.not_over(problem.key)
            return await self._notify(problem, store)
        if await self._update_open_task(row["task_id"], problem, row, store):
            await store.not_over(problem.key)
            return str(row["task_id"])
        return await self._create_again(problem, store)

    async def _stands(self, problem: Problem, store: NotificationStore) -> bool:
        """Whether the record that a problem is about is still there; if not, the problem is over."""
        if text_of_problem(problem).outlives_record:
            return True
        try:
            await self._espocrm.get_entity(problem.entity_type, problem.entity_id)
        except NotFound:
            await self._withdraw_all(
                await store.end([problem.key], RECORD_GONE, self._resources.now()),
                store,
            )
            return False
        except (Unavailable, ConfigurationError):
            raise  # so will be the others
        except BitByLawError as error:
            self._log_failure(problem, error)
            await store.note_attempt(
                problem,
                self._resources.now(),
            )  # it must not keep the others waiting
            return False
        return True

    def _settled_before(self) -> datetime:
        """Attempts made before this moment have certainly come to an end."""
        timeout = self._resources.settings.espocrm.api_timeout_seconds
        return self._resources.now() - timedelta(seconds=timeout) - LATE

    # -- many at once ---------------------------------------------------------------------------------------------

    async def _waits_for_list(self, problem: Problem, store: NotificationStore) -> bool:
        if _heading_reason(problem) is None:
            return False
        return await store.has_recent(problem, self._resources.now() - LIST_WINDOW)

    async def _notify_lists(
        self,
        problems: Sequence[Problem],
        store: NotificationStore,
    ) -> set[str]:
        """Notify of the problems of which there are many by one Task per reason and user; returns their keys."""
        listed: set[str] = set()
        for members in await _by_reason_and_user(problems, store):
            if len(members) > SINGLE_TASKS:
                await self._notify_list(members, store)
                listed.update(problem.key for problem, _ in members)
        if listed:
            await store.finish_lists()
        return listed

    async def _notify_list(
        self,
        members: Sequence[Assigned],
        store: NotificationStore,
    ) -> None:
        """Create the one Task of these problems."""
        heading = _heading([_named(*member) for member in members])
        problems = [problem for problem, _ in members]
        row = await store.begin_list(heading, problems, self._resources.now())
        if row is None:
            return
        try:
            await self._create(heading, row, store)
        except BitByLawError as error:  # the cron tries again
            self._log_failure(heading, error)

    # -- problems that are over -----------------------------------------------------------------------------------

    async def _withdraw_all(
        self,
        rows: Iterable[asyncpg.Record],
        store: NotificationStore,
    ) -> None:
        for row in rows:
            try:
                await self._withdraw(row, store)
            except ConfigurationError:
                raise
            except BitByLawError as error:
                self._log_failure(problem_of(row), error)

    async def _withdraw(self, row: asyncpg.Record, store: NotificationStore) -> None:
        if row["list_key"] is not None:
            await self._withdraw_listed(row, store)
            return
        task_id = row["task_id"]
        if task_id is None:
            if row["attempted_at"] >= self._settled_before():
                return  # the request may still be under way; the cron looks again
            task_id = await self._find(_mark(row))

        async def done() -> None:
            await store.withdrawn(row, self._resources.now())

        await self._cancel(task_id, problem_of(row), row["over_why"], done)

    async def _withdraw_listed(
        self,
        row: asyncpg.Record,
        store: NotificationStore,
    ) -> None:
        """Take all members whose problem is over off their list; a list without members is over itself."""
        list_row = await store.row(row["list_key"])
        members = await store.members(row["list_key"])
        over = list(filter(_is_to_withdraw, members))
        is_member = row["problem_key"] in {member["problem_key"] for member in over}
        if list_row is None or not is_member:
            return

        async def done() -> None:
            for member in over:
                await store.withdrawn(member, self._resources.now())

        shorter = _without_those_over(problem_of(list_row), members)
        task_id = list_row["task_id"]
        if task_id is None:
            if list_row["attempted_at"] >= self._settled_before():
                return  # the request may still be under way; the cron looks again
            task_id = await self._find(_mark(list_row))
        if not shorter.details.records:
            await store.end([shorter.key], row["over_why"], self._resources.now())
            await self._cancel(task_id, shorter, row["over_why"], done)
            return
        await self._shorten_list(task_id, shorter, list_row, store, done)

    async def _shorten_list(
        self,
        task_id: str | None,
        shorter: Problem,
        list_row: asyncpg.Record,
        store: NotificationStore,
        done: Callable[[], Awaitable[None]],
    ) -> None:
        """Bring a list's Task up to date when some of its members are over, and do what follows."""
        if task_id is None:  # not requested yet: it will not name those who have left
            await store.note_attempt(shorter, self._resources.now())
            await done()
            return
        if not await self._update_open_task(
            task_id,
            shorter,
            list_row,
            store,
            done,
        ):
            await done()

    async def _cancel(
        self,
        task_id: str | None,
        problem: Problem,
        why: str,
        done: Callable[[], Awaitable[None]],
    ) -> None:
        """Cancel the Task of a problem that is over, if it is open."""
        if task_id is None:
            await done()
            return
        changes = await self._cancellation(task_id, why)
        if not changes:
            await done()
            return
        await self._change_task(
            task_id,
            changes,
            problem,
            _over_key(problem.key),
            done,
        )

    async def _cancellation(self, task_id: str, why: str) -> Record:
        """What cancels a Task; nothing if it is closed or gone."""
        try:
            task = await self._espocrm.get_entity("Task", task_id)
        except NotFound:
            return {}
        if task.get("status") in CLOSED:
            return {}
        text = withdrawn_description(str(task.get("description") or ""), why)
        return {"status": "Canceled", "description": text}

    async def _change_task(
        self,
        task_id: str,
        changes: Record,
        problem: Problem,
        key: str,
        done: Callable[[], Awaitable[None]],
    ) -> None:
        """Change a Task, collected if there is something to collect it with; one that has gone meanwhile is done."""

        async def then(_records: list[Record]) -> None:
            await done()

        async def alone(_refusal: ForeignSystemError | None) -> None:
            with suppress(NotFound):
                await self._update_task(task_id, changes)
            await done()

        if self._writes is None:
            await alone(None)
            return
        failed = partial(self._failed, problem)
        await self._writes.add(
            Collected(
                [RecordWrite("Task", task_id, changes)],
                then,
                alone,
                failed,
                key=key,
            ),
        )

    async def _failed(self, problem: Problem, error: Exception) -> None:
        if not isinstance(error, BitByLawError):
            raise error
        self._log_failure(problem, error)

    # -- the Task -------------------------------------------------------------------------------------------------

    async def _create(
        self,
        problem: Problem,
        row: asyncpg.Record,
        store: NotificationStore,
        attempted_at: datetime | None = None,
    ) -> str | None:
        """Create the Task; None if it is collected. ``attempted_at``: the latest attempt if it is not the row's."""
        responsible = await self._responsible(
            problem.entity_type,
            problem.entity_id,
            store,
        )
        named = _named(problem, responsible)
        mark = _mark(row)
        task_id: str | None = await self._from_before_restore(mark, store)
        if task_id is not None:
            await store.finish(problem, fingerprint_of(problem), task_id)
            return task_id
        known: datetime = attempted_at or row["attempted_at"]

        async def alone(_refusal: ForeignSystemError | None) -> None:
            nonlocal task_id
            task_id = await self._create_task(named, mark, responsible)
            await store.finish(problem, fingerprint_of(problem), task_id)
            if not _is_list(problem):
                await self._write_note(named, task_id)

        async def then(records: list[Record]) -> None:
            await store.finish(problem, fingerprint_of(problem), str(records[0]["id"]))

        async def still() -> bool:
            nonlocal known
            before = known
            known = self._resources.now()
            return await store.note_attempt(problem, known, before)

        if self._writes is None or _is_list(problem):  # a list needs the id of its Task
            await alone(None)
            return task_id
        writes = await self._task_and_note(named, mark, responsible)
        failed = partial(self._failed, problem)
        await self._writes.add(
            Collected(
                writes,
                then,
                alone,
                failed,
                still,
                problem.key,
            ),
        )
        return task_id

    async def _task_and_note(
        self,
        problem: Problem,
        mark: str,
        responsible: Responsible,
    ) -> list[RecordWrite]:
        """A Task and the note that leads to it, as they are written together."""
        offer = await self._espocrm.write_offer()
        link = offer.previous_id if offer is not None else None
        return [
            RecordWrite(
                "Task",
                None,
                self._task_body(problem, mark, responsible),
                skips_duplicate_check=True,
            ),
            RecordWrite("Note", None, _note_of(problem, link)),
        ]

    async def _update_task(self, task_id: str, changes: Record) -> None:
        """Change a Task; without parent if EspoCRM refuses that one."""
        try:
            await self._espocrm.update_entity("Task", task_id, changes)
        except (ValidationFailed, Forbidden) as error:
            if "parentId" not in changes or not _is_about_parent(error):
                raise
            rest = without(changes, {"parentType", "parentId"})
            await self._espocrm.update_entity("Task", task_id, rest)

    def _task_body(
        self,
        problem: Problem,
        mark: str,
        responsible: Responsible,
    ) -> Record:
        """The Task as it is first requested.

        Raises:
            ConfigurationError: there is no user for it.
        """
        body: Record = {
            "name": task_title(problem),
            "description": _with_mark(task_description(problem), mark),
            "status": "Not Started",
            "priority": "High",
            "assignedUserId": responsible.assigned_user_id
            or self._resources.settings.vmh.task_assigned_user_id,
        }
        if not _is_list(problem):
            body |= {"parentType": problem.entity_type, "parentId": problem.entity_id}
        if responsible.team_ids:
            body["teamsIds"] = list(responsible.team_ids)
        if not body["assignedUserId"]:
            raise ConfigurationError(
                "VMH_TASK_ASSIGNED_USER_ID: no one is assigned to the record, and no substitute set",
            )
        return body

    async def _create_task(
        self,
        problem: Problem,
        mark: str,
        responsible: Responsible,
    ) -> str:
        """Create the Task; without parent or for the fallback user if EspoCRM refuses the one asked for."""
        body = self._task_body(problem, mark, responsible)
        while True:
            try:
                task = await self._espocrm.create_entity(
                    "Task",
                    body,
                    skip_duplicate_check=True,
                )
            except (ValidationFailed, Forbidden) as error:
                if not self._change_refused(body, error, problem, mark):
                    raise
            else:
                return str(task["id"])

    def _change_refused(
        self,
        body: Record,
        error: ValidationFailed | Forbidden,
        problem: Problem,
        mark: str,
    ) -> bool:
        """Change in a Task what EspoCRM refuses of it; False, and nothing, if nothing can be changed."""
        fallback = self._resources.settings.vmh.task_assigned_user_id
        if "parentId" in body and _is_about_parent(error):
            del body["parentId"], body["parentType"]
            text = self._with_link(task_description(problem), problem)
            body["description"] = _with_mark(text, mark)
            return True
        if not _is_about_assignment(error):
            return False
        if fallback not in ("", body["assignedUserId"]):
            body["assignedUserId"] = fallback
            return True
        if "teamsIds" in body:
            del body["teamsIds"]
            return True
        return False

    def _with_link(self, text: str, problem: Problem) -> str:
        """The text with the record's address, for a Task without parent."""
        return f"{text}\n\nDatensatz: {self._link(problem)}"

    async def _responsible(
        self,
        entity_type: str,
        entity_id: str,
        store: NotificationStore,
    ) -> Responsible:
        """Who is assigned to the record, or to the CBeteiligte it belongs to; for one that is gone, who was."""
        just_read = self._just_read.get((entity_type, entity_id))
        if just_read is not None:
            return just_read
        try:
            record = await self._espocrm.get_entity(entity_type, entity_id)
        except NotFound:
            return await store.responsible(entity_type, entity_id)
        own = responsible_of(record)
        if record.get("beteiligteId"):
            owner = await self._responsible(
                "CBeteiligte",
                str(record["beteiligteId"]),
                store,
            )
            own = _completed(own, owner)
        await store.remember(entity_type, entity_id, own)
        return own

    async def _update_open_task(
        self,
        task_id: str,
        problem: Problem,
        row: asyncpg.Record,
        store: NotificationStore,
        then: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Bring the text of a Task up to date, and do what follows; False, and nothing, if it is closed or gone."""
        named = _named(
            problem,
            await store.responsible(problem.entity_type, problem.entity_id),
        )
        try:
            task = await self._espocrm.get_entity("Task", task_id)
            if task.get("status") in CLOSED:
                return False
            text = task_description(named)
            if _must_name_record(task, problem):
                text = self._with_link(text, problem)
        except NotFound:
            return False

        async def done() -> None:
            await store.finish(problem, fingerprint_of(problem), task_id)
            if then is not None:
                await then()

        changes = {
            "name": task_title(named),
            "description": _with_mark(text, _mark(row)),
        }
        if _is_at_other_record(task, row, problem):
            # What it was about is gone: it is found at the record that the problem is reported at now.
            changes |= {
                "parentType": problem.entity_type,
                "parentId": problem.entity_id,
            }
        await self._change_task(
            task_id,
            changes,
            problem,
            problem.key,
            done,
        )
        return True

    async def _from_before_restore(
        self,
        mark: str,
        store: NotificationStore,
    ) -> str | None:
        """The Task that was created after a backup was made that was restored since; None if there was no restore."""
        if not await store.was_restored():
            return None
        return await self._find(mark)

    async def _find(self, mark: str) -> str | None:
        """The Task that an earlier attempt has left."""
        where = {"type": "contains", "attribute": "description", "value": mark}
        rows, _ = await self._espocrm.list_entities(
            "Task",
            [where],
            ["status"],
            max_size=1,
        )
        if not rows:
            return None
        return str(rows[0]["id"])

    async def _write_note(self, problem: Problem, task_id: str) -> None:
        """Say in the record's stream that there was a Task. The Task is what counts, so this is tried once."""
        try:
            await self._espocrm.create_entity("Note", _note_of(problem, task_id))
        except ConfigurationError:
            raise
        except BitByLawError as error:
            log(
                self._context,
                "warning",
                "notification.note_refused",
                entity_type=problem.entity_type,
                entity_id=problem.entity_id,
                error=type(error).__name__,
            )

    def _link(self, problem: Problem) -> str:
        base_url = self._resources.settings.espocrm.api_base_url or ""
        site = base_url.removesuffix("/api/v1")
        return f"{site}/#{problem.entity_type}/view/{problem.entity_id}"

    # -- helpers --------------------------------------------------------------------------------------------------

    async def _store(self) -> NotificationStore:
        return NotificationStore(await self._resources.database())

    def _log(self, message: str, error: Exception) -> None:
        log(self._context, "error", message, error=without_quotes(shown_text(error)))

    def _log_failure(self, problem: Problem, error: Exception) -> None:
        log(
            self._context,
            "error",
            "notification.failed",
            entity_type=problem.entity_type,
            entity_id=problem.entity_id,
            action_type=problem.action_type,
            error=without_quotes(shown_text(error)),
        )


def _as_stored(problem: Problem) -> Problem:
    """The problem with its details as PostgreSQL gives them back."""
    text = json.dumps(problem.details.as_json(), default=str)
    details = Details.from_json(clean_value(json.loads(text)))
    return replace(problem, details=details)


def _named(problem: Problem, responsible: Responsible) -> Problem:
    """The problem with the name of the person or firm it is about."""
    if problem.details.name or not responsible.name or _is_list(problem):
        return problem
    return problem.with_details(name=responsible.name)


async def _by_reason_and_user(
    problems: Sequence[Problem],
    store: NotificationStore,
) -> list[list[Assigned]]:
    """The problems with their responsible users; those of one reason and one user together."""
    groups: dict[tuple[str, str | None], list[Assigned]] = {}
    for problem in problems:
        responsible = await store.responsible(
            problem.entity_type,
            problem.entity_id,
        )
        group = (problem.details.reason, responsible.assigned_user_id)
        groups.setdefault(group, []).append((problem, responsible))
    return list(groups.values())


def _completed(own: Responsible, owner: Responsible) -> Responsible:
    """Who is responsible for a record of a CBeteiligte: what the record lacks comes from its owner."""
    return Responsible(
        own.assigned_user_id or owner.assigned_user_id,
        own.team_ids or owner.team_ids,
        owner.name,
    )


def _must_name_record(task: Record, problem: Problem) -> bool:
    """Whether only the text of a Task can lead to the record."""
    return not task.get("parentId") and not _is_list(problem)


def _is_at_other_record(task: Record, row: asyncpg.Record, problem: Problem) -> bool:
    has_other_parent = task.get("parentId") not in (None, "", problem.entity_id)
    return has_other_parent or row["entity_id"] != problem.entity_id


def _heading_reason(problem: Problem) -> str | None:
    """The reason of the list that problems of this reason may become."""
    reason = f"{problem.details.reason}_many"
    if reason not in CATALOGUE:
        return None
    return reason


def _heading(members: Sequence[Problem]) -> Problem:
    """The problem that stands for many."""
    records = []
    for member in members:
        records.append(RecordLine(member.details.betnr, member.details.name))
    keys = "\n".join(sorted(member.key for member in members))
    digest = hashlib.sha256(keys.encode()).hexdigest()[:16]
    first = members[0]
    reason = f"{first.details.reason}_many"
    details = Details(reason, records=tuple(records))
    return replace(first, key=f"{reason}:{digest}", details=details)


def _is_to_withdraw(row: asyncpg.Record) -> bool:
    """Whether the problem of a row is over and its Task still says that it stands."""
    return row["over_since"] is not None and row["withdrawn_at"] is None


def _without_those_over(heading: Problem, members: Sequence[asyncpg.Record]) -> Problem:
    """The list without the records whose problem is over."""
    standing = _standing_numbers(members)
    records = heading.details.records or ()
    left = [record for record in records if record.betnr in standing]
    return heading.with_details(records=tuple(left))


def _standing_numbers(members: Sequence[asyncpg.Record]) -> set[int | str | None]:
    """The numbers of the Beteiligte whose problem stands."""
    standing = set()
    for member in members:
        if member["over_since"] is None:
            standing.add(problem_of(member).details.betnr)
    return standing


def _note_of(problem: Problem, task_id: str | None) -> Record:
    """What the record's stream says of a Task; it stays true when the Task is over, and leads to it."""
    # EspoCRM shows posts as Markdown.
    title = re.sub(r"([\[\]\\])", r"\\\1", task_title(problem))
    if task_id is not None:
        title = f"[{title}](#Task/view/{task_id})"
    return {
        "type": "Post",
        "parentType": problem.entity_type,
        "parentId": problem.entity_id,
        "post": f"Aufgabe angelegt: {title}",
    }


def _over_key(problem_key: str) -> str:
    """Under which key the cancellation of a problem's Task is collected."""
    return f"over:{problem_key}"


def _is_list(problem: Problem) -> bool:
    return problem.details.records is not None


def _mark(row: asyncpg.Record) -> str:
    """What identifies the Task of a row's present occurrence."""
    digest = hashlib.sha256(row["problem_key"].encode()).hexdigest()[:16]
    return f"{digest}-{row['generation']}"


def _with_mark(text: str, mark: str) -> str:
    return f"{text}\n\nVorgang {mark} (bitte stehen lassen)"


def _is_about_parent(error: ValidationFailed | Forbidden) -> bool:
    """Whether EspoCRM refuses the parent: its type is not allowed, it does not exist, or we may not read it."""
    phrases = ("field: parent", "non-existing record", "Task:parent")
    return any(phrase in error.reason for phrase in phrases)


def _is_about_assignment(error: ValidationFailed | Forbidden) -> bool:
    phrases = (
        "Assignment failure",
        "Task:assignedUser",
        "non-existing record",
        "field: assignedUser",
    )
    return any(phrase in error.reason for phrase in phrases)
