"""The firm of the crash matrix that works with Advoware and Google, and what can be observed of it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
from calendar_office import CalendarOffice
from crash_nursery import Cut, Nursery, Work
from crash_reading import age_keys, plain
from servers import Stores

from services.core.errors import BitByLawError

EMPLOYEES = ("SB", "AI")
#: The engine delivers at once, when a dead worker's lock is still there; then the cron comes, and the daily full run.
REDELIVERY = timedelta(seconds=5)
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 25 * 60))


class CalendarFirm(CalendarOffice):
    """The firm of the calendar sync, with workers that may die."""

    def __init__(self, servers: Stores, folder: Path, runner: asyncio.Runner) -> None:
        super().__init__(servers, folder, runner)
        address = {
            "host": servers.redis.host,
            "port": servers.redis.port,
            "password": servers.redis.password,
        }
        self._stores = [redis.Redis(**address, db=number) for number in (1, 2)]

    async def close(self) -> None:
        await super().close()
        for store in self._stores:
            store.close()

    async def open_day(self, variables: Mapping[str, str]) -> None:
        """A new day: no Termine, no calendars, nothing remembered."""
        await self.reopen()
        await self.configure(**variables)

    async def run_in(
        self, nursery: Nursery, job: Work, cut: Cut | None = None
    ) -> list[str]:
        """A worker does one run and, with a cut, dies of it."""
        self.now += timedelta(minutes=1)
        await self._free_the_rate()
        settings = self._settings().environment()
        return await nursery.work(job, settings, self.now, cut)

    async def come_to_rest(self) -> None:
        """The run is repeated, the cron runs, time passes: until nothing is written any more.

        Raises:
            AssertionError: it does not come to rest, or a run fails for longer than a lock may last.
        """
        await self._quiet()
        await self._round(REDELIVERY)
        for pause in PAUSES:
            await self._round(pause)
        failures = await self._round(timedelta(minutes=15))
        assert not failures
        assert self.writes() == []

    async def deliver_again(self, job: Work) -> list[str]:
        """What is written when the run takes place once more although all is done."""
        await self._round(timedelta(minutes=1))
        return self.writes()

    async def _round(self, pause: timedelta) -> list[str]:
        """A run for each employee after that time; what has failed."""
        self.now += pause
        for store in self._stores:
            age_keys(store, pause)
        self.forget_journals()
        found = [await self._sync(kuerzel, True) for kuerzel in EMPLOYEES]
        return [repr(result) for result in found if isinstance(result, BitByLawError)]

    def writes(self) -> list[str]:
        """The requests since the journals were forgotten that may have changed something."""
        return [call for call in self.calls() if not call.startswith("GET")]

    def observed(self) -> dict[str, list[str]]:
        """Termine, calendars, events and rules of sharing without ids and moments of change."""
        calendars = {name: self.calendar(name) for name in EMPLOYEES}
        return {
            "Termine": plain(self.termine()),
            **{f"events of {name}": self._events(name) for name in EMPLOYEES},
            "calendars": plain(
                [dict(found.texts) for found in calendars.values() if found]
            ),
            "sharing": plain(
                [
                    {"with": rule.scope_value, "role": rule.role}
                    for found in calendars.values()
                    for rule in (found.acl.values() if found else ())
                    if rule.role != "none"
                ]
            ),
        }

    def _events(self, kuerzel: str) -> list[str]:
        """An employee's events; their ids depend on the calendar's, which Google chooses."""
        shown = plain([{**event, "id": ""} for event in self.events(kuerzel)])
        # "0" means the same as no mark, which is what an event has that was claimed after an interruption.
        return [text.replace('"advoware_anonymised": "0", ', "") for text in shown]

    async def left_behind(self) -> dict[str, list[Any]]:
        """What waits in our own tables although nothing is left to do."""
        tables = ("calendar_sync_intent", "calendar_sync_begun")
        found = {
            name: await self.fetch(f"SELECT * FROM {name}")  # noqa: S608 - the names above
            for name in tables
        }
        return {name: rows for name, rows in found.items() if rows}

    async def recorded(self) -> set[str]:
        """Whose copies were written to on which side and how often, as the audit has it."""
        rows = await self.fetch(
            """
            SELECT employee_kuerzel, side, row_number() OVER (PARTITION BY employee_kuerzel, side) AS number
            FROM calendar_sync_audit WHERE side <> 'none'
            """
        )
        return {
            f"{row['employee_kuerzel']}: {row['side']}, {row['number']}" for row in rows
        }
