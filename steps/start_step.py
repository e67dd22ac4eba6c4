"""GET /: where to look, for whoever opens the HTTP port in a browser."""

from motia import ApiRequest, ApiResponse, FlowContext, http

config = {
    "name": "Start",
    "description": "Says where the board is",
    "flows": ["operations"],
    "triggers": [http("GET", "/")],
    "enqueues": [],
}

BOARD = "http://127.0.0.1:3113/"


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """200 with one line; the board itself is a process of its own on the same machine."""
    return ApiResponse(
        status=200,
        body={"board": BOARD, "health": "/health", "hello": "/hello"},
    )
