"""Filters, order and shape of ``engine::logs::list`` and ``engine::traces::*``, as the real engine 0.10.0 has them.

Two things differ: without ``sort_order`` traces come newest first, and a span whose parent is not (or no longer) known
counts as the root of a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import Field

from local_engine.functions.inputs import Input
from local_engine.worker_port.invocations import INTERNAL_PREFIX
from local_engine.worker_port.otlp import as_text

PAGE = 100
NANOSECONDS = 1_000_000  #: in a millisecond, the unit of the filters


class LogQuery(Input):
    """Which log records; times are Unix milliseconds."""

    start_time: int | None = None
    end_time: int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    severity_min: int | None = None
    severity_text: str | None = None
    offset: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=1)

    def fits(self, record: dict[str, Any]) -> bool:
        """Whether a record is asked for."""
        if self.trace_id not in (None, record["trace_id"]):
            return False
        if self.span_id not in (None, record["span_id"]):
            return False
        if record["severity_number"] < (self.severity_min or 0):
            return False
        if not _same_text(self.severity_text, record["severity_text"]):
            return False
        moment = record["timestamp_unix_nano"]
        return _not_before(moment, self.start_time) and _not_after(
            moment,
            self.end_time,
        )


class TraceQuery(Input):
    """Which traces, by their root span; times are Unix milliseconds, names and states match in part."""

    trace_id: str | None = None
    service_name: str | None = None
    name: str | None = None
    status: str | None = None
    min_duration_ms: float | None = None
    max_duration_ms: float | None = None
    start_time: int | None = None
    end_time: int | None = None
    attributes: list[list[str]] | None = None
    sort_by: str | None = None
    sort_order: str | None = None
    include_internal: bool | None = None
    search_all_spans: bool | None = None
    offset: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=1)

    def fits(self, root: dict[str, Any]) -> bool:
        """Whether the trace of a root span is asked for; its name is looked at elsewhere."""
        if self.trace_id not in (None, root["trace_id"]):
            return False
        if not _contains(root["service_name"], self.service_name):
            return False
        if not _contains(root["status"], self.status):
            return False
        if not self.include_internal and _is_internal(root):
            return False
        return self._fits_time(root) and self._fits_attributes(root["attributes"])

    def _fits_time(self, root: dict[str, Any]) -> bool:
        if not _not_before(root["end_time_unix_nano"], self.start_time):
            return False
        if not _not_after(root["start_time_unix_nano"], self.end_time):
            return False
        duration = _duration(root) / NANOSECONDS
        if self.min_duration_ms is not None and duration < self.min_duration_ms:
            return False
        if self.max_duration_ms is None:
            return True
        return bool(duration <= self.max_duration_ms)

    def _fits_attributes(self, attributes: dict[str, Any]) -> bool:
        for pair in self.attributes or []:
            if len(pair) != 2:
                continue
            name, text = pair
            if name not in attributes or as_text(attributes[name]) != text:
                return False
        return True


def find_logs(
    records: list[dict[str, Any]],
    query: LogQuery,
) -> tuple[list[dict[str, Any]], int]:
    """Return one page of the records that fit, newest first, and how many fit."""
    found = [record for record in records if query.fits(record)]
    page = _page(found, query)
    return page, len(found)


def find_traces(
    spans: list[dict[str, Any]],
    query: TraceQuery,
) -> tuple[list[dict[str, Any]], int]:
    """Return one page of the root spans that fit, and how many fit."""
    named = None
    if query.search_all_spans:
        named = _traces_with_name(spans, query.name)
    found = []
    for root in _roots(spans):
        if query.fits(root) and _fits_name(root, query.name, named):
            found.append(root)
    order = _ORDERS.get(query.sort_by or "", _start)
    is_ascending = (query.sort_order or "desc").lower() == "asc"
    found.sort(key=order, reverse=not is_ascending)
    page = [shown(root) for root in _page(found, query)]
    return page, len(found)


def _roots(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans whose parent is not known here."""
    known = {span["span_id"] for span in spans}
    return [span for span in spans if span["parent_span_id"] not in known]


def trace_tree(spans: list[dict[str, Any]], trace_id: str) -> list[dict[str, Any]]:
    """Return the root spans of one trace, each with its ``children``, ordered by start."""
    members = [span for span in spans if span["trace_id"] == trace_id]
    members.sort(key=_start)
    nodes = {}
    for span in members:
        span_id = span["span_id"]
        nodes[span_id] = {**shown(span), "children": []}
    roots = []
    for node in nodes.values():
        parent = nodes.get(node["parent_span_id"])
        if parent is None:
            roots.append(node)
        else:
            parent["children"].append(node)
    return roots


def shown(span: dict[str, Any]) -> dict[str, Any]:
    """Return a span as the real engine shows it: attributes are pairs of texts."""
    return {
        **span,
        "attributes": _pairs(span["attributes"]),
        "events": [_with_pairs(event) for event in span["events"]],
        "links": [_with_pairs(link) for link in span["links"]],
    }


def _with_pairs(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "attributes": _pairs(part["attributes"])}


def _pairs(attributes: dict[str, Any]) -> list[list[str]]:
    return [[name, as_text(value)] for name, value in attributes.items()]


def _page(
    found: list[dict[str, Any]],
    query: LogQuery | TraceQuery,
) -> list[dict[str, Any]]:
    start = query.offset or 0
    return found[start : start + (query.limit or PAGE)]


def _traces_with_name(spans: Iterable[dict[str, Any]], name: str | None) -> set[str]:
    return {span["trace_id"] for span in spans if _contains(span["name"], name)}


def _fits_name(root: dict[str, Any], name: str | None, traces: set[str] | None) -> bool:
    """``traces``: those that have the name in any span, where all spans are searched."""
    if traces is not None:
        return root["trace_id"] in traces
    return _contains(root["name"], name)


def _is_internal(span: dict[str, Any]) -> bool:
    """Whether a span is one of the console's looks at the engine."""
    return str(span["attributes"].get("function_id", "")).startswith(INTERNAL_PREFIX)


def _contains(text: str, part: str | None) -> bool:
    return part is None or part.lower() in text.lower()


def _same_text(wanted: str | None, text: str) -> bool:
    return wanted is None or wanted.lower() == text.lower()


def _not_before(moment: int, milliseconds: int | None) -> bool:
    return milliseconds is None or moment >= milliseconds * NANOSECONDS


def _not_after(moment: int, milliseconds: int | None) -> bool:
    return milliseconds is None or moment <= milliseconds * NANOSECONDS


def _start(span: dict[str, Any]) -> Any:
    return span["start_time_unix_nano"]


def _duration(span: dict[str, Any]) -> Any:
    return span["end_time_unix_nano"] - span["start_time_unix_nano"]


_ORDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "duration": _duration,
    "name": lambda span: span["name"],
    "service_name": lambda span: span["service_name"],
}
