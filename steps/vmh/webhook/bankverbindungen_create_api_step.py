"""POST /vmh/webhook/bankverbindungen/create: EspoCRM says that Bankverbindungen were created."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.webhooks import receive_batch

TOPIC = "vmh.bankverbindungen.create"

config = {
    "name": "VMH Webhook Bankverbindungen Create",
    "description": "Takes EspoCRM's batch and enqueues each record once",
    "flows": ["vmh"],
    "triggers": [http("POST", "/vmh/webhook/bankverbindungen/create")],
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
