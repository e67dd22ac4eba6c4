"""Play the simulation of the firm for hours, or one story again: ``python tools/simulation.py --hours 1 --jobs 2``.

Each of the ``--jobs`` is a process with a firm and stores of its own; they share the stories between them. ``--seed N``
plays one story, ``--trace`` prints what happened in it, and ``--reduce`` leaves out of a failing one what it does not
need to fail. Each violation is printed with its seed, and kept with its trace in ``.local/simulation``.
Exit status 0: nothing was violated. ``docs/reliability.md`` says what is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import queue
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    str(ROOT / "tests" / name) for name in ("simulation", "integration", "support")
]
sys.path[:0] = [str(ROOT), *TESTS]

from firm_checks import Violation, play  # noqa: E402
from firm_loop import firm_runner  # noqa: E402
from firm_story import Story, random_story, reduced  # noqa: E402
from firm_world import Firm  # noqa: E402
from servers import Stores  # noqa: E402

from cli import embedded  # noqa: E402

KEPT = ROOT / ".local" / "simulation"
#: A line is printed after so many seconds.
REPORT_SECONDS = 60.0


class Simulation:
    """A firm, and what was found in it. ``run`` awaits something in its event loop."""

    def __init__(self, firm: Firm, run: Callable[[Any], Any]) -> None:
        self.firm = firm
        self._run = run
        self.violations: list[int] = []
        self.stories = 0
        self.started = time.monotonic()

    def violation_of(self, story: Story) -> str | None:
        """What a story violates, with its trace; None if everything holds."""
        try:
            self._run(play(self.firm, story))
        except Violation as violation:
            return str(violation)
        return None

    def play(self, seed: int) -> str | None:
        """Play the story of that number; a violation is printed and kept."""
        self.stories += 1
        found = self.violation_of(random_story(seed))
        if found is None:
            return None
        self.violations.append(seed)
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{seed}.txt").write_text(found, encoding="utf-8")
        seconds = time.monotonic() - self.started
        first = found.splitlines()[0][:300]
        print(f"VIOLATION, seed {seed}, after {seconds:.0f} s: {first}", flush=True)
        return found

    def reduce(self, seed: int) -> Story:
        """The story of that number without what it does not need to fail in the same way."""
        story = random_story(seed)
        kind = _kind(self.violation_of(story))

        def fails(shorter: Story) -> bool:
            return _kind(self.violation_of(shorter)) == kind

        return reduced(story, fails) if kind else story

    def count(self) -> Count:
        """What was played so far."""
        firm = self.firm
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Count(
            self.stories,
            firm.operations,
            firm.runs,
            firm.deaths,
            firm.requests_before + len(firm.requests),
            len(self.violations),
            used.ru_utime + used.ru_stime,
        )


class Count(NamedTuple):
    """What was played, by one process or by all of them."""

    stories: int = 0
    operations: int = 0
    runs: int = 0
    deaths: int = 0
    requests: int = 0
    violations: int = 0
    processor_seconds: float = 0.0

    def in_words(self, seconds: float) -> str:
        """In one line, if it took so long on the wall."""
        together = self.operations + self.runs
        milliseconds = 1000 * self.processor_seconds / max(1, together)
        return (
            f"{self.stories} stories, {self.operations} operations and {self.runs} runs of steps"
            f" (together {together}), {self.deaths} deaths of a worker,"
            f" {self.requests} requests to foreign systems, {self.violations} violations,"
            f" {seconds / 60:.1f} minutes ({together / seconds:.0f} a second,"
            f" {milliseconds:.1f} ms of a processor each)"
        )


def total(counts: Iterable[Count]) -> Count:
    """All of them together."""
    return Count(*(sum(values) for values in zip(*counts, strict=True)))


def _kind(violation: str | None) -> str:
    """What a violation is about, without the values in it."""
    return (violation or "")[:60]


@contextmanager
def simulation() -> Iterator[Simulation]:
    """A firm on stores of its own."""
    data = Path(tempfile.mkdtemp(prefix="bbl-"))
    try:
        gc.freeze()  # what was loaded stays, and need not be looked at again and again
        gc.set_threshold(20_000, 20, 100)
        with asyncio.Runner() as outside:
            stack = AsyncExitStack()
            stores = outside.run(_start(stack, data))
            with firm_runner(stores.redis.port) as runner:
                firm = Firm(stores, data)
                runner.run(firm.open())
                yield Simulation(firm, runner.run)
                runner.run(firm.close())
            outside.run(stack.aclose())
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def _start(stack: AsyncExitStack, data: Path) -> Stores:
    postgres = await stack.enter_async_context(embedded.postgres(data / "pg"))
    redis = await stack.enter_async_context(embedded.redis(data / "redis"))
    stores = Stores(postgres, redis)
    await stores.prepare()
    return stores


def _play_for(given: argparse.Namespace, number: int, news: Any) -> None:
    """The share of one process; ``news`` gets its count after each minute and at the end, and how it ended."""
    logging.disable(logging.CRITICAL)
    deadline = time.monotonic() + given.hours * 3600
    with simulation() as played:
        reported = time.monotonic()
        seed = given.first + number * given.every
        while time.monotonic() < deadline:
            found = played.play(seed)
            seed += given.jobs * given.every
            if found is not None and given.until_found:
                break
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                news.put((number, played.count(), False))
        news.put((number, played.count(), True))


def _play_side_by_side(given: argparse.Namespace) -> int:
    """Let so many processes play; prints their counts together. The exit status."""
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    players = [
        context.Process(target=_play_for, args=(given, number, news))
        for number in range(given.jobs)
    ]
    started = time.monotonic()
    for player in players:
        player.start()
    counts = {number: Count() for number in range(given.jobs)}
    playing = set(counts)
    while playing:
        try:
            number, count, is_over = news.get(timeout=5)
        except queue.Empty:
            # One that was killed says no more.
            playing = {number for number in playing if players[number].is_alive()}
            continue
        counts[number] = count
        if is_over:
            playing.discard(number)
        print(total(counts.values()).in_words(time.monotonic() - started), flush=True)
    for player in players:
        player.join()
    is_whole = all(player.exitcode == 0 for player in players)
    return 0 if is_whole and not total(counts.values()).violations else 1


def _play_one(played: Simulation, seed: int, *, trace: bool, shorter: bool) -> None:
    found = played.play(seed)
    if trace:
        print("\n".join(played.firm.trace))
    if found is None:
        return
    print(found)
    if shorter:
        for operation in played.reduce(seed).operations:
            print(f"    {operation},")


def main() -> int:
    """Run from the command line; see the module's description."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=1, help="the first story's number")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes")
    parser.add_argument("--every", type=int, default=1, help="play each n-th story")
    parser.add_argument("--until-found", action="store_true")
    parser.add_argument("--seed", type=int, help="play this story only")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--reduce", action="store_true")
    given = parser.parse_args()
    if given.seed is None:
        return _play_side_by_side(given)
    logging.disable(logging.CRITICAL)
    with simulation() as played:
        _play_one(played, given.seed, trace=given.trace, shorter=given.reduce)
        seconds = time.monotonic() - played.started
        print(played.count().in_words(seconds))
    return 1 if played.violations else 0


if __name__ == "__main__":
    sys.exit(main())
