"""GET /metrics of a worker, in a thread of its own: slow stores and a busy worker do not keep it from answering."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from redis.exceptions import RedisError

from config import Settings
from services.core import metrics
from services.core.errors import BitByLawError, ConfigurationError
from services.core.log import log
from services.core.operation.cron_runs import OLDEST_UNSYNCED_KEY, cron_runs
from services.core.operation.pause import active_pauses, waiting_jobs
from services.core.rate_limit import LIMITS, tokens_left
from services.core.resources import Resources

#: A store that does not answer in time shows as not up; Prometheus gives up after ten seconds.
READ_SECONDS = 2.0

#: ``{topic: (jobs that are not done, dead letters)}`` of the engine.
QueueStats = Mapping[str, tuple[int, int]]
ReadQueue = Callable[[], Awaitable[QueueStats]]


def serve_in_thread(settings: Settings, read_queue: ReadQueue) -> None:
    """Serve ``GET /metrics`` at ``METRICS_HOST`` and ``METRICS_PORT`` until the process ends; nothing with port 0.

    A port that is taken is logged (``metrics.not_served``) and stops nothing else.
    """
    if not settings.metrics.port:
        return
    # What the server itself logs are requests that broke off.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(settings, read_queue)),
        name="metrics",
        daemon=True,
    )
    thread.start()


async def _serve(settings: Settings, read_queue: ReadQueue) -> None:
    host = settings.metrics.host
    port = settings.metrics.port
    async with Resources(settings) as resources:
        runner = web.AppRunner(new_application(resources, read_queue), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            log(
                None,
                "error",
                "metrics.not_served",
                port=port,
                error=type(error).__name__,
            )
            return
        await asyncio.Event().wait()


def new_application(resources: Resources, read_queue: ReadQueue) -> web.Application:
    """The web application with ``GET /metrics``."""
    one_at_a_time = asyncio.Lock()

    async def answer(_request: web.Request) -> web.Response:
        async with one_at_a_time:
            await _refresh(resources, read_queue)
            body = generate_latest(metrics.REGISTRY)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/metrics", answer)
    return application


async def _refresh(resources: Resources, read_queue: ReadQueue) -> None:
    async def queue() -> None:
        depths = {}
        dead = {}
        for name, (depth, dead_letters) in (await read_queue()).items():
            depths[name] = depth
            dead[name] = dead_letters
        _set_all(metrics.QUEUE_DEPTH, depths)
        _set_all(metrics.DEAD_LETTERS, dead)

    parts = (
        (metrics.STORE_UP.labels("postgres"), _read_postgres(resources)),
        (metrics.STORE_UP.labels("redis"), _read_redis(resources)),
        (metrics.QUEUE_READABLE, queue()),
    )
    await asyncio.gather(*(_read(up, part) for up, part in parts))


async def _read(up: Gauge, part: Awaitable[None]) -> None:
    """Read a part of what is shown; without an answer its numbers stay as they were, and ``up`` says so."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            await part
    except (BitByLawError, ConfigurationError, RedisError, TimeoutError):
        up.set(0)
    except Exception as error:  # noqa: BLE001 - whatever the engine answers, the other numbers are shown
        log(None, "warning", "metrics.not_read", error=type(error).__name__)
        up.set(0)
    else:
        up.set(1)


async def _read_postgres(resources: Resources) -> None:
    pauses = await active_pauses(resources)
    _set_all(metrics.PAUSES, Counter(item.scope.kind for item in pauses))
    _set_all(metrics.PAUSED_JOBS, await waiting_jobs(resources))
    runs = await cron_runs(resources)
    moments = {cron: moment.timestamp() for cron, moment in runs.items()}
    _set_all(metrics.CRON_SUCCESS, moments)


async def _read_redis(resources: Resources) -> None:
    oldest = await resources.redis.get(OLDEST_UNSYNCED_KEY)
    metrics.OLDEST_UNSYNCED.set(float(oldest or 0))
    for name, rate in LIMITS.items():
        tokens = await tokens_left(resources, name, rate)
        metrics.RATE_LIMIT_TOKENS.labels(name).set(tokens)


def _set_all(gauge: Gauge, values: Mapping[str, float]) -> None:
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)
