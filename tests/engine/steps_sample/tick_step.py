"""Cron step, for the conformance tests."""

from typing import Any

config = {
    "name": "Sample Tick",
    "flows": ["sample"],
    "triggers": [{"type": "cron", "expression": "0 0 0 1 1 *"}],
    "enqueues": [],
}


async def handler(_input: None, ctx: Any) -> None:
    """Leave a mark."""
    await ctx.state.set("sample.cron", "tick", {"id": "tick"})
