"""Who may look, who may repair, and what a request must bring along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from board_browser import VIEW_KEY, Browser, csrf_of, form_of

from board import access
from board.access import Access
from board.pages.table import PAGES
from config import ConfigurationError, Settings, load_settings, new_key

ALL_PAGES = [page.path.replace("{", "").replace("}", "") for page in PAGES]


def real(make_settings: Callable[..., Settings], engine: Any) -> Settings:
    """Settings with a real EspoCRM: its address is not named as a twin's."""
    settings = make_settings(III_URL=engine.ws_url)
    return load_settings({**settings.environment(), "BITBYLAW_TWINS": ""})


async def test_a_system_of_twins_is_open_for_viewing_and_not_for_repairs(
    visitor: Browser,
) -> None:
    assert "BitByLaw" in await visitor.page("/")
    status, _ = await visitor.get("/repair/sync?target=6b1")
    assert status == 403
    status, _ = await visitor.post("/repair/sync", {"target": "6b1", "count": "1"})
    assert status == 403


class TestRealSystem:
    """With a real system configured."""

    @pytest.fixture
    def settings(self, make_settings: Callable[..., Settings], engine: Any) -> Settings:
        return real(make_settings, engine)

    async def test_no_page_and_no_json_comes_without_login(
        self, visitor: Browser
    ) -> None:
        for path in ALL_PAGES:
            assert await visitor.get(path) == (303, "")
            api = "/api/overview" if path == "/" else f"/api{path}"
            status, text = await visitor.get(api)
            assert status == 401
            assert "value" not in text
        for path in ("/events", "/api/openapi.json"):
            assert (await visitor.get(path))[0] == 401


async def test_metrics_come_to_this_machine_and_through_a_proxy_with_a_key_only(
    visitor: Browser,
) -> None:
    proxied = {"X-Forwarded-For": "203.0.113.7"}
    assert (await visitor.get("/metrics"))[0] == 200
    assert (await visitor.get("/metrics", headers=proxied))[0] == 401
    for key, status in ((VIEW_KEY, 200), ("wrong", 401)):
        headers = {**proxied, "Authorization": f"Bearer {key}"}
        assert (await visitor.get("/metrics", headers=headers))[0] == status


async def test_a_proxy_in_front_of_twins_does_not_open_the_board(
    visitor: Browser,
) -> None:
    status, _ = await visitor.get("/", headers={"X-Forwarded-For": "203.0.113.7"})
    assert status == 303


async def test_the_role_view_may_not_repair(
    open_browser: Callable[[], Browser],
) -> None:
    browser = open_browser()
    assert await browser.log_in(VIEW_KEY) == 303
    html = await browser.page("/beteiligte")
    assert "/repair/" not in html
    fields = {"csrf": csrf_of(html), "target": "6b1", "count": "1", "ids": "6b1"}
    assert (await browser.post("/repair/sync", fields))[0] == 403


async def test_a_repair_needs_the_sessions_own_token(
    operator: Browser, open_browser: Callable[[], Browser]
) -> None:
    fields = dict(form_of(await operator.page("/repair/sync?target=6b1")))
    for token in ("", "x", fields["csrf"][:-1]):
        status, _ = await operator.post("/repair/sync", {**fields, "csrf": token})
        assert status == 403
    stranger = open_browser()
    assert (await stranger.post("/repair/sync", fields))[0] == 403


async def test_another_sites_page_can_neither_read_nor_post(operator: Browser) -> None:
    fields = form_of(await operator.page("/repair/sync?target=6b1"))
    origin = {"Origin": "https://evil.example"}
    assert (await operator.post("/repair/sync", fields, headers=origin))[0] == 403
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert (await operator.get("/api/overview", headers=fetched))[0] == 403


async def test_a_name_that_is_not_the_boards_reads_nothing(visitor: Browser) -> None:
    names = ("evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::")
    for host in names:
        for path in ("/", "/api/overview", "/login", "/static/board.css"):
            status, text = await visitor.get(path, headers={"Host": host})
            assert status in (400, 403)
            assert "<html" not in text


async def test_wrong_keys_are_slowed_down_and_then_refused_and_the_right_one_is_taken(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, board_clock: Any
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(access.asyncio, "sleep", sleep)
    gate = Access(settings, clock=board_clock)
    for _ in range(access.REFUSED_FROM):
        assert await gate.log_in("10.0.0.1", "wrong") is None
    assert waits[:4] == [0, 0, 0, access.STEP_SECONDS]
    assert max(waits) == access.LONGEST_WAIT_SECONDS
    with pytest.raises(access.TooManyAttempts):
        await gate.log_in("10.0.0.1", "wrong")
    assert await gate.log_in("10.0.0.1", VIEW_KEY) is not None
    assert await gate.log_in("10.0.0.2", VIEW_KEY) is not None
    board_clock.now += access.COUNT_SECONDS + 1
    assert await gate.log_in("10.0.0.1", "wrong") is None


async def test_a_session_ends_by_itself_and_by_logging_out(
    operator: Browser, board_clock: Any
) -> None:
    board_clock.now += access.IDLE_SECONDS - 1
    html = await operator.page("/")
    assert "ada" in html
    status, _ = await operator.post("/logout", {"csrf": csrf_of(html)})
    assert status == 303
    assert "ada" not in await operator.page("/")


async def test_a_session_ends_after_a_while_without_requests_and_after_a_day_at_the_latest(
    operator: Browser, board_clock: Any
) -> None:
    for _ in range(25):
        board_clock.now += access.IDLE_SECONDS - 1
        await operator.get("/healthz")
        await operator.page("/actions")
    assert "ada" not in await operator.page("/actions")


async def test_every_answer_carries_a_strict_policy_and_no_page_breaks_it(
    operator: Browser,
) -> None:
    for path in ("/", "/login", "/nothing", "/repair/sync?target=6b1", "/api/overview"):
        async with operator.client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            text = await answer.text()
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for inline in (" style=", "<style", " onclick", "javascript:", "https://"):
            assert inline not in text


def test_a_new_key_fits_into_the_settings_as_its_hash_only() -> None:
    key, digest = new_key()
    settings = load_settings({"BITBYLAW_BOARD_OPERATORS": f"ada:repair:{digest}"})
    assert settings.board.operator_keys[0].name == "ada"
    assert key not in repr(settings.environment())


@pytest.mark.parametrize("entry", ["ada", "ada:admin:" + "0" * 64, "ada:view:key"])
def test_an_operator_without_role_or_hash_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="BITBYLAW_BOARD_OPERATORS"):
        load_settings({"BITBYLAW_BOARD_OPERATORS": entry})


async def test_a_page_that_renews_itself_keeps_no_session_alive(
    operator: Browser, board_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("board.app.LIVE_SECONDS", 0.05)
    async with operator.client.get("/events") as stream:
        for _ in range(2):
            await stream.content.readuntil(b"\n\n")
            board_clock.now += access.IDLE_SECONDS - 1
    assert (await operator.get("/repair/sync?target=x"))[0] == 403
