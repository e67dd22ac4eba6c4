"""Reset of the "next call" date: set one date-time field on a list of records."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from services.api.access import admit_tool, log_use
from services.api.errors import (
    AccessDenied,
    AnswerWithHeaders,
    answer_headers,
    error_answer,
    invalid_request,
)
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    NotFound,
    Paused,
)
from services.core.log import log
from services.core.operation.pause import part_of
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.values.espocrm_query import DATE_TIME_FORMAT

MAX_IDS = 500
CONCURRENCY = 5
SECONDS = 25.0
DATE_TIME_PATTERN = r"^[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]$"


def _is_date_time(text: str) -> str:
    datetime.strptime(text, DATE_TIME_FORMAT)  # noqa: DTZ007 - EspoCRM's date-times carry no zone, they are UTC
    return text


class ResetRequest(BaseModel):
    """What is asked: which records, and the new value (``YYYY-MM-DD HH:MM:SS`` in UTC, or null to empty the field)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"ids": ["67b2c1f3a9d40e5f1"], "next_call": "2026-12-01 08:00:00"},
            ],
        },
    )

    entity_type: (
        Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,99}$")] | None
    ) = None
    ids: list[Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,36}$")]] = Field(
        min_length=1,
        max_length=MAX_IDS,
    )
    next_call: (
        Annotated[
            str,
            AfterValidator(_is_date_time),
            Field(json_schema_extra={"pattern": DATE_TIME_PATTERN}),
        ]
        | None
    )


async def reset_next_call(request: Any, context: Any) -> AnswerWithHeaders:
    """Set ``VMH_NEXTCALL_FIELD`` on each record; a record that fails does not stop the others.

    Returns status, body and headers: 200 ``{"entity_type", "results": [{"id", "status": "updated" | "not_found" |
    "failed", "error"?}]}``; 400 for an unusable body; 401 without API key, 403 if it has no right to this, 429 after
    many wrong keys.
    """
    resources = current_resources()
    try:
        caller = await admit_tool(request, resources, context, needs="nextcall")
        requested = ResetRequest.model_validate(request.body)
    except AccessDenied as error:
        return *error_answer(error), answer_headers(error)
    except ValidationError as error:
        return *invalid_request(error), {}
    entity_type = requested.entity_type or resources.settings.vmh.nextcall_entity
    ids = list(dict.fromkeys(requested.ids))
    results = await _reset_all(
        resources,
        entity_type,
        ids,
        requested.next_call,
        context,
    )
    updated = sum(result["status"] == "updated" for result in results)
    log(
        context,
        "info",
        "nextcall.reset",
        entity_type=entity_type,
        updated=updated,
        ids=len(results),
    )
    log_use(context, caller, "nextcall", entity_type=entity_type, ids=len(results))
    return 200, {"entity_type": entity_type, "results": results}, {}


async def _reset_all(
    resources: Resources,
    entity_type: str,
    ids: list[str],
    next_call: str | None,
    context: Any,
) -> list[dict[str, Any]]:
    espocrm = EspoCRMAPI(context, resources=resources)
    places = asyncio.Semaphore(CONCURRENCY)
    deadline = asyncio.get_running_loop().time() + SECONDS
    change = {resources.settings.vmh.nextcall_field: next_call}

    async def reset(entity_id: str) -> dict[str, Any]:
        async with places:
            try:
                async with asyncio.timeout_at(deadline):
                    with part_of("vmh"):
                        await espocrm.update_entity(
                            entity_type,
                            entity_id,
                            dict(change),
                        )
            except TimeoutError:
                status = "failed"
                reason = "no time left; send it again"
            except NotFound as error:
                status = "not_found"
                reason = str(error)
            except (Paused, ForeignSystemError, ConfigurationError) as error:
                status = "failed"
                reason = str(error)
            else:
                return {"id": entity_id, "status": "updated"}
        return {"id": entity_id, "status": status, "error": reason}

    return list(await asyncio.gather(*map(reset, ids)))
