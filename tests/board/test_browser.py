"""The board in a real Chromium: contrast in the other scheme, live events, without JavaScript; and its pictures."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from board_browser import Browser, Dead
from board_chromium import SCHEMES, WIDTHS, address, needs_chromium, opened
from playwright.async_api import Browser as Chromium
from test_pages import TOPIC, in_espocrm, paths, plant

from board.pages.table import PAGES
from services.operate.sources import Sources

pytestmark = needs_chromium


@pytest.fixture
async def data(operator: Browser, sources: Sources, espocrm: Any, dead: Dead) -> None:
    """Something to show on each page."""
    await in_espocrm(operator, espocrm, betnr=1061, syncStatus="failed")
    await plant(sources)
    dead.letters(TOPIC, ['{"entity_id": "6b1"}'] * 60)


async def test_the_other_scheme_has_enough_contrast_as_well(
    chromium: Chromium, operator: Browser, data: None
) -> None:
    page = await opened(
        chromium,
        operator,
        viewport={"width": 1280, "height": 800},
        color_scheme="dark",
    )
    axe = Axe()
    for path in ("/", "/beteiligte", f"/queue/{TOPIC}", "/logs"):
        await page.goto(address(operator, path))
        found = await axe.run(page)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.skipif(
    "BOARD_PICTURES" not in os.environ,
    reason="a command, no test: `make board-pictures` names the folder in BOARD_PICTURES",
)
async def test_pictures_of_all_pages(
    chromium: Chromium, operator: Browser, data: None
) -> None:
    folder = Path(os.environ["BOARD_PICTURES"])
    pages = {page.name: path for page, path in zip(PAGES, paths(), strict=True)}
    pages |= {"confirm": f"/repair/discard?target={TOPIC}", "login": "/login"}
    for width, scheme in itertools.product(WIDTHS, SCHEMES):
        viewport = {"width": width, "height": 800}
        page = await opened(chromium, operator, viewport=viewport, color_scheme=scheme)
        for name, path in pages.items():
            await page.goto(address(operator, path))
            screenshot = folder / f"{name}-{width}-{scheme}.png"
            await page.screenshot(path=screenshot)
            assert screenshot.stat().st_size > 0
        await page.context.close()


async def test_the_overview_follows_by_itself_and_is_read_without_javascript(
    chromium: Chromium, operator: Browser, dead: Dead
) -> None:
    page = await opened(chromium, operator)
    assert await page.get_by_text("dead letters: 7").count() == 0
    dead.many(TOPIC, 7)
    await page.get_by_text("dead letters: 7").wait_for()
    plain = await opened(chromium, operator, java_script_enabled=False)
    assert await plain.get_by_text("dead letters: 7").count() == 1
