"""Fixtures of the board's tests."""

from board_browser import (
    board_clock,
    dead,
    engine,
    engine_url,
    open_browser,
    operator,
    settings,
    sources,
    visitor,
)
from board_chromium import chromium

__all__ = [
    "board_clock",
    "chromium",
    "dead",
    "engine",
    "engine_url",
    "open_browser",
    "operator",
    "settings",
    "sources",
    "visitor",
]
