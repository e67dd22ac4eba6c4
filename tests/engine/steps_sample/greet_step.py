"""Queue step that writes state, for the conformance tests."""

from typing import Any

config = {
    "name": "Sample Greet",
    "flows": ["sample"],
    "triggers": [{"type": "queue", "topic": "sample.hello"}],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: Any) -> None:
    """Remember who was greeted."""
    await ctx.state.set(
        "sample.greeted",
        input_data["name"],
        {"id": input_data["name"], "trace_id": ctx.trace_id},
    )
