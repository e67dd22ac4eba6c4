"""An event loop whose clock runs fast: pauses and timeouts of the product need not be sat out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from patient_loop import PatientLoop, PatientSelector

#: So much faster than the clock on the wall do pauses and timeouts of the event loop pass.
HASTE = 10.0


def _hasty_loop() -> PatientLoop:
    return PatientLoop(PatientSelector(HASTE))


@contextmanager
def hasty_runner() -> Iterator[asyncio.Runner]:
    """A runner whose pauses and timeouts pass quickly."""
    with asyncio.Runner(loop_factory=_hasty_loop) as runner:
        yield runner
