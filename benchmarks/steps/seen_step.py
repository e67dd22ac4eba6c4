"""GET /benchmark/seen: what the queue step has seen."""

from typing import Any

from motia import ApiResponse, http

from benchmarks.steps.seen import seen

config = {
    "name": "Benchmark Seen",
    "flows": ["benchmark"],
    "triggers": [http("GET", "/benchmark/seen")],
    "enqueues": [],
}


async def handler(_request: Any, _ctx: Any) -> ApiResponse:
    """200 with count, seconds between the first and the newest job, and CPU seconds of the worker meanwhile."""
    seconds, cpu = (b - a for a, b in zip(seen.first, seen.newest, strict=True))
    body = {"count": seen.count, "seconds": seconds, "cpu": cpu}
    return ApiResponse(status=200, body=body)
