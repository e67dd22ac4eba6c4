"""GET /hello: the smoke test of a deployment, through engine, worker and queue."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.hello import TOPIC, answer_hello

config = {
    "name": "Hello",
    "description": "Sends a greeting through the queue; ?id=... says whether it has arrived",
    "flows": ["hello"],
    "triggers": [http("GET", "/hello")],
    "enqueues": [TOPIC],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """Enqueue a greeting and return its id, or look up one by its id."""
    status, body = await answer_hello(request, ctx)
    return ApiResponse(status=status, body=body)
