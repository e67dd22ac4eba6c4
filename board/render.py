"""Templates, and what they need: texts, times, statuses with their colour, links."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from board import charts
from board.access import Visitor
from board.query import with_parameters
from board.texts import LANGUAGES, TEXTS, text
from config import Settings
from services.operate.pauses import PauseRow

BERLIN = ZoneInfo("Europe/Berlin")
HERE = Path(__file__).parent
LANGUAGE_COOKIE = "bitbylaw_language"
#: A word of the sync, and how serious it is. What is not here is neutral.
SERIOUSNESS = {
    **dict.fromkeys(
        (
            "ok",
            "clean",
            "done",
            "synced",
            "succeeded",
            "available",
            "connected",
            "applied",
        ),
        "good",
    ),
    **dict.fromkeys(
        (
            "degraded",
            "conflict",
            "held",
            "overdue",
            "dirty",
            "paused",
            "pending",
            "warning",
        ),
        "warn",
    ),
    **dict.fromkeys(
        ("down", "failed", "permanently_failed", "failing", "error", "missed"),
        "bad",
    ),
    **dict.fromkeys(("deleted_in_advoware", "unchecked", "missing"), "bad"),
}
#: Columns of numbers, which stand to the right.
NUMERIC = frozenset(
    {
        *("attempts", "consumers", "count", "dead", "depth", "failed", "functions"),
        *("held", "ms", "pairs", "pending", "retries"),
    },
)
SECTIONS = (
    ("overview", "/"),
    ("flows", "/flows"),
    ("beteiligte", "/beteiligte"),
    ("calendars", "/calendars"),
    ("queue", "/queue"),
    ("logs", "/logs"),
    ("pause", "/pause"),
    ("settings", "/settings"),
    ("actions", "/actions"),
)


@dataclass(frozen=True)
class Screen:
    """For whom a page is made, and where it is."""

    language: str
    visitor: Visitor
    path: str
    query: Mapping[str, str]
    section: str
    pauses: Sequence[PauseRow] = ()


def language_of(request: web.BaseRequest) -> str:
    """The language that the address, the cookie or the browser asks for; German if none does."""
    wanted = [
        request.query.get("lang", ""),
        request.cookies.get(LANGUAGE_COOKIE, ""),
        *request.headers.get("Accept-Language", "").split(","),
    ]
    for entry in wanted:
        language = entry.strip()[:2].lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]


class Renderer:
    """Makes HTML of views."""

    def __init__(self, settings: Settings) -> None:
        base = settings.espocrm.api_base_url or ""
        self._espocrm = base.removesuffix("/api/v1")
        self._mode = settings.mode
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["compact"] = _compact
        self._environment.globals.update(
            hour_bars=charts.hour_bars,
            flow_graphs=charts.flow_graphs,
            runs_address=charts.runs_address,
            waterfall=charts.waterfall,
            chart_height=charts.CHART_HEIGHT,
            chart_width=charts.CHART_WIDTH,
            node_width=charts.NODE_WIDTH,
            node_height=charts.NODE_HEIGHT,
            seriousness=lambda word: SERIOUSNESS.get(word, "idle"),
            sections=SECTIONS,
            languages=LANGUAGES,
            numeric=NUMERIC,
        )

    def render(self, template: str, screen: Screen, **values: Any) -> str:
        """The HTML of a template, in the screen's language."""
        language = screen.language

        def translate(key: str, **named: Any) -> str:
            return text(language, key, **named)

        def word(value: str) -> str:
            """A word of the sync in the user's language, if it has one there."""
            return TEXTS[language].get(f"word.{value}", value)

        def link(**changes: Any) -> str:
            return with_parameters(screen.path, screen.query, **changes)

        return self._environment.get_template(template).render(
            t=translate,
            word=word,
            link=link,
            when=_when,
            iso=_iso,
            screen=screen,
            mode=self._mode,
            espocrm=self._espocrm,
            **values,
        )


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _when(moment: datetime | None) -> str:
    """A time in Berlin, for people: the day and the second."""
    if moment is None:
        return "–"
    return f"{moment.astimezone(BERLIN):%d.%m.%Y %H:%M:%S}"
