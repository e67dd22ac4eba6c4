"""GET /openapi.json: what our endpoints take and answer."""

from motia import ApiRequest, ApiResponse, FlowContext, http

from services.api.openapi import document

config = {
    "name": "OpenAPI",
    "description": "The description of all HTTP endpoints",
    "flows": ["operations"],
    "triggers": [http("GET", "/openapi.json")],
    "enqueues": [],
}


async def handler(request: ApiRequest, ctx: FlowContext) -> ApiResponse:
    """200 with the document, OpenAPI 3.1."""
    return ApiResponse(status=200, body=document())
