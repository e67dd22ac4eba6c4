"""Play the simulation of the firm for hours, or one story again: ``python tools/simulation.py --hours 1``.

``--seed N`` plays one story, ``--trace`` prints what happened in it, and ``--reduce`` leaves out of a failing one what
it does not need to fail. Each violation is printed with its seed, and kept with its trace in ``.local/simulation``.
Exit status 0: nothing was violated. ``docs/reliability.md`` says what is checked.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    str(ROOT / "tests" / name) for name in ("simulation", "integration", "support")
]
sys.path[:0] = [str(ROOT), *TESTS]

from firm_checks import Violation, play  # noqa: E402
from firm_story import Story, random_story, reduced  # noqa: E402
from firm_world import Firm  # noqa: E402
from hasty_loop import hasty_runner  # noqa: E402
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

    def summary(self) -> str:
        """What was played so far, in one line."""
        firm = self.firm
        minutes = (time.monotonic() - self.started) / 60
        requests = firm.requests_before + len(firm.requests)
        return (
            f"{self.stories} stories, {firm.operations} operations and {firm.runs} runs of steps"
            f" (together {firm.operations + firm.runs}), {firm.deaths} deaths of a worker,"
            f" {requests} requests to foreign systems, {len(self.violations)} violations,"
            f" {minutes:.1f} minutes"
        )


def _kind(violation: str | None) -> str:
    """What a violation is about, without the values in it."""
    return (violation or "")[:60]


@contextmanager
def simulation() -> Iterator[Simulation]:
    """A firm on stores of its own."""
    data = Path(tempfile.mkdtemp(prefix="bbl-"))
    try:
        with hasty_runner() as runner:
            stack = AsyncExitStack()
            firm = runner.run(_open(stack, data))
            yield Simulation(firm, runner.run)
            runner.run(firm.close())
            runner.run(stack.aclose())
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def _open(stack: AsyncExitStack, data: Path) -> Firm:
    postgres = await stack.enter_async_context(embedded.postgres(data / "pg"))
    redis = await stack.enter_async_context(embedded.redis(data / "redis"))
    stores = Stores(postgres, redis)
    await stores.prepare()
    firm = Firm(stores, data)
    await firm.open()
    return firm


def _play_for(played: Simulation, hours: float, first: int, until_found: bool) -> None:
    deadline = time.monotonic() + hours * 3600
    reported = time.monotonic()
    seed = first
    while time.monotonic() < deadline:
        found = played.play(seed)
        seed += 1
        if found is not None and until_found:
            return
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            print(f"until seed {seed - 1}: {played.summary()}", flush=True)


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
    parser.add_argument("--until-found", action="store_true")
    parser.add_argument("--seed", type=int, help="play this story only")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--reduce", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with simulation() as played:
        if given.seed is None:
            _play_for(played, given.hours, given.first, given.until_found)
        else:
            _play_one(played, given.seed, trace=given.trace, shorter=given.reduce)
        print(played.summary())
    return 1 if played.violations else 0


if __name__ == "__main__":
    sys.exit(main())
