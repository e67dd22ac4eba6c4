"""The pages: a path, a view and how it is loaded. HTML, JSON and the OpenAPI document are made of this table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from board.query import Query
from services.operate import (
    audit,
    beteiligte,
    calendars,
    configured,
    endpoints,
    flows,
    overview,
    pauses,
    queues,
    telemetry,
)
from services.operate.parts import Part, first_page, offset_of, part
from services.operate.sources import Sources


@dataclass(frozen=True)
class Page:
    """``name`` is that of the template and of the texts; ``section`` that of the menu's entry."""

    name: str
    section: str
    path: str
    view: Any
    load: Callable[[Sources, Query], Awaitable[Any]]
    parameters: tuple[str, ...] = ()

    @property
    def api_path(self) -> str:
        """Where the same is as JSON."""
        return "/api/overview" if self.path == "/" else f"/api{self.path}"


@dataclass(frozen=True)
class ActionsView:
    """A page of what operators have done."""

    actions: Part[list[audit.Action]]
    page: int
    has_next: bool


async def _overview(sources: Sources, _query: Query) -> overview.Overview:
    return await overview.overview(sources)


async def _beteiligte(sources: Sources, query: Query) -> beteiligte.BeteiligteView:
    status = query.choice("status", beteiligte.STATUSES)
    return await beteiligte.beteiligte_view(
        sources,
        status,
        query.text("search"),
        query.page,
    )


async def _beteiligter(sources: Sources, query: Query) -> beteiligte.BeteiligterView:
    return await beteiligte.beteiligter_view(
        sources,
        query.text("entity_id"),
        query.page,
    )


async def _flows(sources: Sources, _query: Query) -> flows.FlowsView:
    return await flows.flows_view(sources)


async def _runs(sources: Sources, query: Query) -> beteiligte.RunsView:
    return await beteiligte.runs_view(sources, query.text("topic"), query.page)


async def _calendars(sources: Sources, query: Query) -> calendars.CalendarsView:
    state = query.choice("state", calendars.STATES)
    return await calendars.calendars_view(
        sources,
        state,
        query.text("search"),
        query.page,
    )


async def _calendar(sources: Sources, query: Query) -> calendars.CalendarView:
    return await calendars.calendar_view(sources, query.text("kuerzel"), query.page)


async def _appointment(sources: Sources, query: Query) -> calendars.AppointmentView:
    return await calendars.appointment_view(sources, query.text("number"), query.page)


async def _queues(sources: Sources, _query: Query) -> queues.QueuesView:
    return await queues.queues_view(sources)


async def _topic(sources: Sources, query: Query) -> queues.TopicView:
    return await queues.topic_view(sources, query.text("topic"), query.page)


async def _logs(sources: Sources, query: Query) -> telemetry.LogsView:
    wanted = telemetry.LogFilter(
        entity=query.text("entity"),
        trace=query.text("trace"),
        level=query.choice("level", tuple(telemetry.LEVELS)),
    )
    return await telemetry.logs_view(sources, wanted, query.page)


async def _trace(sources: Sources, query: Query) -> telemetry.TraceView:
    return await telemetry.trace_view(sources, query.text("trace_id"))


async def _settings(sources: Sources, query: Query) -> configured.SettingsView:
    return await configured.settings_view(sources, with_doctor=query.flag("doctor"))


async def _endpoints(_sources: Sources, _query: Query) -> endpoints.DescriptionView:
    return endpoints.description_view()


async def _pause(sources: Sources, _query: Query) -> pauses.PauseView:
    return await pauses.pause_view(sources)


async def _actions(sources: Sources, query: Query) -> ActionsView:
    actions = audit.list_actions(sources.resources, offset_of(query.page))
    shown, has_next = first_page(await part(actions, "PostgreSQL"))
    return ActionsView(shown, query.page, has_next)


PAGES = (
    Page("overview", "overview", "/", overview.Overview, _overview),
    Page("flows", "flows", "/flows", flows.FlowsView, _flows),
    Page(
        "runs",
        "flows",
        "/flows/{topic}",
        beteiligte.RunsView,
        _runs,
        ("topic", "page"),
    ),
    Page(
        "beteiligte",
        "beteiligte",
        "/beteiligte",
        beteiligte.BeteiligteView,
        _beteiligte,
        ("status", "search", "page"),
    ),
    Page(
        "beteiligter",
        "beteiligte",
        "/beteiligte/{entity_id}",
        beteiligte.BeteiligterView,
        _beteiligter,
        ("entity_id", "page"),
    ),
    Page(
        "calendars",
        "calendars",
        "/calendars",
        calendars.CalendarsView,
        _calendars,
        ("state", "search", "page"),
    ),
    Page(
        "appointment",
        "calendars",
        "/appointments/{number}",
        calendars.AppointmentView,
        _appointment,
        ("number", "page"),
    ),
    Page(
        "calendar",
        "calendars",
        "/calendars/{kuerzel}",
        calendars.CalendarView,
        _calendar,
        ("kuerzel", "page"),
    ),
    Page("queue", "queue", "/queue", queues.QueuesView, _queues),
    Page(
        "topic",
        "queue",
        "/queue/{topic}",
        queues.TopicView,
        _topic,
        ("topic", "page"),
    ),
    Page(
        "logs",
        "logs",
        "/logs",
        telemetry.LogsView,
        _logs,
        ("entity", "trace", "level", "page"),
    ),
    Page(
        "trace",
        "logs",
        "/traces/{trace_id}",
        telemetry.TraceView,
        _trace,
        ("trace_id",),
    ),
    Page(
        "settings",
        "settings",
        "/settings",
        configured.SettingsView,
        _settings,
        ("doctor",),
    ),
    Page("endpoints", "settings", "/endpoints", endpoints.DescriptionView, _endpoints),
    Page("pause", "pause", "/pause", pauses.PauseView, _pause),
    Page("actions", "actions", "/actions", ActionsView, _actions, ("page",)),
)
