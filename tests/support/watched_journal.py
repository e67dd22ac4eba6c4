"""A twin's journal that calls back at each request, before it is answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from sandbox.control import JOURNAL_LIMIT


class WatchedJournal(deque[dict[str, Any]]):
    """The journal of a twin; put it in the place of ``twin.journal``."""

    def __init__(self, on_request: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(maxlen=JOURNAL_LIMIT)
        self._on_request = on_request

    def append(self, entry: dict[str, Any]) -> None:
        super().append(entry)
        self._on_request(entry)
