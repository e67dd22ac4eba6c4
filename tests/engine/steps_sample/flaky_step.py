"""Queue step that fails as often as its message says, for the conformance tests."""

from typing import Any

config = {
    "name": "Sample Flaky",
    "flows": ["sample"],
    "triggers": [
        {
            "type": "queue",
            "topic": "sample.flaky",
            "config": {"max_retries": 2, "backoff_delay_ms": 50},
        }
    ],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: Any) -> None:
    """Count the run, then fail if that is wanted."""
    operations = [{"type": "increment", "path": "runs", "by": 1}]
    change = await ctx.state.update("sample.flaky", input_data["key"], operations)
    if change["new_value"]["runs"] <= input_data["failures"]:
        raise RuntimeError(f"not yet: {input_data}")
