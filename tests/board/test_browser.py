"""The board in a real Chromium: both widths and schemes, by keyboard, without JavaScript, no complaints of axe-core.

The browser is the system's (Debian: chromium); Playwright downloads none. Without one these tests are skipped.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from board_browser import REPAIR_KEY, Browser, Dead
from playwright.async_api import Browser as Chromium
from playwright.async_api import ConsoleMessage, Page, async_playwright
from test_pages import ENTITY, TOPIC, in_espocrm, paths, plant

from board.pages.table import PAGES
from services.api.record_actions import TOPIC as SYNC_NOW
from services.operate.queues import topic_stats
from services.operate.sources import Sources

EXECUTABLE = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    EXECUTABLE is None,
    reason="there is no Chromium here: install Debian's chromium, or name one in CHROMIUM",
)
WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    """A running browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=EXECUTABLE, args=["--no-sandbox"]
        )
        yield browser
        await browser.close()


@pytest.fixture
async def data(operator: Browser, sources: Sources, espocrm: Any, dead: Dead) -> None:
    """Something to show on each page."""
    await in_espocrm(operator, espocrm, betnr=1061, syncStatus="failed")
    await plant(sources)
    dead.letters(TOPIC, ['{"entity_id": "6b1"}'] * 60)


def address(board: Browser, path: str) -> str:
    """The URL of a page of the board."""
    return str(board.client.make_url(path))


async def opened(chromium: Chromium, board: Browser, **options: Any) -> Page:
    """A page of a new browser window, logged in; what goes wrong in it fails the test."""
    context = await chromium.new_context(locale="en-GB", **options)
    page = await context.new_page()
    page.set_default_timeout(20_000)
    await page.goto(address(board, "/login"))
    await page.fill("input[name=key]", REPAIR_KEY)
    await page.click("main button")
    await page.wait_for_url(address(board, "/"))
    return page


async def test_no_page_has_a_violation_nor_asks_another_host_nor_is_too_wide(
    chromium: Chromium, operator: Browser, data: None
) -> None:
    axe = Axe()
    confirmation = f"/repair/discard?target={TOPIC}"
    seen_hosts: set[str] = set()
    problems: list[str] = []
    for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
        viewport = {"width": width, "height": 800}
        page = await opened(chromium, operator, viewport=viewport, color_scheme=scheme)
        _watch(page, seen_hosts, problems)
        for path in [*paths(), confirmation, "/login"]:
            await page.goto(address(operator, path))
            found = await axe.run(page)
            problems += [f"{path} {width}: {found.generate_report()}"] * bool(
                found.violations_count
            )
            wide = await page.evaluate(
                "document.documentElement.scrollWidth > innerWidth"
            )
            problems += [f"{path} {width}: too wide"] * bool(wide)
        await page.context.close()
    assert problems == []
    assert seen_hosts == {address(operator, "/").split("/")[2]}


def _watch(page: Page, hosts: set[str], problems: list[str]) -> None:
    """Collect the hosts that are asked and the errors that are shown."""

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", note)


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
            picture = folder / f"{name}-{width}-{scheme}.png"
            await page.screenshot(path=picture)
            assert picture.stat().st_size > 0
        await page.context.close()


async def test_a_record_is_synced_by_keyboard_alone(
    chromium: Chromium, operator: Browser, data: None, sources: Sources
) -> None:
    page = await opened(chromium, operator)
    await page.goto(address(operator, f"/beteiligte/{ENTITY}"))
    await _tab_to(page, "Sync now")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/repair/sync**")
    await _tab_to(page, "Sync now")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[role=status] .badge.good")
    assert (await topic_stats(sources.engine, SYNC_NOW)).depth == 1


async def _tab_to(page: Page, text: str) -> None:
    for _ in range(40):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.textContent.trim()")
        if focused == text:
            return
    raise AssertionError(f"no way to {text!r} by keyboard")


async def test_the_overview_follows_by_itself_and_is_read_without_javascript(
    chromium: Chromium, operator: Browser, dead: Dead
) -> None:
    page = await opened(chromium, operator)
    assert await page.get_by_text("dead letters: 7").count() == 0
    dead.many(TOPIC, 7)
    await page.get_by_text("dead letters: 7").wait_for()
    plain = await opened(chromium, operator, java_script_enabled=False)
    assert await plain.get_by_text("dead letters: 7").count() == 1


async def test_what_is_away_is_said_in_the_browser_too(
    chromium: Chromium,
    operator: Browser,
    sources: Sources,
    make_settings: Callable[..., Any],
) -> None:
    page = await opened(chromium, operator)
    async with Sources(make_settings(III_URL="ws://127.0.0.1:9")) as away:
        sources.engine = away.engine
        sources.forget()
        await page.goto(address(operator, "/queue"))
        assert await page.locator(".missing").count() == 1
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
