"""How long ``make test`` takes. It is measured by whoever runs it, and given as ``MAKE_TEST_SECONDS``."""

from __future__ import annotations

import os

from benchmarks.bench import Bench


async def measure(bench: Bench) -> None:
    """Keep the seconds that were given."""
    given = os.environ.get("MAKE_TEST_SECONDS")
    if given is None:
        bench.say("MAKE_TEST_SECONDS is not set: make test is not shown")
        return
    bench.add("make test", "whole gate", "s", [float(given)])
