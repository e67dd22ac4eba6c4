"""POST /vmh/beteiligte/actions/create-again: a user has pressed "In Advoware neu anlegen" in EspoCRM."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.record_actions import create_again

config = {
    "name": "VMH Beteiligte Action Create Again",
    "description": "Lets a Beteiligter that is gone from Advoware be created there again",
    "flows": ["vmh"],
    "triggers": [http("POST", "/vmh/beteiligte/actions/create-again")],
    "enqueues": ["vmh.beteiligte.sync_now"],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """Check the signature, unlink, enqueue, answer; see `services.api.record_actions.create_again`."""
    status, body = await create_again(request, ctx.enqueue, ctx)
    return ApiResponse(status=status, body=body)
