"""Structured logging: one JSON object per line on stderr, field ``event`` first."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

logger = logging.getLogger("local_engine")
MAX_PLACES = 5


def log_event(event: str, level: int = logging.INFO, /, **fields: Any) -> None:
    """Log one fact. ``event`` is a dotted name; ``fields`` are ids, counts, sizes and durations, never payloads."""
    logger.log(level, event, extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: event, level, time (UTC ISO 8601), then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Of a foreign library's record only the kind is shown (event ``library``): its texts quote.

        aiohttp puts the request line of a malformed request into its message, and with it a webhook's token.
        """
        fields = getattr(record, "fields", None)
        head: dict[str, Any] = {
            "event": record.msg if fields is not None else "library",
            "level": record.levelname.lower(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds",
            ),
        }
        if fields is None:
            fields = {
                "logger": record.name,
                "source": f"{record.filename}:{record.lineno}",
            }
        if record.exc_info and record.exc_info[0] is not None:
            fields = {
                **fields,
                "exception": record.exc_info[0].__name__,
                "places": _places(record.exc_info[2]),
            }
        return json.dumps({**head, **fields}, ensure_ascii=False, default=str)


def _places(trace: TracebackType | None) -> list[str]:
    """Where an exception came from, innermost last; no texts and no values."""
    frames = traceback.extract_tb(trace)[-MAX_PLACES:]
    return [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames
    ]


def configure_logging() -> None:
    """Send the engine's events (INFO and up) and libraries' warnings to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logger.setLevel(logging.INFO)
