"""The evening of the switch at the size of a firm, on twins: that what is announced is what is written, and how fast.

Usage: ``.venv/bin/python tools/takeover_trial.py [--beteiligte 3000] [--termine 10000] [--generation uuid]``, also
``make takeover-trial``. Exit status 0: nothing was doubled or lost, and nothing was written that was not announced.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from servers import Stores, advoware_variables, espocrm_variables
from takeover_office import REQUESTS, TakeoverOffice, differing, requested

from cli import embedded
from config import Settings, load_settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.google.app import GoogleTwin
from services.takeover.report import Report

Answer = TypeVar("Answer")
#: One of so many appointments is not as it should be.
FAULT_EVERY = 25


def _now() -> datetime:
    return datetime.now(UTC)


class Trial:
    """The evening, step by step; ``failures`` are what must not be."""

    def __init__(self, office: TakeoverOffice) -> None:
        self.office = office
        self.failures: list[str] = []

    async def play(
        self,
        beteiligte: int,
        termine: int,
        generation: str,
        every: int,
    ) -> None:
        """All steps; one in ``every`` Beteiligte is previewed and synced."""
        office = self.office
        await self._timed(
            "the old system leaves the firm",
            office.leave(
                generation,
                termine=termine,
                beteiligte=beteiligte,
                fault_every=FAULT_EVERY,
            ),
        )
        before = Counter(office.termine())
        report = await self._take_over()
        await self._first_calendars(report)
        self._require(
            before <= Counter(office.termine()),
            "Termine are lost in Advoware",
        )
        self._require(
            Counter(office.termine()) <= before,
            "Termine are doubled in Advoware",
        )
        await self._first_beteiligte(every)
        office.forget_calls()
        await self._timed("second run of the calendars", office.sync_calendars())
        self._require(not office.writes(), "the second run of the calendars writes")

    async def _take_over(self) -> Report:
        """Look, take over, go back, and take over again."""
        office = self.office
        check = await self._timed("takeover check", office.takeover("check"))
        first = await self._timed("takeover run", office.takeover("run"))
        await self._timed("takeover undo", office.takeover("undo"))
        report: Report = await self._timed(
            "takeover run, again",
            office.takeover("run"),
        )
        self._require(not office.writes(), "the take-over has written")
        self._require(check.announced == first.announced, "check and run differ")
        self._require(first.announced == report.announced, "the second run differs")
        self._show(report)
        return report

    async def _first_calendars(self, report: Report) -> None:
        office = self.office
        office.forget_calls()
        await self._timed("first run of the calendars", office.sync_calendars())
        wanted = Counter(REQUESTS[item.action] for item in report.announced)
        made = requested(office)
        sys.stdout.write(f"  announced {dict(wanted)}\n  written   {dict(made)}\n")
        self._require(wanted == made, "other calendar writes than announced")

    async def _first_beteiligte(self, every: int) -> None:
        office = self.office
        number = len(office.advoware.beteiligte.all())
        sample = len(office.ids[::every])
        announced = await self._timed(
            f"preview of {sample} Beteiligte",
            office.preview_beteiligte(every),
        )
        office.forget_calls()
        results = await self._timed("first sync of them", office.sync_beteiligte(every))
        made = office.written_records()
        sys.stdout.write(f"  results {dict(results)}\n")
        for name, counted in (("announced", announced), ("written", made)):
            by_kind: Counter[str] = Counter()
            for (system, kind, _), times in counted.items():
                by_kind[f"{system} {kind}"] += times
            sys.stdout.write(f"  records {name}: {dict(sorted(by_kind.items()))}\n")
        odd = differing(announced, made)
        self._require(not odd, f"other writes than announced: {odd[:5]}")
        now = len(office.advoware.beteiligte.all())
        self._require(now == number, f"{number} Beteiligte before, {now} after")

    async def _timed(self, what: str, work: Awaitable[Answer]) -> Answer:
        started = time.perf_counter()
        answer = await work
        sys.stdout.write(f"{what}: {time.perf_counter() - started:.1f} s\n")
        sys.stdout.flush()
        return answer

    def _show(self, report: Report) -> None:
        kinds = Counter(finding.kind for finding in report.findings)
        sys.stdout.write(f"  rows {dict(report.rows)}\n")
        sys.stdout.write(f"  Beteiligte {dict(report.beteiligte)}\n")
        sys.stdout.write(f"  findings {dict(sorted(kinds.items()))}\n")

    def _require(self, is_well: bool, failure: str) -> None:
        if not is_well:
            self.failures.append(failure)
            sys.stdout.write(f"  FAILED: {failure}\n")


@asynccontextmanager
async def _office(directory: Path) -> AsyncIterator[TakeoverOffice]:
    """Twins and stores of their own."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(embedded.postgres(directory / "pg"))
        redis = await stack.enter_async_context(embedded.redis(directory / "redis"))
        advoware = AdvowareTwin(empty=True)
        espocrm = EspoCRMTwin(empty=True, webhook_interval=0)
        google = GoogleTwin(empty=True, quota_per_minute=None)
        for twin in (advoware, espocrm, google):
            await stack.enter_async_context(running(twin))
        variables = {
            **Stores(postgres, redis).variables(embedded.DATABASES[0]),
            **advoware_variables(advoware),
            **espocrm_variables(espocrm),
            "BITBYLAW_TWINS": f"{advoware.url},{espocrm.url},{google.url}",
        }

        def make(**overrides: Any) -> Settings:
            return load_settings({**variables, **overrides})

        yield TakeoverOffice(advoware, espocrm, google, _now, make, directory)


async def _main(beteiligte: int, termine: int, generation: str, every: int) -> int:
    with tempfile.TemporaryDirectory(prefix="bbl-") as directory:
        async with _office(Path(directory)) as office:
            trial = Trial(office)
            await trial.play(beteiligte, termine, generation, every)
    sys.stdout.write("takeover-trial: " + ("failed\n" if trial.failures else "ok\n"))
    return 1 if trial.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beteiligte", type=int, default=3000)
    parser.add_argument("--termine", type=int, default=10000)
    parser.add_argument("--generation", default="uuid")
    parser.add_argument(
        "--every",
        type=int,
        default=10,
        help="preview and sync one in so many Beteiligte; 1: all, which takes an hour",
    )
    given = parser.parse_args()
    sizes = (given.beteiligte, given.termine, given.generation, given.every)
    sys.exit(asyncio.run(_main(*sizes)))
