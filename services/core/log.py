"""Structured log lines: one event name and its fields, without personal data beyond ids.

Each fact goes to two places: to the engine, whose console shows the newest ones beside their traces, and to Python's
logging, which the worker writes to its standard output as one line of JSON each (`write_json_lines`). The latter is the
durable one: the engine keeps 1,000 records, its own among them, in memory.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

_logger = logging.getLogger("bitbylaw")

Level = Literal["debug", "info", "warning", "error"]
#: How the engine's logger calls a level, where that differs.
_ENGINE_LEVELS: dict[Level, str] = {"warning": "warn"}
MAX_MESSAGE = 200
MAX_PLACES = 5


def log(context: Any, level: Level, event: str, **fields: Any) -> None:
    """Write one line to Python's logging and, inside a step, to its logger (``context.logger``)."""
    fact = {
        "event": event,
        "fields": fields,
        "trace_id": getattr(context, "trace_id", None),
    }
    line = f"{event} {json.dumps(fields, ensure_ascii=False, default=str)}"
    _logger.log(
        logging.getLevelNamesMapping()[level.upper()],
        "%s",
        line,
        extra={"fact": fact},
    )
    if context is not None:
        method = _ENGINE_LEVELS.get(level, level)
        getattr(context.logger, method)(event, fields)


class _JsonLine(logging.Formatter):
    """One record as one line of JSON, in ASCII, so that no text can break the line."""

    def format(self, record: logging.LogRecord) -> str:
        """``{"time", "level", "event", "fields", "trace_id"}``; a library's record is the event ``library``."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(
            timespec="milliseconds",
        )
        head = {"time": moment, "level": record.levelname.lower()}
        fact = getattr(record, "fact", None) or {
            "event": "library",
            "fields": _of_library(record),
            "trace_id": None,
        }
        return json.dumps({**head, **fact}, default=str)


def _of_library(record: logging.LogRecord) -> dict[str, Any]:
    """What a library logs, without what it quotes: not the arguments of its message, nor the text of an exception."""
    fields = {
        "logger": record.name,
        "message": str(record.msg).partition("\n")[0][:MAX_MESSAGE],
    }
    if not record.exc_info or record.exc_info[0] is None:
        return fields
    frames = traceback.extract_tb(record.exc_info[2])[-MAX_PLACES:]
    places = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames
    ]
    return {**fields, "exception": record.exc_info[0].__name__, "places": places}


def write_json_lines(stream: TextIO) -> None:
    """From now on write every fact and what libraries log (info and up) to a stream, as one line of JSON each."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
