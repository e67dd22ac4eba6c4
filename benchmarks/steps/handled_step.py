"""GET /benchmark/handled: what the queue step has handled."""

from typing import Any

from motia import ApiResponse, http

from benchmarks.steps.handled import handled

config = {
    "name": "Benchmark Handled",
    "flows": ["benchmark"],
    "triggers": [http("GET", "/benchmark/handled")],
    "enqueues": [],
}


async def handler(_request: Any, _ctx: Any) -> ApiResponse:
    """200 with count, seconds between the first and the newest job, and CPU seconds of the worker meanwhile."""
    seconds, cpu = (b - a for a, b in zip(handled.first, handled.newest, strict=True))
    body = {"count": handled.count, "seconds": seconds, "cpu": cpu}
    return ApiResponse(status=200, body=body)
