"""The board as an aiohttp application: security in front, then pages, JSON, live events and repairs.

It is a process of its own and holds nothing that must survive: it can be stopped and started at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from board import repairs
from board.access import COOKIE, Access, TooManyAttempts, Visitor, is_right_token
from board.metrics import exposition
from board.openapi import document, to_json
from board.pages.table import PAGES, Page
from board.query import Query
from board.render import LANGUAGE_COOKIE, Renderer, Screen, language_of
from board.texts import LANGUAGES
from config import Settings
from services.core.errors import BitByLawError, failure_code
from services.core.log import log
from services.operate import endpoints
from services.operate.overview import overview
from services.operate.pauses import shown_pauses
from services.operate.sources import Sources

ACCESS = web.AppKey("access", Access)
RENDERER = web.AppKey("renderer", Renderer)
SOURCES = web.AppKey("sources", Sources)
#: The requests that get live events.
LIVE: web.AppKey[set[asyncio.Task[object]]] = web.AppKey("live", set)

STATIC = Path(__file__).parent / "static"
LIVE_SECONDS = 5.0
#: So many browsers at once get live events; the others still have the page.
MAX_LIVE = 50
MAX_FORM_BYTES = 64 * 1024
#: Without login: what a login page needs, and what asks for keys by itself.
_FREE = ("/login", "/static/", "/healthz", "/metrics")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(sources: Sources, *, access: Access | None = None) -> web.Application:
    """The application; whoever runs it closes the sources."""
    app = web.Application(
        middlewares=[_secured, _errors_shown, _admitted],
        client_max_size=MAX_FORM_BYTES,
    )
    app[SOURCES] = sources
    app[ACCESS] = access or Access(sources.settings)
    app[RENDERER] = Renderer(sources.settings)
    app[LIVE] = set()
    app.on_shutdown.append(_end_events)
    for page in PAGES:
        app.router.add_get(page.path, _html_handler(page), name=page.name)
        app.router.add_get(page.api_path, _json_handler(page))
    app.router.add_get("/api/openapi.json", _openapi)
    app.router.add_get("/endpoints/openapi.json", _endpoints_document)
    app.router.add_get("/events", _events)
    app.router.add_get("/login", _login_page)
    app.router.add_post("/login", _log_in)
    app.router.add_post("/logout", _log_out)
    app.router.add_get("/pause/new", _confirm_pause)
    app.router.add_post("/pause/new", _begin_pause)
    app.router.add_get("/pause/end", _confirm_end)
    app.router.add_post("/pause/end", _end_pause)
    app.router.add_get("/healthz{end:/?}", _alive)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/repair/{kind}", _confirm_repair)
    app.router.add_post("/repair/{kind}", _apply_repair)
    app.router.add_post("/preview", _preview)
    app.router.add_static("/static/", STATIC)
    return app


# -- security -------------------------------------------------------------------------------------------------------


@web.middleware
async def _secured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is not for this machine's name, and send the headers with every answer."""
    if not request.app[ACCESS].knows_name(request):
        response: web.StreamResponse = web.Response(
            status=403,
            text="This board does not answer to this name.\n",
        )
    else:
        response = await handler(request)
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


@web.middleware
async def _errors_shown(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is a page, or JSON below /api/."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            return _copy(error)
        return _error(request, error.status)
    except BitByLawError as error:
        log(None, "warning", "board.refused", error=failure_code(error))
        return _error(request, 400, failure_code(error))
    except Exception as error:  # noqa: BLE001 - one page fails, the board stays
        log(None, "error", "board.failed", path=request.path, error=failure_code(error))
        return _error(request, 500)


def _copy(error: web.HTTPException) -> web.Response:
    return web.Response(status=error.status, headers=error.headers)


def _error(request: web.Request, status: int, why: str = "") -> web.Response:
    if request.path.startswith("/api/"):
        reason = why or HTTPStatus(status).phrase
        return web.json_response({"error": reason, "status": status}, status=status)
    screen = _screen(request, "")
    page = request.app[RENDERER].render("error.html", screen, status=status, why=why)
    return web.Response(text=page, status=status, content_type="text/html")


@web.middleware
async def _admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only the login page is shown to whoever may not look."""
    if request.path.startswith(_FREE):
        return await handler(request)
    if _visitor(request).role == "none":
        if request.path.startswith("/api/") or request.path == "/events":
            raise web.HTTPUnauthorized
        raise web.HTTPSeeOther("/login")
    return await handler(request)


def _visitor(request: web.Request) -> Visitor:
    return request.app[ACCESS].visitor(request)


def _screen(request: web.Request, section: str) -> Screen:
    query = {name: value for name, value in request.query.items() if name != "lang"}
    return Screen(language_of(request), _visitor(request), request.path, query, section)


async def _repairing_form(request: web.Request) -> tuple[Visitor, dict[str, list[str]]]:
    """The form of a POST by someone who may repair, with the session's own token.

    Raises:
        web.HTTPForbidden: the role or the token is missing.
    """
    visitor = _visitor(request)
    form = await request.post()
    fields = {
        name: [str(value) for value in form.getall(name)] for name in set(form.keys())
    }
    token = fields.get("csrf", [""])[0]
    if not visitor.may_repair or not is_right_token(visitor, token):
        raise web.HTTPForbidden
    return visitor, fields


# -- pages ----------------------------------------------------------------------------------------------------------


def _query(request: web.Request) -> Query:
    return Query({**request.query, **request.match_info})


def _html_handler(page: Page) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        sources = request.app[SOURCES]
        # What is paused is asked at the same time: both may wait for the same store.
        view, _ = await asyncio.gather(
            page.load(sources, _query(request)),
            shown_pauses(sources),
        )
        return await _show(request, f"{page.name}.html", page.section, view=view)

    return handler


async def _show(
    request: web.Request,
    template: str,
    section: str,
    **values: Any,
) -> web.Response:
    """A page, with what is paused at its head."""
    screen = _screen(request, section)
    paused = await shown_pauses(request.app[SOURCES])
    html = request.app[RENDERER].render(
        template,
        replace(screen, pauses=paused),
        **values,
    )
    return _html(request, html)


def _html(request: web.Request, html: str, status: int = 200) -> web.Response:
    response = web.Response(text=html, status=status, content_type="text/html")
    wanted = request.query.get("lang", "")
    if wanted in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            wanted,
            max_age=365 * 86400,
            samesite="Lax",
            httponly=True,
        )
    return response


def _json_handler(page: Page) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        view = await page.load(request.app[SOURCES], _query(request))
        return web.json_response(to_json(page, view))

    return handler


async def _openapi(_request: web.Request) -> web.Response:
    return web.json_response(document())


async def _endpoints_document(_request: web.Request) -> web.Response:
    """What the system itself answers at /openapi.json."""
    return web.json_response(endpoints.described())


async def _alive(_request: web.Request) -> web.Response:
    """The board itself, for its supervisor; asks nothing."""
    return web.Response(text="ok\n")


async def _metrics(request: web.Request) -> web.Response:
    """For Prometheus: from this machine, or with an operator's key."""
    try:
        is_admitted = await request.app[ACCESS].may_read_metrics(request)
    except TooManyAttempts:
        raise web.HTTPTooManyRequests from None
    if not is_admitted:
        raise web.HTTPUnauthorized
    sources = request.app[SOURCES]
    view = await sources.cached("overview", LIVE_SECONDS, lambda: overview(sources))
    return web.Response(
        body=exposition(view),
        headers={"Content-Type": CONTENT_TYPE_LATEST},
    )


async def _events(request: web.Request) -> web.StreamResponse:
    """The overview's HTML every few seconds, as server-sent events, for as long as the visitor may look."""
    task = asyncio.current_task()
    live = request.app[LIVE]
    if task is None or len(live) >= MAX_LIVE:
        raise web.HTTPServiceUnavailable
    live.add(task)
    try:
        return await _send_events(request)
    finally:
        live.discard(task)


async def _end_events(app: web.Application) -> None:
    """Open streams would keep the process from ending."""
    live = app[LIVE]
    for task in list(live):
        task.cancel()


async def _send_events(request: web.Request) -> web.StreamResponse:
    headers = {**HEADERS, "Content-Type": "text/event-stream"}
    response = web.StreamResponse(headers=headers)
    sources, renderer = request.app[SOURCES], request.app[RENDERER]
    access, screen = request.app[ACCESS], _screen(request, "")
    try:
        await response.prepare(request)
        while access.visitor(request, is_at_work=False).role != "none":
            view = await sources.cached(
                "overview",
                LIVE_SECONDS,
                lambda: overview(sources),
            )
            html = renderer.render("_overview.html", screen, view=view)
            lines = "".join(f"data: {line}\n" for line in html.splitlines())
            await response.write(f"event: overview\n{lines}\n".encode())
            await asyncio.sleep(LIVE_SECONDS)
    except ConnectionError:  # the browser has left
        return response
    return response


# -- login ----------------------------------------------------------------------------------------------------------


async def _login_page(request: web.Request) -> web.Response:
    return _show_login(request, "")


def _show_login(request: web.Request, problem: str, status: int = 200) -> web.Response:
    screen = _screen(request, "")
    html = request.app[RENDERER].render("login.html", screen, problem=problem)
    return _html(request, html, status)


async def _log_in(request: web.Request) -> web.StreamResponse:
    form = await request.post()
    access = request.app[ACCESS]
    try:
        token = await access.log_in(request.remote or "", str(form.get("key", "")))
    except TooManyAttempts:
        return _show_login(request, "login.too_many", 429)
    if token is None:
        log(None, "warning", "board.login_refused")
        return _show_login(request, "login.wrong", 401)
    response = web.Response(status=303, headers={"Location": "/"})
    response.set_cookie(
        COOKIE,
        token,
        httponly=True,
        samesite="Lax",
        secure=access.is_secure(request),
        path="/",
    )
    return response


async def _log_out(request: web.Request) -> web.StreamResponse:
    visitor = _visitor(request)
    form = await request.post()
    if not is_right_token(visitor, str(form.get("csrf", ""))):
        raise web.HTTPForbidden
    request.app[ACCESS].log_out(request)
    response = web.Response(status=303, headers={"Location": "/login"})
    response.del_cookie(COOKIE, path="/")
    return response


# -- repairs --------------------------------------------------------------------------------------------------------


async def _confirm_repair(request: web.Request) -> web.Response:
    if not _visitor(request).may_repair:
        raise web.HTTPForbidden
    query = _query(request)
    confirmation = await repairs.confirm(request.app[SOURCES], query)
    return await _show(request, "confirm.html", confirmation.section, view=confirmation)


async def _apply_repair(request: web.Request) -> web.Response:
    visitor, fields = await _repairing_form(request)
    done = await repairs.apply(
        request.app[SOURCES],
        visitor,
        request.match_info["kind"],
        fields,
    )
    return await _show(request, "outcome.html", done.section, view=done)


async def _preview(request: web.Request) -> web.Response:
    _, fields = await _repairing_form(request)
    view = await repairs.preview(request.app[SOURCES], fields)
    return await _show(request, "preview.html", "beteiligte", view=view)


async def _confirm_pause(request: web.Request) -> web.Response:
    return await _show_pause(request, is_end=False)


async def _confirm_end(request: web.Request) -> web.Response:
    return await _show_pause(request, is_end=True)


async def _show_pause(request: web.Request, *, is_end: bool) -> web.Response:
    if not _visitor(request).may_repair:
        raise web.HTTPForbidden
    wanted = repairs.wanted_pause(_query(request))
    return await _show(
        request,
        "pause_confirm.html",
        "pause",
        wanted=wanted,
        is_end=is_end,
    )


async def _begin_pause(request: web.Request) -> web.Response:
    visitor, fields = await _repairing_form(request)
    await repairs.begin_pause(request.app[SOURCES], visitor, fields)
    return web.Response(status=303, headers={"Location": "/pause"})


async def _end_pause(request: web.Request) -> web.Response:
    visitor, fields = await _repairing_form(request)
    await repairs.end_pause(request.app[SOURCES], visitor, fields)
    return web.Response(status=303, headers={"Location": "/pause"})


# -- running --------------------------------------------------------------------------------------------------------


async def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until cancelled; ``on_ready`` gets the address.

    Raises:
        OSError: the port cannot be used.
    """
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    async with Sources(settings) as sources:
        app = make_app(sources)
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=2)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.board.host, settings.board.port)
            await site.start()
            port = runner.addresses[0][1]
            on_ready(f"http://{settings.board.host}:{port}/")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
