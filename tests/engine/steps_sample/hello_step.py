"""HTTP step that enqueues, for the conformance tests."""

from typing import Any

from motia import ApiResponse

config = {
    "name": "Sample Hello",
    "description": "Greets by name",
    "flows": ["sample"],
    "triggers": [{"type": "http", "path": "/sample/hello/:name", "method": "POST"}],
    "enqueues": ["sample.hello"],
}


async def handler(request: Any, ctx: Any) -> ApiResponse:
    """Enqueue the greeting and answer with a header of our own."""
    name = request.path_params["name"]
    ctx.logger.info("greeting", {"name": name, "tags": ["a", "b"]})
    await ctx.enqueue(
        {"topic": "sample.hello", "data": {"name": name, "body": request.body}}
    )
    body = {"hello": name, "query": request.query_params}
    return ApiResponse(status=201, headers={"x-sample": "yes"}, body=body)
