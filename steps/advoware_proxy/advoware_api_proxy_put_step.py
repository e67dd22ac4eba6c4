"""PUT /advoware/proxy?endpoint=...: change in Advoware without its login dance."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.delivery import deliver
from services.api.proxy import forward

config = {
    "name": "Advoware Proxy PUT",
    "description": "Change in Advoware: query parameter endpoint is the path, all others are passed on",
    "flows": ["advoware"],
    "triggers": [http("PUT", "/advoware/proxy")],
    "enqueues": [],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse | None:
    """Forward the request; statuses and bodies as `services.api.proxy.forward` says."""
    status, body, headers = await forward(request, "PUT", ctx)
    return await deliver(
        request,
        ApiResponse(status=status, body=body, headers=headers),
    )
