"""What the step of the benchmark's jobs has handled so far, for the step that shows it."""

from __future__ import annotations

import time


class Handled:
    """How many jobs have come; of the first and the newest, when (s) and after how much CPU time of the process (s)."""

    def __init__(self) -> None:
        self.count = 0
        self.first = (0.0, 0.0)
        self.newest = (0.0, 0.0)

    def job(self) -> None:
        """One more."""
        self.newest = time.perf_counter(), time.process_time()
        if not self.count:
            self.first = self.newest
        self.count += 1


handled = Handled()
