"""Structured log lines: one event name and its fields, without personal data beyond ids.

Each fact goes to two places: to the engine, whose console shows the newest ones beside their traces, and to Python's
logging, which the worker writes to its standard output as one line of JSON each (`write_json_lines`). The latter is the
durable one: the engine keeps 1,000 records, its own among them, in memory.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

_logger = logging.getLogger("bitbylaw")

Level = Literal["debug", "info", "warning", "error"]


def log(context: Any, level: Level, event: str, **fields: Any) -> None:
    """Write one line to Python's logging and, inside a step, to its logger (``context.logger``)."""
    fact = {"event": event, "fields": fields, "trace_id": getattr(context, "trace_id", None)}
    line = f"{event} {json.dumps(fields, ensure_ascii=False, default=str)}"
    _logger.log(logging.getLevelNamesMapping()[level.upper()], "%s", line, extra={"fact": fact})
    if context is not None:
        getattr(context.logger, "warn" if level == "warning" else level)(event, fields)


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """``{"time", "level", "event", "fields", "trace_id"}`` in ASCII, so that no text can break the line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": moment, "level": record.levelname.lower()}
        return json.dumps({**head, **vars(record)["fact"]}, default=str)


def write_json_lines(stream: TextIO) -> None:
    """From now on write every fact (info and up) to a stream, as one line of JSON, and nowhere else in this process."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLine())
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
