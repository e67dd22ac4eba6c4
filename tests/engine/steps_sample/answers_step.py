"""HTTP step that answers in every way a step can, for the conformance tests."""

from datetime import UTC, datetime
from typing import Any

from motia import ApiResponse

from services.api.delivery import deliver

config = {
    "name": "Sample Answers",
    "flows": ["sample"],
    "triggers": [{"type": "http", "path": "/sample/answers", "method": "POST"}],
    "enqueues": [],
}


async def handler(request: Any, ctx: Any) -> Any:
    """Answer as the query parameter ``kind`` says."""
    kind = request.query_params["kind"]
    if kind == "stream":
        await request.response.status(202)
        await request.response.headers({"content-type": "text/csv"})
        await request.response.writer.write(b"a;b\n")
        await request.response.writer.write(b"1;2\n")
        await request.response.writer.close_async()
        return None
    if kind == "limited":
        later = ApiResponse(status=429, headers={"Retry-After": "7"}, body={"busy": 1})
        return await deliver(request, later)
    if kind == "both":
        await request.response.status(418)
        return ApiResponse(status=418, body={})
    if kind == "upload":
        return ApiResponse(
            status=200, body={"size": len(await request.request_body.read_all())}
        )
    if kind == "error":
        raise ValueError("a secret")
    return {
        "no_content": ApiResponse(status=204, body=None),
        "text": ApiResponse(status=200, body="hello"),
        "not_serializable": ApiResponse(status=200, body={"at": datetime.now(UTC)}),
        "large": ApiResponse(status=200, body={"data": "x" * 3_000_000}),
        "nothing": None,
    }[kind]
