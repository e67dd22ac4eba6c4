"""PUT /advoware/proxy?endpoint=...: change in Advoware without its login dance."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.proxy import forward

config = {
    "name": "Advoware Proxy PUT",
    "description": "Change in Advoware: query parameter endpoint is the path, all others are passed on",
    "flows": ["advoware"],
    "triggers": [http("PUT", "/advoware/proxy")],
    "enqueues": [],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """Forward the request; statuses and bodies as `services.proxy.forward` says."""
    status, body = await forward(request, "PUT", ctx)
    return ApiResponse(status=status, body=body)
