"""What workers send as OTel frames: OTLP JSON, read into plain records.

Attribute values of every kind are kept, also lists and maps (v0.8.3 turns the data of ``ctx.logger`` into null).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

#: Codes of OTLP; everything else is unset.
STATUS = {1: "ok", 2: "error"}


def log_records(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of a logs document. Raises ValueError, TypeError, KeyError or AttributeError."""
    for resource, record in _records(
        document, "resourceLogs", "scopeLogs", "logRecords"
    ):
        yield _log_record(resource, record)


def span_records(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of a traces document. Raises ValueError, TypeError, KeyError or AttributeError."""
    for resource, record in _records(document, "resourceSpans", "scopeSpans", "spans"):
        yield _span_record(resource, record)


def as_text(value: Any) -> str:
    """Return an attribute's value as the real engine writes it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


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
    observed = int(record.get("observedTimeUnixNano") or 0)
    return {
        "timestamp_unix_nano": int(record.get("timeUnixNano") or observed),
        "observed_timestamp_unix_nano": observed,
        "severity_number": int(record.get("severityNumber") or 0),
        "severity_text": str(record.get("severityText") or ""),
        "body": _value(record.get("body")),
        "attributes": _attributes(record.get("attributes")),
        "trace_id": _id(record.get("traceId")),
        "span_id": _id(record.get("spanId")),
        "resource": {name: as_text(value) for name, value in resource.items()},
        "service_name": str(resource.get("service.name") or "unknown"),
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
        "status": STATUS.get(int(status.get("code") or 0), "unset"),
        "status_description": status.get("message") or None,
        "attributes": _attributes(record.get("attributes")),
        "service_name": str(resource.get("service.name") or "unknown"),
        "events": [_event(event) for event in record.get("events") or []],
        "links": [_link(link) for link in record.get("links") or []],
    }


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": str(event.get("name")),
        "timestamp_unix_nano": int(event.get("timeUnixNano") or 0),
        "attributes": _attributes(event.get("attributes")),
    }


def _link(link: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": str(link.get("traceId")),
        "span_id": str(link.get("spanId")),
        "trace_state": link.get("traceState"),
        "attributes": _attributes(link.get("attributes")),
    }
