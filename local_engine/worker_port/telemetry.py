"""Logs and spans in memory: what workers send as OTel frames, and the engine's own spans around them.

Frames are a four-letter prefix plus OTLP JSON. The newest 1,000 log records and 10,000 spans are kept. Attribute values
of every kind are kept, also lists and maps (v0.8.3 turns the data of ``ctx.logger`` into null). Metrics are accepted
and dropped.
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
from local_engine.worker_port.protocol import ProtocolError, loads

MAX_LOGS = 1_000
MAX_SPANS = 10_000
_TRACEPARENT = re.compile(
    r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
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
            f"00-{self.trace_id}-{self.span_id}-{'01' if self.recorded else '00'}"
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
                }
            )

    def accept_frame(self, frame: bytes) -> None:
        """Store one OTel frame. Raises ProtocolError when it cannot be read."""
        prefix = frame[:4]
        if prefix == b"MTRC":
            return
        try:
            document = loads(frame[4:].decode())
            if prefix == b"LOGS":
                for resource, record in _records(
                    document, "resourceLogs", "scopeLogs", "logRecords"
                ):
                    self._add_log(_log_record(resource, record))
            else:
                for resource, record in _records(
                    document, "resourceSpans", "scopeSpans", "spans"
                ):
                    self._spans.append(_span_record(resource, record))
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

    def logs(self, query: dict[str, Any]) -> dict[str, Any]:
        """Return log records, newest first.

        Filters: start_time, end_time (ms), trace_id, span_id, severity_min, severity_text, offset, limit.
        """
        start, end = query.get("start_time"), query.get("end_time")
        found = [
            record
            for record in reversed(self._logs)
            if (start is None or record["timestamp_unix_nano"] >= start * 1_000_000)
            and (end is None or record["timestamp_unix_nano"] <= end * 1_000_000)
            and record["severity_number"] >= (query.get("severity_min") or 0)
            and all(
                query.get(key) in (None, record[key])
                for key in ("trace_id", "span_id", "severity_text")
            )
        ]
        return {
            "logs": _page(found, query),
            "total": len(found),
            "query": query,
            "timestamp": _now_ms(),
        }

    def traces(self, query: dict[str, Any]) -> dict[str, Any]:
        """Return root spans, newest first; filters trace_id, offset, limit.

        A span counts as a root when its parent is not (or no longer) known.
        """
        known = {span["span_id"] for span in self._spans}
        roots = [
            span
            for span in reversed(self._spans)
            if span["parent_span_id"] not in known
            and query.get("trace_id") in (None, span["trace_id"])
        ]
        page = _page(roots, query)
        return {
            "spans": page,
            "total": len(roots),
            "offset": query.get("offset") or 0,
            "limit": len(page),
        }

    def tree(self, trace_id: str) -> dict[str, Any]:
        """Return the spans of one trace, each with its ``children``, ordered by start."""
        spans = sorted(
            (s for s in self._spans if s["trace_id"] == trace_id),
            key=lambda s: s["start_time_unix_nano"],
        )
        nodes: dict[str, dict[str, Any]] = {
            span["span_id"]: {**span, "children": []} for span in spans
        }
        roots: list[dict[str, Any]] = []
        for node in nodes.values():
            parent = nodes.get(node["parent_span_id"] or "")
            (parent["children"] if parent is not None else roots).append(node)
        return {"roots": roots}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _page(items: list[dict[str, Any]], query: dict[str, Any]) -> list[dict[str, Any]]:
    offset, limit = query.get("offset") or 0, query.get("limit") or 100
    return items[offset : offset + limit]


def _records(
    document: Any, *levels: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for resource in document.get(levels[0], []):
        attributes = _attributes(resource.get("resource", {}).get("attributes"))
        for scope in resource.get(levels[1], []):
            for record in scope.get(levels[2], []):
                yield attributes, record


def _value(value: Any) -> Any:
    """Return the plain value of an OTLP attribute value."""
    if not isinstance(value, dict) or not value:
        return None
    kind, content = next(iter(value.items()))
    if kind == "arrayValue":
        return [_value(entry) for entry in content.get("values", [])]
    if kind == "kvlistValue":
        return _attributes(content.get("values"))
    return int(content) if kind == "intValue" else content


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value")) for pair in pairs or []}


def _id(value: Any) -> str | None:
    return str(value) if value else None


def _log_record(resource: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    return {
        "timestamp_unix_nano": int(
            record.get("timeUnixNano") or record.get("observedTimeUnixNano") or 0
        ),
        "severity_number": int(record.get("severityNumber") or 0),
        "severity_text": str(record.get("severityText") or ""),
        "body": _value(record.get("body")),
        "attributes": _attributes(record.get("attributes")),
        "trace_id": _id(record.get("traceId")),
        "span_id": _id(record.get("spanId")),
        "service_name": resource.get("service.name"),
    }


def _span_record(resource: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    status = record.get("status") or {}
    return {
        "trace_id": str(record["traceId"]),
        "span_id": str(record["spanId"]),
        "parent_span_id": _id(record.get("parentSpanId")),
        "name": str(record.get("name")),
        "start_time_unix_nano": int(record.get("startTimeUnixNano") or 0),
        "end_time_unix_nano": int(record.get("endTimeUnixNano") or 0),
        "status": "error" if status.get("code") == 2 else "ok",
        "status_description": status.get("message") or None,
        "attributes": _attributes(record.get("attributes")),
        "service_name": resource.get("service.name"),
        "events": [
            {
                "name": event.get("name"),
                "attributes": _attributes(event.get("attributes")),
            }
            for event in record.get("events") or []
        ],
    }
