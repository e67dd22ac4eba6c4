"""POST /vmh/webhook/beteiligte/create: EspoCRM says that Beteiligte were created."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.webhooks import receive_batch

TOPIC = "vmh.beteiligte.create"

config = {
    "name": "VMH Webhook Beteiligte Create",
    "description": "Takes EspoCRM's batch and enqueues each record once",
    "flows": ["vmh"],
    "triggers": [http("POST", "/vmh/webhook/beteiligte/create")],
    "enqueues": [TOPIC],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """Check, deduplicate, enqueue, answer; statuses and bodies as `services.api.webhooks.receive_batch` says."""
    status, body = await receive_batch(
        request,
        ctx.enqueue,
        topic=TOPIC,
        action="create",
        context=ctx,
    )
    return ApiResponse(status=status, body=body)
