"""Queue step that takes a moment, for the conformance tests."""

import asyncio
from typing import Any

config = {
    "name": "Sample Slow",
    "flows": ["sample"],
    "triggers": [{"type": "queue", "topic": "sample.slow"}],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: Any) -> None:
    """Work, then note that it is done."""
    await asyncio.sleep(0.3)
    await ctx.state.set("sample.slow", input_data["key"], {"id": input_data["key"]})
