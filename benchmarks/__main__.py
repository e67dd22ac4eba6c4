"""Command line: ``python -m benchmarks [--only webhook,queue] [--small]``, see `make bench`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import Iterable

from benchmarks import (
    beteiligte,
    calendar,
    day,
    machine,
    proxy,
    queue,
    start,
    tests,
    webhook,
)
from benchmarks.bench import Bench, Part
from benchmarks.results import (
    BEFORE,
    LATEST,
    Results,
    as_text,
    table,
    write_document,
)

PARTS: dict[str, tuple[str, Part]] = {
    "webhook": ("Webhooks", webhook.measure),
    "queue": ("Queue", queue.measure),
    "proxy": ("Proxy", proxy.measure),
    "beteiligte": ("Beteiligte", beteiligte.measure),
    "calendar": ("Calendar", calendar.measure),
    "day": ("A day's work", day.measure),
    "start": ("Start and rest", start.measure),
    "tests": ("The gate's tests", tests.measure),
}
#: Which measure engines.
ENGINE_PARTS = ("webhook", "queue", "proxy")
#: Of which something takes many minutes: all that a long run measures.
LONG_PARTS = ("calendar", "start")
#: No part takes longer, whatever hangs.
PART_SECONDS = 600.0


async def run(
    names: list[str], *, small: bool = False, long: bool = False, real: bool = False
) -> bool:
    """Measure the parts one after the other; a failed one is shown and does not stop the others. True: all went well.

    A small run leaves the files as they are.
    """
    results, before = Results.read(LATEST), Results.read(BEFORE)
    failed = []
    for name in names:
        bench = Bench(name, small, long, real)
        about = {"run": bench.run, **machine.about()}
        try:
            async with asyncio.timeout(PART_SECONDS):
                await PARTS[name][1](bench)
        except Exception:  # noqa: BLE001 - whatever it is, the other parts are measured
            traceback.print_exc()
            failed.append(name)
            about["incomplete"] = "yes, it failed"
        if not bench.rows:
            continue
        results.put(name, bench.rows, about)
        sys.stdout.write(f"{as_text(table(results.rows(name), before.rows(name)))}\n\n")
        if not small:
            results.write(LATEST)
            write_document(
                results, before, {part: title for part, (title, _) in PARTS.items()}
            )
    sys.stdout.write(
        f"bench: failed: {', '.join(failed)}\n" if failed else "bench: ok\n"
    )
    return not failed


def main() -> None:
    """Exit status 0: every part was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", help="parts, with commas")
    parser.add_argument(
        "--small", action="store_true", help="only to see that it works"
    )
    parser.add_argument(
        "--long", action="store_true", help="instead, what takes many minutes"
    )
    parser.add_argument(
        "--real", action="store_true", help="the real engine only (III_ENGINE_BIN)"
    )
    given = parser.parse_args()
    usual = _usual(long=given.long, real=given.real)
    names = given.only.split(",") if given.only else list(usual)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    measuring = run(names, small=given.small, long=given.long, real=given.real)
    sys.exit(0 if asyncio.run(measuring) else 1)


def _usual(*, long: bool, real: bool) -> Iterable[str]:
    """The parts of a call that names none."""
    if long:
        return LONG_PARTS
    if real:
        return ENGINE_PARTS
    return PARTS


if __name__ == "__main__":
    main()
