"""Logs and spans in memory: what workers send as OTel frames, and the engine's own spans around them.

Frames are a four-letter prefix plus OTLP JSON. The newest 1,000 log records and 10,000 spans are kept. Metrics are
accepted and dropped.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from local_engine.logs import log_event
from local_engine.worker_port.invocations import Trace
from local_engine.worker_port.otlp import log_records, span_records
from local_engine.worker_port.protocol import ProtocolError, loads

MAX_LOGS = 1_000
MAX_SPANS = 10_000
_TRACEPARENT = re.compile(
    r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}",
)
_LEVELS = (
    (17, logging.ERROR),
    (13, logging.WARNING),
    (9, logging.INFO),
    (0, logging.DEBUG),
)


@dataclass
class Span:
    """One of the engine's own spans; times are Unix nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    start: int
    recorded: bool = True
    error: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def trace(self) -> Trace:
        """The context to hand to what happens inside this span."""
        return Trace(
            f"00-{self.trace_id}-{self.span_id}-{'01' if self.recorded else '00'}",
        )


class Telemetry:
    """Ring buffers of logs and spans."""

    def __init__(self) -> None:
        self._logs: deque[dict[str, Any]] = deque(maxlen=MAX_LOGS)
        self._spans: deque[dict[str, Any]] = deque(maxlen=MAX_SPANS)

    @contextmanager
    def span(
        self,
        name: str,
        parent: str | None = None,
        *,
        recorded: bool = True,
        **attributes: Any,
    ) -> Iterator[Span]:
        """Record a span around a block; ``parent`` is a traceparent, invalid ones start a new trace.

        Not ``recorded``: neither here nor by the workers that are called inside.
        """
        match = _TRACEPARENT.fullmatch(parent or "")
        trace_id, parent_id = (
            (match[1], match[2]) if match else (secrets.token_hex(16), None)
        )
        span = Span(
            name,
            trace_id,
            secrets.token_hex(8),
            parent_id,
            time.time_ns(),
            recorded,
            attributes=attributes,
        )
        try:
            yield span
        finally:
            self._keep(span)

    def _keep(self, span: Span) -> None:
        if span.recorded:
            self._spans.append(
                {
                    "trace_id": span.trace_id,
                    "span_id": span.span_id,
                    "parent_span_id": span.parent_span_id,
                    "name": span.name,
                    "start_time_unix_nano": span.start,
                    "end_time_unix_nano": time.time_ns(),
                    "status": "error" if span.error else "ok",
                    "status_description": span.error,
                    "attributes": span.attributes,
                    "service_name": "engine",
                    "events": [],
                    "links": [],
                },
            )

    def accept_frame(self, frame: bytes) -> None:
        """Store one OTel frame. Raises ProtocolError when it cannot be read."""
        prefix = frame[:4]
        if prefix == b"MTRC":
            return
        try:
            document = loads(frame[4:].decode())
            if prefix == b"LOGS":
                for record in log_records(document):
                    self._add_log(record)
            else:
                self._spans.extend(span_records(document))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise ProtocolError("unreadable telemetry frame") from exc

    def _add_log(self, record: dict[str, Any]) -> None:
        self._logs.append(record)
        number = record["severity_number"]
        log_event(
            "worker.log",
            next(level for minimum, level in _LEVELS if number >= minimum),
            message=record["body"],
            data=record["attributes"].get("log.data"),
            trace_id=record["trace_id"],
        )

    def clear_logs(self) -> None:
        """Forget all log records."""
        self._logs.clear()

    def clear_spans(self) -> None:
        """Forget all spans."""
        self._spans.clear()

    def counts(self) -> dict[str, int]:
        """Return how many ``logs`` and ``spans`` are kept."""
        return {"logs": len(self._logs), "spans": len(self._spans)}

    def logs(self) -> list[dict[str, Any]]:
        """Return all log records, newest first."""
        return list(reversed(self._logs))

    def spans(self) -> list[dict[str, Any]]:
        """Return all spans, the one that ended last first; their ``attributes`` are an object."""
        return list(reversed(self._spans))
