"""Structured log lines: one event name and its fields, without personal data beyond ids."""

from __future__ import annotations

import json
import logging
from typing import Any, Literal

_logger = logging.getLogger("bitbylaw")

Level = Literal["debug", "info", "warning", "error"]


def log(context: Any, level: Level, event: str, **fields: Any) -> None:
    """Write one line to the step's logger (``context.logger``, which the engine's console shows), else to logging."""
    if context is not None:
        getattr(context.logger, "warn" if level == "warning" else level)(event, fields)
    else:
        line = f"{event} {json.dumps(fields, ensure_ascii=False, default=str)}"
        _logger.log(logging.getLevelNamesMapping()[level.upper()], line)
