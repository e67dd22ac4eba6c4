"""A real Chromium at the board: what it complains about, what is too wide, and the way through a page by keyboard.

The browser is the system's (Debian: chromium); Playwright downloads none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from board_browser import REPAIR_KEY, Browser
from playwright.async_api import Browser as Chromium
from playwright.async_api import ConsoleMessage, Page, async_playwright

EXECUTABLE = os.environ.get("CHROMIUM") or shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    EXECUTABLE is None,
    reason="there is no Chromium here: install Debian's chromium, or name one in CHROMIUM",
)
WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")
#: Names what can be used on the page, and notes what the focus reaches with an outline that is within the window.
_KEYBOARD = """() => {
  const name = (one) => [one.tagName, one.getAttribute("href") || one.name || one.getAttribute("aria-label") || "",
    one.form ? one.form.getAttribute("action") : "", one.textContent.trim().slice(0, 30)].join(" ");
  const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  window.reached = new Set();
  window.usable = () => [...document.querySelectorAll(wanted)].map(name);
  window.missed = () => window.usable().filter((one) => !window.reached.has(one));
  document.addEventListener("focusin", ({target}) => {
    const style = getComputedStyle(target);
    const box = target.getBoundingClientRect();
    const isVisible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const isInside = box.width > 0 && box.right > 0 && box.left < innerWidth;
    if (isVisible && isInside) window.reached.add(name(target));
  });
  return window.usable();
}"""
#: A field for a date and time has a stop for each of its parts.
_MORE_TABS = 20
#: So many presses between two looks at what was reached.
_TABS_AT_ONCE = 10


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    """A running browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=EXECUTABLE, args=["--no-sandbox"]
        )
        yield browser
        await browser.close()


@dataclass
class Watch:
    """What is wrong in a browser window, and which hosts it has asked."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    axe: Axe = field(default_factory=Axe)

    def __post_init__(self) -> None:
        self.page.on(
            "request", lambda request: self.hosts.add(request.url.split("/")[2])
        )
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"{self.page.url}: {message.text}")

    async def look(self, what: str) -> None:
        """Let axe-core look at the page as it is shown, and see whether it is wider than the window."""
        found = await self.axe.run(self.page)
        if found.violations_count:
            self.problems.append(f"{what}: {found.generate_report()}")
        if await self.page.evaluate(
            "document.documentElement.scrollWidth > innerWidth"
        ):
            self.problems.append(f"{what}: too wide")

    async def tab_through(self, what: str) -> None:
        """Go through the page with the tabulator: everything that can be used is reached, with a visible focus."""
        missed = await self.page.evaluate(_KEYBOARD)
        for _ in range(0, len(missed) + _MORE_TABS, _TABS_AT_ONCE):
            for _ in range(_TABS_AT_ONCE):
                await self.page.keyboard.press("Tab")
            missed = await self.page.evaluate("window.missed()")
            if not missed:
                break
        if missed:
            self.problems.append(f"{what}: not reached by keyboard: {missed}")


def address(board: Browser, path: str) -> str:
    """The URL of a page of the board."""
    return str(board.client.make_url(path))


async def opened(chromium: Chromium, board: Browser, **options: Any) -> Page:
    """A page of a new browser window, logged in."""
    context = await chromium.new_context(locale="en-GB", **options)
    page = await context.new_page()
    page.set_default_timeout(20_000)
    await page.goto(address(board, "/login"))
    await page.fill("input[name=key]", REPAIR_KEY)
    await page.click("main button")
    await page.wait_for_url(address(board, "/"))
    return page


async def tab_to(page: Page, selector: str) -> None:
    """Press the tabulator until the focus is on what the selector names."""
    for _ in range(150):
        await page.keyboard.press("Tab")
        if await page.evaluate(
            "(wanted) => document.activeElement.matches(wanted)", selector
        ):
            return
    raise AssertionError(f"no way to {selector} by keyboard")
