"""An event loop for the tests: what the machine does not give this process does not run against its timeouts."""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

#: One step of the loop counts at most so many seconds on the wall, however long the machine takes for it.
LONGEST_STEP = 0.05


class PatientClock:
    """The loop's clock: the time that it waits counts in full, and the time that it works up to a limit for each step.

    What has come in by the end of a wait comes before what that wait was for: a process that is stopped for seconds
    finds the answer that arrived meanwhile, and not that its patience is over.
    """

    def __init__(self, haste: float) -> None:
        self.now = time.monotonic() * haste
        self._haste = haste
        self._at = time.monotonic()

    def work_is_done(self) -> None:
        """The loop has nothing more to do at once."""
        self.now += min(self._elapsed(), LONGEST_STEP) * self._haste

    def wait_is_over(self, timeout: float | None, *, something_came: bool) -> None:
        """The loop has waited, for so many seconds of its own at most."""
        waited = self._elapsed() * self._haste
        if timeout is not None:
            longest = max(timeout, 0.0)
            waited = min(waited, longest / 2) if something_came else longest
        self.now += waited

    def _elapsed(self) -> float:
        before, self._at = self._at, time.monotonic()
        return self._at - before


class PatientSelector(selectors.DefaultSelector):
    """Waits for sockets, and keeps the clock."""

    def __init__(self, haste: float = 1.0) -> None:
        super().__init__()
        self.clock = PatientClock(haste)
        self._haste = haste

    def select(self, timeout: float | None = None) -> Any:
        self.clock.work_is_done()
        ready = self.wait(timeout)
        self.clock.wait_is_over(timeout, something_came=bool(ready))
        return ready

    def wait(self, timeout: float | None) -> Any:
        """What is ready after so many seconds of the loop at most."""
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        # A process that was stopped meanwhile does not look again by itself when its time is over.
        return super().select(timeout / self._haste) or super().select(0)


class PatientLoop(asyncio.SelectorEventLoop):
    """See the module's description."""

    def __init__(self, selector: PatientSelector | None = None) -> None:
        selector = selector or PatientSelector()
        self._clock = selector.clock
        super().__init__(selector)

    def time(self) -> float:
        return self._clock.now
