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
        document,
        "resourceLogs",
        "scopeLogs",
        "logRecords",
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
    document: Any,
    resources: str,
    scopes: str,
    records: str,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each record with the attributes of its resource; the three levels go by other names in logs than in traces."""
    for resource in document.get(resources, []):
        described = resource.get("resource", {})
        attributes = _attributes(described.get("attributes"))
        for scope in resource.get(scopes, []):
            for record in scope.get(records, []):
                yield attributes, record


def _value(value: Any) -> Any:
    """Return the plain value of an OTLP attribute value."""
    if not isinstance(value, dict) or not value:
        return None
    kind, content = next(iter(value.items()))
    match kind:
        case "arrayValue":
            return [_value(entry) for entry in content.get("values", [])]
        case "kvlistValue":
            return _attributes(content.get("values"))
        case "intValue":
            return int(content)
        case _:
            return content


def _attributes(pairs: Any) -> dict[str, Any]:
    attributes = {}
    for pair in pairs or []:
        name = pair["key"]
        attributes[name] = _value(pair.get("value"))
    return attributes


def _id(value: Any) -> str | None:
    return str(value) if value else None


def _number(record: dict[str, Any], key: str) -> int:
    """Return a number, which OTLP writes as text where it may be large; 0 without one."""
    return int(record.get(key) or 0)


def _service(resource: dict[str, Any]) -> str:
    return str(resource.get("service.name") or "unknown")


def _log_record(resource: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    observed = _number(record, "observedTimeUnixNano")
    return {
        "timestamp_unix_nano": int(record.get("timeUnixNano") or observed),
        "observed_timestamp_unix_nano": observed,
        "severity_number": _number(record, "severityNumber"),
        "severity_text": str(record.get("severityText") or ""),
        "body": _value(record.get("body")),
        "attributes": _attributes(record.get("attributes")),
        "trace_id": _id(record.get("traceId")),
        "span_id": _id(record.get("spanId")),
        "resource": {name: as_text(value) for name, value in resource.items()},
        "service_name": _service(resource),
    }


def _span_record(resource: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    status = record.get("status") or {}
    return {
        "trace_id": str(record["traceId"]),
        "span_id": str(record["spanId"]),
        "parent_span_id": _id(record.get("parentSpanId")),
        "name": str(record.get("name")),
        "start_time_unix_nano": _number(record, "startTimeUnixNano"),
        "end_time_unix_nano": _number(record, "endTimeUnixNano"),
        "status": STATUS.get(_number(status, "code"), "unset"),
        "status_description": status.get("message") or None,
        "attributes": _attributes(record.get("attributes")),
        "service_name": _service(resource),
        "events": [_event(event) for event in record.get("events") or []],
        "links": [_link(link) for link in record.get("links") or []],
    }


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": str(event.get("name")),
        "timestamp_unix_nano": _number(event, "timeUnixNano"),
        "attributes": _attributes(event.get("attributes")),
    }


def _link(link: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": str(link.get("traceId")),
        "span_id": str(link.get("spanId")),
        "trace_state": link.get("traceState"),
        "attributes": _attributes(link.get("attributes")),
    }
