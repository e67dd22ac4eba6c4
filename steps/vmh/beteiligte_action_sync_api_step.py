"""POST /vmh/beteiligte/actions/sync: a user has pressed "Jetzt abgleichen" in EspoCRM."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.record_actions import sync_now

config = {
    "name": "VMH Beteiligte Action Sync",
    "description": "Enqueues the sync of Beteiligte at the request of a person",
    "flows": ["vmh"],
    "triggers": [http("POST", "/vmh/beteiligte/actions/sync")],
    "enqueues": ["vmh.beteiligte.sync_now"],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """Check the signature, enqueue, answer; statuses and bodies as `services.api.record_actions.sync_now` says."""
    status, body = await sync_now(request, ctx.enqueue, ctx)
    return ApiResponse(status=status, body=body)
