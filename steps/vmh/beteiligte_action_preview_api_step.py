"""POST /vmh/beteiligte/actions/preview: a user has pressed "Vorschau" in EspoCRM."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.record_actions import preview

config = {
    "name": "VMH Beteiligte Action Preview",
    "description": "Says what the sync of a Beteiligter would do, and writes nothing",
    "flows": ["vmh"],
    "triggers": [http("POST", "/vmh/beteiligte/actions/preview")],
    "enqueues": [],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """Check the signature, rehearse, answer; statuses and bodies as `services.api.record_actions.preview` says."""
    status, body = await preview(request, ctx)
    return ApiResponse(status=status, body=body)
