"""A worker dies of SIGKILL at each of its writes to a foreign system: nothing is lost, nothing doubled, all reported.

A row is a flow (`vmh_flows`, `calendar_flows`) with the writes of its run (`rows`). For each write of a row a real
process is killed at four points (`crash_nursery`). Then the engine delivers the job again, the cron comes, time passes.
What both systems hold afterwards must be what they hold when no worker dies; nothing may wait in our own tables; once
more the same job must write nothing.

The gate plays a part of the cells, ``make crash-matrix`` all of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from calendar_firm import CalendarFirm
from calendar_flows import CALENDAR_FLOWS
from client_writes import all_write_operations, write_sites
from crash_nursery import POINTS, Cut, Nursery, Work
from hasty_loop import hasty_runner
from rows import NO_ROW, ROWS
from servers import Stores
from vmh_firm import VmhFirm
from vmh_flows import VMH_FLOWS

#: Of so many rows the gate plays one, with one cell.
GATE_SHARE = 3
PLAYS_ALL = os.environ.get("CRASH_MATRIX") == "all"
#: Reported once, beside what counts, and may be lost with the worker: the note in a record's stream about a Task.
MAY_BE_LOST = "Note"
TAKEN_BACK = "an address is changed in EspoCRM, and taken back"

Observed = dict[str, list[str]]


class Flow(Protocol):
    """`VmhFlow` or `CalendarFlow`."""

    @property
    def name(self) -> str:
        """What happens, in words of the firm."""

    @property
    def then(self) -> Any:
        """What a person does right after the run or its death, if anything."""

    async def start(self, firm: Any) -> Work:
        """Let it happen; the job that may die."""


@dataclass(frozen=True)
class Matrix:
    """What plays flows."""

    firm: Any
    nursery: Nursery

    async def undisturbed(self, flow: Flow) -> tuple[list[str], Observed, set[str]]:
        """The writes of the flow's run, what is there at its end, and what the audit has recorded."""
        job = await flow.start(self.firm)
        sites = await self.firm.run_in(self.nursery, job)
        await self._end(flow, job)
        return sites, self.firm.observed(), await self.firm.recorded()

    async def killed(self, flow: Flow, cut: Cut) -> Observed:
        """What is there after a worker has died of the flow's job."""
        job = await flow.start(self.firm)
        await self.firm.run_in(self.nursery, job, cut)
        await self._end(flow, job)
        observed: Observed = self.firm.observed()
        return observed

    async def _end(self, flow: Flow, job: Work) -> None:
        if flow.then is not None:
            flow.then(self.firm)
        await self.firm.come_to_rest()
        assert await self.firm.deliver_again(job) == []
        assert await self.firm.left_behind() == {}

    async def play(self, flow: Flow, cuts: list[Cut]) -> None:
        """Compare what is there after each cut with what is there if no worker dies."""
        sites, wanted, recorded = await self.undisturbed(flow)
        assert tuple(sites) == ROWS.get(flow.name), f"rows.py: {flow.name}: {sites}"
        problems = []
        for cut in cuts:
            place = f"{sites[cut.number - 1]} (write {cut.number}), {cut.point}"
            try:
                observed = await self.killed(flow, cut)
            except AssertionError as error:
                problems.append(f"{place}: {error}")
                continue
            problems += [f"{place}: {text}" for text in differences(wanted, observed)]
            unrecorded = recorded - await self.firm.recorded()
            if (
                unrecorded and flow.then is None
            ):  # else a person has made it another course
                problems.append(f"{place}: no line of the audit: {sorted(unrecorded)}")
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)


def differences(wanted: Observed, observed: Observed) -> list[str]:
    """What is missing and what is there too much, one text for each kind of record."""
    found = []
    for kind, rows in wanted.items():
        missing = [row for row in rows if rows.count(row) > observed[kind].count(row)]
        added = [
            row for row in observed[kind] if observed[kind].count(row) > rows.count(row)
        ]
        if kind == MAY_BE_LOST:
            missing = []
        if missing or added:
            found.append(f"{kind}: missing {missing}, too much {added}")
    return found


def cells(number: int, writes: int) -> list[Cut]:
    """The cells of the row of this number; in the gate one, another one in each row."""
    every = [Cut(write, point) for write in range(1, writes + 1) for point in POINTS]
    if PLAYS_ALL or not every:
        return every
    return [every[number * 5 % len(every)]]


def share(flows: tuple[Any, ...], of_all: int) -> list[Any]:
    """The rows that are played, as parameters with their cells."""
    chosen = enumerate(flows)
    step = 1 if PLAYS_ALL else of_all
    return [
        pytest.param(flow, cells(number, len(ROWS.get(flow.name, ()))), id=flow.name)
        for number, flow in chosen
        if number % step == 0
    ]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with hasty_runner() as opened:
        yield opened


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    opened = Nursery(tmp_path_factory.mktemp("nursery"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def vmh_firm(stores: Stores, runner: asyncio.Runner) -> Iterator[VmhFirm]:
    opened = VmhFirm(stores)
    runner.run(opened.open())
    yield opened
    runner.run(opened.close())


@pytest.fixture(scope="module")
def calendar_firm(
    stores: Stores, runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CalendarFirm]:
    opened = CalendarFirm(stores, tmp_path_factory.mktemp("firm"), runner)
    runner.run(opened.open())
    yield opened
    runner.run(opened.close())


@pytest.mark.parametrize(("flow", "cuts"), share(VMH_FLOWS, GATE_SHARE))
def test_whatever_write_between_espocrm_and_advoware_a_worker_dies_of_nothing_is_lost_or_doubled(
    runner: asyncio.Runner,
    vmh_firm: VmhFirm,
    nursery: Nursery,
    flow: Flow,
    cuts: list[Cut],
) -> None:
    runner.run(Matrix(vmh_firm, nursery).play(flow, cuts))


@pytest.mark.parametrize(("flow", "cuts"), share(CALENDAR_FLOWS, GATE_SHARE))
def test_whatever_write_of_the_calendar_sync_a_worker_dies_of_nothing_is_lost_or_doubled(
    runner: asyncio.Runner,
    calendar_firm: CalendarFirm,
    nursery: Nursery,
    flow: Flow,
    cuts: list[Cut],
) -> None:
    runner.run(Matrix(calendar_firm, nursery).play(flow, cuts))


def test_a_worker_that_dies_of_taking_a_change_back_leaves_it_taken_back(
    runner: asyncio.Runner, vmh_firm: VmhFirm, nursery: Nursery
) -> None:
    runner.run(_die_twice(vmh_firm, nursery))
    (address,) = vmh_firm.rows("CAdressen")
    (there,) = vmh_firm.advo["adressen"]
    assert (address["adresseStreet"], there["strasse"]) == ("Hauptstr. 1",) * 2
    assert vmh_firm.rows("Task") == []


async def _die_twice(firm: VmhFirm, nursery: Nursery) -> None:
    """A worker dies once Advoware has a street, the next one before it gives the former one back."""
    flow = next(flow for flow in VMH_FLOWS if flow.name == TAKEN_BACK)
    await firm.run_in(nursery, await flow.start(firm), Cut(1, "executed"))
    assert flow.then is not None
    flow.then(firm)
    firm.wait_for_redelivery()
    await firm.run_in(nursery, firm.take(), Cut(1, "before"))
    await firm.come_to_rest()


def test_each_write_of_the_code_has_a_row() -> None:
    in_rows = {site for sites in ROWS.values() for site in sites}
    assert in_rows.isdisjoint(NO_ROW)
    assert in_rows | NO_ROW.keys() == write_sites()


def test_each_row_is_a_flow() -> None:
    names = [flow.name for flow in (*VMH_FLOWS, *CALENDAR_FLOWS)]
    assert sorted(names) == sorted(ROWS)


def test_each_operation_that_is_called_at_all_is_in_a_row() -> None:
    called = {site.rpartition(" ")[2] for sites in ROWS.values() for site in sites}
    assert all_write_operations() - called == {
        "delete_entity",  # only the set-up of EspoCRM deletes records: its webhooks
        "update_event",  # of the provider's contract; the sync patches
    }
