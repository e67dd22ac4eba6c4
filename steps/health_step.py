"""GET /health: whether this system and everything it depends on works."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.health import report_health

config = {
    "name": "Health",
    "description": "State and latency of every dependency",
    "flows": ["operations"],
    "triggers": [http("GET", "/health")],
    "enqueues": [],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """200 while the system can take work, 503 if not."""
    status, body = await report_health()
    return ApiResponse(status=status, body=body)
