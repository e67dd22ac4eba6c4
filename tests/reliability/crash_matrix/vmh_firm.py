"""The firm of the crash matrix that works with EspoCRM and Advoware, and what can be observed of it from outside."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from beteiligte_world import BeteiligteWorld, Job
from crash_nursery import Cut, Nursery, Work
from crash_reading import age_keys, plain, without_moments

from config import Settings, load_settings
from sandbox.espocrm.access import Settings as EspoCRMSettings
from sandbox.espocrm.entities import ENTITIES
from services.vmh_sync.job import SyncEvent

Record = dict[str, Any]

#: How long a dead worker's lock lasts, and how much time passes before the engine's next delivery has got it: a run
#: waits for the lock by itself (`services.core.jobs.look_again`), which here would have to be sat out.
LOCK_SECONDS = 60
REDELIVERY = timedelta(minutes=2)
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 300))
SHOWN = ("CBeteiligte", "CAdressen", "CBankverbindungen", "Task", "Note")


class VmhFirm(BeteiligteWorld):
    """People at both systems in a few words; a worker that may die, and what brings the sync to rest."""

    def _settings(self) -> Settings:
        variables = super()._settings().environment()
        return load_settings({**variables, "VMH_LOCK_SECONDS": LOCK_SECONDS})

    # -- people -----------------------------------------------------------------------------------------------------

    async def open_day(self, extension: str) -> None:
        """A new day: no one is known, nothing is remembered."""
        await self.begin(checks_versions=True)
        self.espocrm._initial_settings = EspoCRMSettings(extension=extension)
        self.espocrm.load_seed()
        self.espocrm._service._publish = self._on_change

    def enter(self, entity: str = "CBeteiligte", **attributes: Any) -> str:
        """A user creates a record in EspoCRM; its id."""
        person = {"firstName": "Erika", "lastName": "Muster", "salutationName": "Frau"}
        body = {**person, **attributes} if entity == "CBeteiligte" else attributes
        service, admin = self.espocrm._service, self.espocrm._admin
        return str(service.create(ENTITIES[entity], body, admin).id)

    def edit(self, entity: str, entity_id: str, **changes: Any) -> None:
        """A user changes a record in EspoCRM."""
        self._pass(timedelta(minutes=1))
        record = self.espocrm._store.get(ENTITIES[entity], entity_id)
        self.espocrm._service.update(record, changes, self.espocrm._admin)

    def delete(self, entity: str, entity_id: str) -> None:
        """A user deletes a record in EspoCRM."""
        record = self.espocrm._store.get(ENTITIES[entity], entity_id)
        self.espocrm._service.delete(record, self.espocrm._admin)

    def edit_advoware(self, **changes: Any) -> None:
        """A user changes the only Beteiligter in the desktop program."""
        self._pass(timedelta(minutes=1))
        (record,) = self.beteiligte()
        self.advoware.beteiligte.edit(record["betNr"], changes, "SB")

    @property
    def advo(self) -> Record:
        """The only Beteiligter."""
        (record,) = self.beteiligte()
        return record

    # -- the sync ---------------------------------------------------------------------------------------------------

    def take(self, entity: str = "CBeteiligte") -> Work:
        """The first event about such a record that waits, taken from the queue."""
        job = next(job for job in self.queue if job.entity == entity)
        self.queue.remove(job)
        return Work(entity, job.event.model_dump())

    async def run_in(
        self, nursery: Nursery, job: Work, cut: Cut | None = None
    ) -> list[str]:
        """A worker does the job and, with a cut, dies of it: then the engine delivers it again."""
        settings = self._settings().environment()
        sites = await nursery.work(job, settings, self.now, cut)
        if cut is not None and job.kind != "check":
            self.deliver(job)
        return sites

    def deliver(self, job: Work) -> None:
        """The engine has this job in its queue."""
        event = SyncEvent.model_validate(job.event)
        self.queue.append(Job(job.kind, event))

    async def come_to_rest(self) -> None:
        """The engine delivers what waits, the cron runs, time passes: until nothing is written any more.

        Raises:
            AssertionError: it does not come to rest.
        """
        await self._quiet()
        self.wait_for_redelivery()
        await self.work()
        for pause in PAUSES:
            await self._round(pause)
        await self._round(PAUSES[0])
        assert self.writes() == []

    def wait_for_redelivery(self) -> None:
        """The time after which the lock of a worker that has died is free."""
        self._pass(REDELIVERY)

    async def _round(self, pause: timedelta) -> None:
        """The cron after that time, and the jobs that follow from it."""
        self._pass(pause)
        self.forget_journals()
        await self.cron()
        await self.work()

    async def deliver_again(self, job: Work) -> list[str]:
        """What is written when an event comes once more although all is done."""
        self.forget_journals()
        if job.kind == "check":
            await self.cron()
        else:
            self.deliver(job)
        await self.work()
        return self.writes()

    def _pass(self, span: timedelta) -> None:
        """Time passes for the firm and for what expires in Redis, whose own clock cannot be moved."""
        self.now += span
        age_keys(self.redis, span)

    # -- what is there ----------------------------------------------------------------------------------------------

    def observed(self) -> dict[str, list[str]]:
        """All records of both systems without ids and moments, so that two courses of events can be compared."""
        shown = {entity: self.rows(entity) for entity in SHOWN}
        shown["Note"] = [row for row in shown["Note"] if row.get("type") == "Post"]
        return {
            name: without_moments(plain(rows))
            for name, rows in {**shown, "Beteiligter": self.beteiligte()}.items()
        }

    async def recorded(self) -> set[str]:
        """The values that were written, as the audit has them: field, side, new value."""
        rows = await self.fetch("SELECT changes FROM sync_audit")
        lines = [line for row in rows for line in row["changes"]]
        shown = [
            {name: line.get(name) for name in ("field", "side", "new")}
            for line in lines
            if not line.get("rejected")
        ]
        return set(without_moments(plain(shown)))

    async def left_behind(self) -> dict[str, list[Record]]:
        """What waits in our own tables although nothing is left to do."""
        queries = {
            "create_intent": "SELECT * FROM create_intent",
            "look_again": "SELECT * FROM look_again",
            "sync_state": "SELECT entity_id, unrecorded FROM sync_state WHERE unrecorded IS NOT NULL",
        }
        found = {name: await self.fetch(query) for name, query in queries.items()}
        return {name: rows for name, rows in found.items() if rows}
