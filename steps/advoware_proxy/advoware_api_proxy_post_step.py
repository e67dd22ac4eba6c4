"""POST /advoware/proxy?endpoint=...: create in Advoware without its login dance."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.delivery import deliver
from services.api.proxy import forward

config = {
    "name": "Advoware Proxy POST",
    "description": "Create in Advoware: query parameter endpoint is the path, all others are passed on",
    "flows": ["advoware"],
    "triggers": [http("POST", "/advoware/proxy")],
    "enqueues": [],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse | None:
    """Forward the request; statuses and bodies as `services.api.proxy.forward` says."""
    status, body, headers = await forward(request, "POST", ctx)
    return await deliver(
        request,
        ApiResponse(status=status, body=body, headers=headers),
    )
