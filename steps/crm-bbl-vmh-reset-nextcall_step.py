"""POST /crm-bbl-vmh-reset-nextcall: set the date of the next call on a list of records."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.delivery import deliver
from services.api.next_call import reset_next_call

config = {
    "name": "CRM BBL VMH Reset Next Call",
    "description": "Sets the next-call date of records in EspoCRM",
    "flows": ["vmh"],
    "triggers": [http("POST", "/crm-bbl-vmh-reset-nextcall")],
    "enqueues": [],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse | None:
    """Set the field on each record; statuses and body as `services.api.next_call.reset_next_call` says."""
    status, body, headers = await reset_next_call(request, ctx)
    return await deliver(
        request,
        ApiResponse(status=status, body=body, headers=headers),
    )
