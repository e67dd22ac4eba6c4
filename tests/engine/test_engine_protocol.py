"""The worker port of the embedded engine: what it does better than the real one.

The behaviour that it shares with the real engine is in conformance/test_conformance_protocol.py.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine_harness import ScriptedWorker, Target, console, eventually
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from local_engine.server import Engine


async def test_a_browser_page_cannot_become_a_worker(target: Target) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(target.ws, proxy=None, origin="http://evil.example")
    assert refusal.value.response.status_code == 403


async def test_workers_never_see_a_close_code_when_the_engine_stops(
    database_url: str,
) -> None:
    async with Engine(database_url).running() as engine:
        worker = await ScriptedWorker(engine.ws_url).start()
    await asyncio.wait_for(worker.closed.wait(), 60)
    assert worker.close_code == 1006


TAGS = {"arrayValue": {"values": [{"stringValue": "x"}, {"intValue": 2}]}}
DATA = {
    "kvlistValue": {
        "values": [
            {"key": "entity_id", "value": {"stringValue": "e1"}},
            {"key": "tags", "value": TAGS},
        ]
    }
}
RECORD = {
    "timeUnixNano": "1700000000000000000",
    "severityNumber": 9,
    "severityText": "INFO",
    "body": {"stringValue": "synced"},
    "attributes": [{"key": "log.data", "value": DATA}],
    "traceId": "a" * 32,
    "spanId": "b" * 16,
}
SPAN = {
    "traceId": "a" * 32,
    "spanId": "c" * 16,
    "parentSpanId": "b" * 16,
    "name": "child",
    "startTimeUnixNano": "2",
    "endTimeUnixNano": "3",
    "status": {"code": 2, "message": "boom"},
}
PARENT = {
    **SPAN,
    "spanId": "b" * 16,
    "parentSpanId": None,
    "name": "parent",
    "startTimeUnixNano": "1",
    "status": {},
}


async def test_logs_and_spans_of_workers_are_kept_with_all_attribute_kinds(
    target: Target,
) -> None:
    async with connect(target.ws, proxy=None) as socket:
        logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [RECORD]}]}]}
        spans = {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN, PARENT]}]}]}
        await socket.send(b"LOGS" + json.dumps(logs).encode())
        await socket.send(b"OTLP" + json.dumps(spans).encode())

        async def tree() -> Any:
            return (
                await console(
                    target, "POST", "otel/traces/tree", {"trace_id": "a" * 32}
                )
            )["roots"]

        roots = await eventually(tree, bool)
    assert [
        (root["name"], [child["name"] for child in root["children"]]) for root in roots
    ] == [("parent", ["child"])]
    assert roots[0]["children"][0]["status"] == "error"
    found = (await console(target, "POST", "otel/logs", {"trace_id": "a" * 32}))["logs"]
    assert found[0]["body"] == "synced"
    assert found[0]["attributes"] == {"log.data": {"entity_id": "e1", "tags": ["x", 2]}}
    assert (await console(target, "POST", "otel/logs", {"severity_min": 17}))[
        "logs"
    ] == []
