"""What breaks first when there is more of everything: a working day, minute by minute, with what was measured.

Work flows through stations: EspoCRM's webhooks and our crons, the engine, the workers, Google's quota. A station works
off so much a minute and lets the rest wait. Copies of a station share its work evenly, so that firms of the same size
are simulated as one.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.results import number
from config import PROJECT_ROOT
from services.core.database import LOCK_CONNECTIONS, POOL_SIZE
from services.core.rate_limit import DEFAULT_RATE
from services.vmh_sync.beteiligte.status import STALE_HOURS

MINUTES = 24 * 60
SWEEP_MINUTES = 15
#: Minutes of the day in which people work.
WORKING = range(8 * 60, 18 * 60)
DOCUMENT = PROJECT_ROOT / "docs" / "scaling.md"
BEGIN = "<!-- begin: written by make scaling -->"
END = "<!-- end: written by make scaling -->"
#: Of floating point, over a day.
NOTHING = 1e-6


@dataclass(frozen=True)
class Constant:
    """A number the simulation starts from, and where it is from."""

    value: float
    unit: str
    source: str


BETEILIGTE = "`make bench ONLY=beteiligte` with 90 records"
CALENDAR = "`make bench ONLY=calendar` with 500 appointments"
QUEUE = "docs/benchmarks.md, what a profile has led to"
FIELD = "EspoCRM's source, as in its documentation of webhooks"
ASSUMED = "assumed"
CONSTANTS: Mapping[str, Constant] = {
    "record, unchanged: CPU": Constant(7.7, "ms of a worker", BETEILIGTE),
    "record, unchanged: calls": Constant(4, "calls", BETEILIGTE),
    "record, changed: CPU": Constant(12.3, "ms of a worker", BETEILIGTE),
    "record, changed: calls": Constant(8, "calls", BETEILIGTE),
    "calendar, unchanged: CPU": Constant(
        7.6, "ms of a worker, 500 appointments", CALENDAR
    ),
    "calendar, unchanged: calls": Constant(
        2, "calls, one of them to Google", "counted by the twins: one list of each side"
    ),
    "appointment, changed: CPU": Constant(
        29, "ms of a worker, 10 changes in a run", CALENDAR
    ),
    "appointment, changed: calls": Constant(
        1, "call to Google", "counted by the twins: one PATCH"
    ),
    "job: CPU of the engine": Constant(0.56, "ms, enqueue and execute", QUEUE),
    "foreign call": Constant(50, "ms", "the benchmark's upstream"),
    "jobs at once": Constant(10, "for each worker", "iii-config.yaml, concurrency"),
    "EspoCRM: events": Constant(20, "a minute for each firm, one cron run", FIELD),
    "cron: records": Constant(1_000, "each 15 minutes for each firm", "VMH_CRON_LIMIT"),
    "Google: a firm's account": Constant(
        DEFAULT_RATE.per_minute, "calls a minute", "services/core/rate_limit.py"
    ),
    "Google: the project": Constant(
        10_000, "calls a minute", "Google's quotas; a project for all firms"
    ),
    "edits": Constant(0.01, "of the Beteiligte a working day", ASSUMED),
    "changed appointments": Constant(5, "a calendar and working day", ASSUMED),
    "Redis": Constant(
        127, "bytes for each job that waits", "100,000 pending keys in Redis"
    ),
    "PostgreSQL connections": Constant(
        POOL_SIZE + LOCK_CONNECTIONS, "of a worker at most", "services/core/database.py"
    ),
    "memory": Constant(98, "MB for each worker", BETEILIGTE),
}
DATABASE_CONNECTIONS = 100  #: PostgreSQL's own default


def constant(name: str) -> float:
    """The value of a constant."""
    return CONSTANTS[name].value


@dataclass
class Station:
    """Takes work in order; ``per_minute`` is what all its copies work off together, in units of its own.

    Attributes:
        every: it works only in each so-manieth minute, and off so much more then.
        waiting: minute of arrival, what is done next, and how many.
    """

    name: str
    per_minute: float
    every: int = 1
    waiting: deque[tuple[int, str, float]] = field(default_factory=deque)
    arrived: float = 0
    done: float = 0
    busiest: float = 0
    most_waiting: float = 0
    longest_wait: int = 0
    _last_hour: deque[float] = field(default_factory=lambda: deque(maxlen=60))

    @property
    def left(self) -> float:
        """How many wait."""
        return sum(count for _, _, count in self.waiting)

    def left_of(self, kind: str) -> float:
        """How many of a kind wait."""
        return sum(count for _, found, count in self.waiting if found == kind)

    def minute(
        self,
        minute: int,
        arrivals: Mapping[str, float],
        weights: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """Take what arrives, by kind, and work for a minute; returns how many of each kind are done.

        ``weights``: what one of a kind takes, in units of ``per_minute``; 1 if it is not named.
        """
        weights = weights or {}
        self._take(minute, arrivals, weights)
        finished: dict[str, float] = {}
        is_working = minute % self.every == 0
        budget = self.per_minute * self.every if is_working else 0.0
        while self.waiting and budget > NOTHING:
            since, kind, count = self.waiting.popleft()
            weight = weights.get(kind, 1.0)
            now = min(count, budget / weight)
            budget -= now * weight
            finished[kind] = finished.get(kind, 0) + now
            self.done += now
            self.longest_wait = max(self.longest_wait, minute - since)
            if count - now > NOTHING:
                self.waiting.appendleft((since, kind, count - now))
        self._look(minute)
        return finished

    def _take(
        self, minute: int, arrivals: Mapping[str, float], weights: Mapping[str, float]
    ) -> None:
        load = 0.0
        for kind, count in arrivals.items():
            if count <= 0:
                continue
            self.waiting.append((minute, kind, count))
            self.arrived += count
            load += count * weights.get(kind, 1.0)
        self._last_hour.append(load)
        hour = sum(self._last_hour) / (60 * self.per_minute)
        self.busiest = max(self.busiest, hour)

    def _look(self, minute: int) -> None:
        self.most_waiting = max(self.most_waiting, self.left)
        if self.waiting:
            self.longest_wait = max(self.longest_wait, minute - self.waiting[0][0])


@dataclass(frozen=True)
class Scenario:
    """So many firms of one size, on so many engines and workers together."""

    name: str
    firms: int
    beteiligte: int  #: of each firm
    calendars: int  #: of each firm
    engines: int
    workers: int


SCENARIOS = (
    Scenario("one firm: 3,000 Beteiligte, 20 calendars", 1, 3_000, 20, 1, 1),
    Scenario("10 firms, all on one engine and worker", 10, 3_000, 20, 1, 1),
    Scenario("10 firms, each with its own", 10, 3_000, 20, 10, 10),
    Scenario("1,000 firms, each with its own", 1_000, 3_000, 20, 1_000, 1_000),
    Scenario("1,000 firms on 20 engines and workers", 1_000, 3_000, 20, 20, 20),
    Scenario("1,000,000 Beteiligte of one firm, one worker", 1, 1_000_000, 20, 1, 1),
    Scenario("10,000 calendars of one firm, one worker", 1, 3_000, 10_000, 1, 1),
    Scenario("10,000 calendars of one firm, two workers", 1, 3_000, 10_000, 2, 2),
)


def seconds_of_slot() -> dict[str, float]:
    """What one of each kind takes of a worker: its CPU, or its share of the jobs at once while it waits for calls."""
    call = constant("foreign call") / 1000
    slots = constant("jobs at once")
    found = {}
    for kind in (
        "record, unchanged",
        "record, changed",
        "calendar, unchanged",
        "appointment, changed",
    ):
        cpu = constant(f"{kind}: CPU") / 1000
        waits = constant(f"{kind}: calls") * call / slots
        found[kind] = max(cpu, waits)
    return found


class Day:
    """A working day of a scenario; `stations` afterwards in the order in which work passes them."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        firms = scenario.firms
        self._espocrm = Station(
            "EspoCRM's webhooks", firms * constant("EspoCRM: events")
        )
        self._check = Station(
            "cron of Beteiligte",
            firms * constant("cron: records") / SWEEP_MINUTES,
            every=SWEEP_MINUTES,
        )
        engine = scenario.engines * 60_000 / constant("job: CPU of the engine")
        self._engine = Station("engine's CPU", engine)
        self._worker = Station("workers", scenario.workers * 60.0)
        self._account = Station(
            "Google: account", firms * constant("Google: a firm's account")
        )
        self._project = Station("Google: project", constant("Google: the project"))
        self._weights = seconds_of_slot()

    @property
    def stations(self) -> list[Station]:
        """All of them."""
        return [
            *(self._espocrm, self._check, self._engine),
            *(self._worker, self._account, self._project),
        ]

    def run(self, minutes: int = MINUTES) -> list[Station]:
        """Simulate the day."""
        for minute in range(minutes):
            self._minute(minute)
        return self.stations

    def _minute(self, minute: int) -> None:
        edits = self._espocrm.minute(minute, {"record, changed": self._edits(minute)})
        stale = self._scenario.firms * self._scenario.beteiligte / (STALE_HOURS * 60)
        checks = self._check.minute(minute, {"record, unchanged": stale})
        jobs = {**edits, **checks, **self._calendar_jobs(minute)}
        queued = self._engine.minute(minute, jobs)
        finished = self._worker.minute(minute, queued, self._weights)
        calls = {
            kind: finished.get(kind, 0)
            for kind in ("calendar, unchanged", "appointment, changed")
        }
        allowed = self._account.minute(minute, calls)
        self._project.minute(minute, allowed)

    def _edits(self, minute: int) -> float:
        if minute not in WORKING:
            return 0.0
        records = self._scenario.firms * self._scenario.beteiligte
        return records * constant("edits") / len(WORKING)

    def _calendar_jobs(self, minute: int) -> dict[str, float]:
        """A job for each calendar that none waits for yet, and what was changed in them since the last sweep."""
        if minute % SWEEP_MINUTES:
            return {}
        calendars = self._scenario.firms * self._scenario.calendars
        kind = "calendar, unchanged"
        waiting = sum(station.left_of(kind) for station in self.stations)
        found = {kind: max(0.0, calendars - waiting)}
        if minute in WORKING:
            sweeps = len(WORKING) / SWEEP_MINUTES
            changes = calendars * constant("changed appointments") / sweeps
            found["appointment, changed"] = changes
        return found


def day_table(scenario: Scenario) -> list[str]:
    """The lines of a table of a scenario's stations."""
    headings = ["station", "a day", "busiest hour", "most waiting", "longest wait"]
    headings.append("left at midnight")
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    for station in Day(scenario).run():
        cells = [
            station.name,
            f"{station.arrived:,.0f}",
            f"{100 * station.busiest:,.1f} %",
            f"{station.most_waiting:,.0f}",
            f"{station.longest_wait} min",
            f"{station.left:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def also(scenario: Scenario) -> str:
    """What the scenario takes besides: connections, and memory if all of its records wait at once."""
    connections = scenario.workers * constant("PostgreSQL connections")
    memory = scenario.workers * constant("memory") / 1000
    jobs = scenario.firms * (scenario.beteiligte + scenario.calendars)
    redis = jobs * constant("Redis") / 1_000_000
    return (
        f"PostgreSQL: up to {connections:,.0f} connections (its default is {DATABASE_CONNECTIONS}). "
        f"Workers: {number(memory)} GB. Redis, if a job of each record waits: {number(redis)} MB."
    )


def document() -> list[str]:
    """What is written into docs/scaling.md."""
    lines = ["### What it starts from", "", "| what | value | unit | source |"]
    lines.append("|---|---|---|---|")
    for name, given in CONSTANTS.items():
        value = f"{given.value:,g}"
        lines.append(f"| {name} | {value} | {given.unit} | {given.source} |")
    for scenario in SCENARIOS:
        lines += ["", f"### {scenario.name}", "", *day_table(scenario)]
        lines += ["", also(scenario)]
    return lines


def main() -> None:
    """Simulate all scenarios, print them and write them into docs/scaling.md."""
    lines = document()
    sys.stdout.write("\n".join(lines) + "\n")
    text = DOCUMENT.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}")


if __name__ == "__main__":
    main()
