"""Logs and traces from the engine's functions, redacted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.core.errors import UnexpectedAnswer
from services.core.operation.engine import EngineClient
from services.operate.parts import Part, page_of, part
from services.operate.queues import moment
from services.operate.redact import redacted, redacted_payload
from services.operate.sources import Sources

#: The engine keeps the newest 1,000 records.
SEARCHED_ROWS = 1_000
LATEST_TRACES = 20
LEVELS = {"debug": 5, "info": 9, "warning": 13, "error": 17}


@dataclass(frozen=True)
class LogLine:
    """One line of the log."""

    at: datetime | None
    level: str
    event: str
    fields: Mapping[str, Any]
    trace_id: str | None
    service: str


@dataclass(frozen=True)
class TraceLine:
    """The beginning of one trace."""

    trace_id: str
    name: str
    at: datetime | None
    duration_ms: float
    is_error: bool


@dataclass(frozen=True)
class LogFilter:
    """``entity`` is an id, a number or a Kürzel that a field of the line has."""

    entity: str = ""
    trace: str = ""
    level: str = ""


@dataclass(frozen=True)
class LogsView:
    """A page of the log, and the latest traces."""

    filter: LogFilter
    lines: Part[list[LogLine]]
    traces: Part[list[TraceLine]]
    page: int
    has_next: bool


@dataclass(frozen=True)
class SpanBar:
    """One span of a trace: where it begins and how long it is, in ms since the beginning of the trace."""

    name: str
    service: str
    depth: int
    start_ms: float
    duration_ms: float
    is_error: bool


@dataclass(frozen=True)
class TraceView:
    """One trace as a waterfall, with its lines of the log."""

    trace_id: str
    spans: Part[list[SpanBar]]
    lines: Part[list[LogLine]]


async def logs_view(sources: Sources, wanted: LogFilter, page: int) -> LogsView:
    """A page of what the filter lets through, the newest first."""
    lines, traces = await asyncio.gather(
        part(find_logs(sources.engine, wanted), "engine"),
        part(_latest_traces(sources.engine), "engine"),
    )
    shown, has_next = page_of(lines, page)
    return LogsView(wanted, shown, traces, page, has_next)


async def trace_view(sources: Sources, trace_id: str) -> TraceView:
    """One trace."""
    spans, lines = await asyncio.gather(
        part(_spans(sources.engine, trace_id), "engine"),
        part(find_logs(sources.engine, LogFilter(trace=trace_id)), "engine"),
    )
    return TraceView(trace_id, spans, lines)


async def find_logs(engine: EngineClient, wanted: LogFilter) -> list[LogLine]:
    """The lines that the filter lets through, the newest first.

    Raises:
        Unavailable: the engine does not answer.
    """
    query: dict[str, Any] = {"limit": SEARCHED_ROWS}
    if wanted.trace:
        query["trace_id"] = wanted.trace
    if wanted.level in LEVELS:
        query["severity_min"] = LEVELS[wanted.level]
    answer = await engine.call("engine::logs::list", **query)
    lines = []
    for record in _member(answer, "logs"):
        if _names(record, wanted.entity):
            lines.append(_log_line(record))
    return lines


def _names(record: Mapping[str, Any], entity: str) -> bool:
    """Whether a line's event or one of its fields is about this entity."""
    if not entity:
        return True
    event = str(record.get("body"))
    fields = _fields(record).values()
    values = [str(value) for value in fields if not isinstance(value, Mapping)]
    return entity == event or entity in values


def _fields(record: Mapping[str, Any]) -> Mapping[str, Any]:
    attributes = record.get("attributes")
    if not isinstance(attributes, Mapping):
        return {}
    data = attributes.get("log.data")
    if not isinstance(data, Mapping):
        return {}
    return data


def _log_line(record: Mapping[str, Any]) -> LogLine:
    return LogLine(
        at=moment(record.get("timestamp_unix_nano")),
        level=_level(record.get("severity_number")),
        event=redacted(record.get("body") or ""),
        fields=redacted_payload(_fields(record)),
        trace_id=record.get("trace_id"),
        service=redacted(record.get("service_name") or ""),
    )


def _level(number: Any) -> str:
    found = "debug"
    if not isinstance(number, int):
        return found
    for name, minimum in LEVELS.items():
        if number >= minimum:
            found = name
    return found


async def _latest_traces(engine: EngineClient) -> list[TraceLine]:
    answer = await engine.call("engine::traces::list", limit=LATEST_TRACES)
    spans = _member(answer, "spans")
    return [_trace_line(span) for span in spans[:LATEST_TRACES]]


def _trace_line(span: Mapping[str, Any]) -> TraceLine:
    return TraceLine(
        trace_id=str(span.get("trace_id")),
        name=redacted(span.get("name") or ""),
        at=moment(span.get("start_time_unix_nano")),
        duration_ms=_length(span),
        is_error=_is_error(span),
    )


def _length(span: Mapping[str, Any]) -> float:
    """How long a span is, in ms."""
    start = _start(span)
    end = int(span.get("end_time_unix_nano") or start)
    nanoseconds = max(0, end - start)
    return nanoseconds / 1e6


def _start(span: Mapping[str, Any], unknown: int = 0) -> int:
    """When a span begins, in nanoseconds since 1970."""
    return int(span.get("start_time_unix_nano") or unknown)


def _is_error(span: Mapping[str, Any]) -> bool:
    return str(span.get("status")).lower() == "error"


async def _spans(engine: EngineClient, trace_id: str) -> list[SpanBar]:
    answer = await engine.call("engine::traces::tree", trace_id=trace_id)
    roots = _member(answer, "roots")
    if not roots:
        return []
    begin = min(map(_start, roots))
    return list(_bars(roots, begin, 0))


def _bars(
    spans: Sequence[Mapping[str, Any]],
    begin: int,
    depth: int,
) -> Iterator[SpanBar]:
    for span in spans:
        since_begin = _start(span, begin) - begin
        yield SpanBar(
            name=redacted(span.get("name") or ""),
            service=redacted(span.get("service_name") or ""),
            depth=depth,
            start_ms=max(0, since_begin) / 1e6,
            duration_ms=_length(span),
            is_error=_is_error(span),
        )
        children = span.get("children") or []
        yield from _bars(children, begin, depth + 1)


def _member(answer: Any, name: str) -> list[Mapping[str, Any]]:
    found = None
    if isinstance(answer, Mapping):
        found = answer.get(name)
    if not isinstance(found, list):
        raise UnexpectedAnswer("engine", "expected a list")
    return [item for item in found if isinstance(item, Mapping)]
