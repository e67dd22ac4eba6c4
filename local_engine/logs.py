"""Structured logging: one JSON object per line on stderr, field ``event`` first."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("local_engine")


def log_event(event: str, level: int = logging.INFO, /, **fields: Any) -> None:
    """Log one fact. ``event`` is a dotted name; ``fields`` are ids, counts, sizes and durations, never payloads."""
    logger.log(level, event, extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: event, level, time (UTC ISO 8601), then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a foreign library's message becomes the field ``message`` of the event ``library``."""
        fields = getattr(record, "fields", None)
        head: dict[str, Any] = {
            "event": record.msg if fields is not None else "library",
            "level": record.levelname.lower(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        }
        if fields is None:
            fields = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            fields = {**fields, "exception": self.formatException(record.exc_info)}
        return json.dumps({**head, **fields}, ensure_ascii=False, default=str)


def configure_logging() -> None:
    """Send the engine's events (INFO and up) and libraries' warnings to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logger.setLevel(logging.INFO)
