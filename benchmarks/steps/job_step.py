"""Queue step that does nothing but count, to see what a job costs in engine and SDK."""

from typing import Any

from benchmarks.steps.handled import handled

config = {
    "name": "Benchmark Job",
    "flows": ["benchmark"],
    "triggers": [{"type": "queue", "topic": "benchmark.step"}],
    "enqueues": [],
}


async def handler(_input_data: dict[str, Any], _ctx: Any) -> None:
    """Succeed at once."""
    handled.job()
