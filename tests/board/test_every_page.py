"""Every page of the board in a real Chromium: with data, empty, and with a dependency down; at 1280 and 400 pixels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from board_browser import Browser, Dead
from board_chromium import (
    SCHEMES,
    WIDTHS,
    Watch,
    address,
    needs_chromium,
    opened,
    tab_to,
)
from playwright.async_api import Browser as Chromium
from test_pages import ENTITY, TOPIC, in_espocrm, paths, plant

from board.repairs import SECTIONS as REPAIRS
from services.operate.audit import list_actions
from services.operate.sources import Sources

pytestmark = needs_chromium
TARGETS = {
    "sync": ENTITY,
    "retry": "failed",
    "sync_calendar": "AB",
    "sync_calendars": "failing",
    "release": "CD",
    "redrive": TOPIC,
    "discard": TOPIC,
}
#: What does not answer, and the settings that make it so.
AWAY = {
    "engine": {"III_URL": "ws://127.0.0.1:9"},
    "PostgreSQL": {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "9"},
    "Redis": {"REDIS_PORT": "9"},
}


def confirmation(kind: str) -> str:
    """Where a repair says what it would do."""
    return f"/repair/{kind}?target={TARGETS[kind]}"


#: The pages of the board's table, and such on the way to an action as ask PostgreSQL, EspoCRM and the engine.
USUAL = [
    *paths(),
    "/settings?doctor=1",
    *map(confirmation, ("sync_calendar", "retry", "redrive")),
]
#: All others that there are.
FURTHER = [
    *map(confirmation, set(REPAIRS) - {"sync_calendar", "retry", "redrive"}),
    "/pause/new?kind=flow&target=vmh&reason=Restore",
    "/pause/end?kind=flow&target=vmh",
    "/login",
]


@asynccontextmanager
async def without(
    sources: Sources, make_settings: Callable[..., Any], variables: dict[str, str]
) -> AsyncIterator[None]:
    """The board with a dependency that refuses to be connected to."""
    resources, engine = sources.resources, sources.engine
    async with Sources(make_settings(**variables)) as away:
        sources.resources, sources.engine = away.resources, away.engine
        sources.forget()
        yield
        sources.resources, sources.engine = resources, engine


async def look_at_all(
    chromium: Chromium, operator: Browser, state: str, pages: list[str]
) -> list[str]:
    """Open each page once, and look at it in both widths and schemes and by keyboard.

    Returns those on which something is reported as missing.
    """
    page = await opened(chromium, operator)
    watch = Watch(page)
    incomplete = []
    for path in pages:
        answer = await page.goto(address(operator, path))
        assert answer is not None
        assert answer.status == 200, (path, answer.status)
        if await page.locator(".missing[role=status]").count():
            incomplete.append(path)
        for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await watch.look(f"{path} {state} {width}")
        await watch.tab_through(f"{path} {state}")
    assert watch.problems == []
    assert watch.hosts == {address(operator, "/").split("/")[2]}
    return incomplete


async def test_every_page_with_data(
    chromium: Chromium,
    operator: Browser,
    sources: Sources,
    espocrm: Any,
    dead: Dead,
) -> None:
    await in_espocrm(operator, espocrm, betnr=1061, syncStatus="failed")
    await plant(sources)
    dead.letters(TOPIC, ['{"entity_id": "6b1"}'] * 60)
    assert await look_at_all(chromium, operator, "with data", [*USUAL, *FURTHER]) == []


async def test_every_page_of_an_empty_system(
    chromium: Chromium, operator: Browser
) -> None:
    incomplete = await look_at_all(chromium, operator, "empty", USUAL)
    assert incomplete == [confirmation("sync_calendar")]


@pytest.mark.parametrize("dependency", AWAY)
async def test_every_page_while_a_dependency_is_away(
    dependency: str,
    chromium: Chromium,
    operator: Browser,
    sources: Sources,
    make_settings: Callable[..., Any],
) -> None:
    await plant(sources)
    async with without(sources, make_settings, AWAY[dependency]):
        state = f"without {dependency}"
        assert await look_at_all(chromium, operator, state, USUAL) != []


OTHER_TOPIC = "vmh.beteiligte.create"
#: Where each repair is offered.
STARTS = {
    "sync": f"/beteiligte/{ENTITY}",
    "retry": "/beteiligte?status=failed",
    "sync_calendar": "/calendars/AB",
    "sync_calendars": "/calendars?state=failing",
    "release": "/calendars/{held}",
    "redrive": f"/queue/{TOPIC}",
    "discard": f"/queue/{OTHER_TOPIC}",
}


async def test_each_action_is_found_confirmed_and_done_by_keyboard_alone(
    chromium: Chromium,
    operator: Browser,
    sources: Sources,
    espocrm: Any,
    advoware: Any,
    dead: Dead,
) -> None:
    held = advoware.employees[0].kuerzel
    await in_espocrm(operator, espocrm, betnr=1061, syncStatus="failed")
    await plant(sources, held)
    dead.letters(TOPIC, ["{}", "{}"])
    dead.letters(OTHER_TOPIC, ["{}", "{}"])
    page = await opened(chromium, operator)
    watch = Watch(page)
    for kind in REPAIRS:
        await page.goto(address(operator, STARTS[kind].format(held=held)))
        await tab_to(page, f"a[href^='/repair/{kind}?']")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/repair/{kind}?**")
        await tab_to(page, "main form button")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("p[role=status] .badge")
        await watch.look(f"what became of {kind}")
    rows = await list_actions(sources.resources)
    assert {row.action for row in rows if row.result != "failed"} == set(REPAIRS)
    assert watch.problems == []


async def test_a_pause_is_begun_and_ended_and_a_preview_read_by_keyboard_alone(
    chromium: Chromium, operator: Browser, sources: Sources, espocrm: Any
) -> None:
    await in_espocrm(operator, espocrm, salutationName="Frau", syncStatus="dirty")
    page = await opened(chromium, operator)
    watch = Watch(page)
    await page.goto(address(operator, "/pause"))
    await tab_to(page, "[name=reason]")
    await page.keyboard.type("Restore")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/pause/new?**")
    await tab_to(page, "main form button")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".paused")
    await watch.look("paused")
    await tab_to(page, "a[href^='/pause/end?']")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/pause/end?**")
    await tab_to(page, "main form button")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".empty")
    await page.goto(address(operator, f"/beteiligte/{ENTITY}"))
    await tab_to(page, "form[action='/preview'] button")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/preview")
    await watch.look("preview")
    rows = await list_actions(sources.resources)
    assert [row.action for row in rows] == ["resume", "pause"]
    assert watch.problems == []


async def test_a_step_of_the_graph_opens_its_last_runs_and_its_edge_counts_them(
    chromium: Chromium, operator: Browser, sources: Sources
) -> None:
    await plant(sources)
    page = await opened(chromium, operator)
    await page.goto(address(operator, "/flows"))
    assert await page.locator("svg text.count .failed").first.text_content() == "✗1"
    steps = [step.name for step in await sources.steps() if TOPIC in step.topics]
    for name in (TOPIC, steps[0]):
        await tab_to(page, f"svg a[href='/flows/{quote(name)}']")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/flows/{quote(name)}")
        assert await page.locator(f"a[href='/beteiligte/{ENTITY}']").count() == 1
        await page.goto(address(operator, "/flows"))
    assert await page.locator("svg a[href='/calendars']").count() >= 2


async def test_a_graph_that_is_wider_than_the_window_is_moved_by_keyboard(
    chromium: Chromium, operator: Browser
) -> None:
    page = await opened(chromium, operator, viewport={"width": 1280, "height": 800})
    await page.goto(address(operator, "/flows"))
    boxes = page.locator(".scroll")
    hidden_widths = [
        await boxes.nth(number).evaluate("(box) => box.scrollWidth - box.clientWidth")
        for number in range(await boxes.count())
    ]
    assert max(hidden_widths) > 0
    widest = await boxes.nth(hidden_widths.index(max(hidden_widths))).element_handle()
    assert widest is not None
    label = await widest.get_attribute("aria-label")
    await tab_to(page, f"[aria-label={label!r}]")
    await page.keyboard.press("ArrowRight")
    await page.wait_for_function("(box) => box.scrollLeft > 0", arg=widest)
