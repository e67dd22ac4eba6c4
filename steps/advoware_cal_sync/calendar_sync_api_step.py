"""POST /advoware/calendar/sync: start the calendar sync of one employee or of all by hand."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.delivery import deliver
from steps.advoware_cal_sync.calendar_sync_utils import TOPIC_ALL, TOPIC_EMPLOYEE, start

config = {
    "name": "Calendar Sync API",
    "description": "Starts the calendar sync by hand",
    "flows": ["advoware_cal_sync"],
    "triggers": [http("POST", "/advoware/calendar/sync")],
    "enqueues": [TOPIC_ALL, TOPIC_EMPLOYEE],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse | None:
    """Start the sync; statuses and body as `calendar_sync_utils.start` says."""
    status, body, headers = await start(request, ctx)
    return await deliver(
        request,
        ApiResponse(status=status, body=body, headers=headers),
    )
