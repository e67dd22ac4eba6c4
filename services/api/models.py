"""The bodies of requests and answers of our endpoints, as `/openapi.json` describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

#: An id of EspoCRM.
EntityId = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,36}$")]

# -- requests -----------------------------------------------------------------------------------------------------


class StartRequest(BaseModel):
    """The body of the manual start, both fields optional."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"examples": [{"kuerzel": "SB", "full_content": True}]},
    )

    kuerzel: StrictStr = "ALL"
    full_content: StrictBool = True


class WebhookRecord(BaseModel):
    """A record as EspoCRM's webhooks send it; only the id is used, the record is read again."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"id": "67b2c1f3a9d40e5f1"}]},
    )

    id: EntityId


class ActionIds(BaseModel):
    """The records that a button is about."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"ids": ["67b2c1f3a9d40e5f1"]}]},
    )

    ids: list[EntityId] = Field(min_length=1, max_length=200)


class ActionId(BaseModel):
    """The record that a button is about."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"id": "67b2c1f3a9d40e5f1"}]},
    )

    id: EntityId


# -- answers ------------------------------------------------------------------------------------------------------


class WebhookAnswer(BaseModel):
    """How many of a batch were not waiting yet, and are now."""

    status: Literal["received"]
    action: Literal["create", "update", "delete"]
    new_ids_count: int
    total_ids_in_batch: int


class ProxyAnswer(BaseModel):
    """What Advoware answered; ``{"not_shown": ...}`` if it has accepted a write and its answer cannot be shown."""

    result: Any


class StartAnswer(BaseModel):
    """The sync was enqueued, or one is running (409)."""

    status: Literal["triggered", "locked"]
    kuerzel: str
    message: str


class ResetResult(BaseModel):
    """What became of one record; ``error`` unless it was updated."""

    id: str
    status: Literal["updated", "not_found", "failed"]
    error: str | None = None


class ResetAnswer(BaseModel):
    """What became of each record."""

    entity_type: str
    results: list[ResetResult]


class QueuedAnswer(BaseModel):
    """The sync was enqueued. ``formerNumber``: the betNr that the record had in Advoware."""

    status: Literal["queued"]
    count: int | None = None
    formerNumber: str | None = None  # noqa: N815 - EspoCRM's extension reads it


class PreviewAnswer(BaseModel):
    """What the sync would do; German texts for the dialog."""

    status: Literal["preview"]
    result: str
    changes: list[dict[str, Any]]
    held: list[str]
    tasks: list[dict[str, Any]]


class DependencyState(BaseModel):
    """State of a dependency."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "degraded", "down", "not_configured"]
    latency_ms: float | None = None
    error: str | None = None


class PauseState(BaseModel):
    """What an operator has paused; without the Kürzel of an employee."""

    kind: Literal["all", "flow", "topic", "cron", "employee"]
    target: str
    since: datetime
    until: datetime | None


class HealthAnswer(BaseModel):
    """State of the system and of all it depends on."""

    status: Literal["ok", "degraded", "paused", "down"]
    mode: Literal["live", "trial", "twins"]
    read_only: bool
    dependencies: dict[str, DependencyState]
    calendar: DependencyState
    paused: list[PauseState]


class HelloAnswer(BaseModel):
    """A greeting that was enqueued, or whether one has arrived (with ``?id=``)."""

    id: str
    arrived: bool | str
    message: str | None = None
    mode: Literal["live", "trial", "twins"] | None = None


class WhereToLook(BaseModel):
    """Where to look: the board's address, and two paths here."""

    board: str
    health: str
    hello: str


class ErrorBody(BaseModel):
    """What went wrong. ``upstream_status`` is the status that Advoware answered with."""

    error: str
    details: Any = None
    upstream_status: int | None = None


class ActionError(BaseModel):
    """Why a button did nothing, in one word that EspoCRM's dialog knows."""

    reason: str
