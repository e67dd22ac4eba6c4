"""When each cron step last ran, in PostgreSQL: the board shows missed ones, the metrics the last success."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any

from services.core.database import database_errors
from services.core.errors import failure_code
from services.core.log import log
from services.core.resources import Resources, current_resources

Handler = Callable[..., Awaitable[Any]]
NOTE_SECONDS = 5.0


@dataclass(frozen=True)
class CronRun:
    """The latest run of a cron step; ``error`` says why it failed, None if it did not or is still running."""

    name: str
    started_at: datetime
    ended_at: datetime | None
    succeeded_at: datetime | None
    error: str | None


async def cron_runs(resources: Resources) -> dict[str, CronRun]:
    """The latest runs by the names of the steps.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    pool = await resources.database()
    async with database_errors():
        rows = await pool.fetch("SELECT * FROM cron_run")
    return {row["name"]: CronRun(**row) for row in rows}


def noting_runs(name: str, handler: Handler) -> Handler:
    """The handler of a cron step, which notes its runs; a note that fails keeps no run from happening."""

    @wraps(handler)
    async def noted(*arguments: Any) -> Any:
        await _note(_STARTED, name)
        try:
            result = await handler(*arguments)
        except Exception as error:
            await _note(_FAILED, name, failure_code(error))
            raise
        await _note(_SUCCEEDED, name)
        return result

    return noted


_STARTED = """
INSERT INTO cron_run (name, started_at) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, ended_at = NULL, error = NULL
"""
_SUCCEEDED = (
    "UPDATE cron_run SET ended_at = $2, succeeded_at = $2, error = NULL WHERE name = $1"
)
_FAILED = "UPDATE cron_run SET ended_at = $2, error = $3 WHERE name = $1"


async def _note(statement: str, name: str, *values: str) -> None:
    try:
        resources = current_resources()
        pool = await resources.database()
        async with database_errors(NOTE_SECONDS):
            await pool.execute(statement, name, resources.clock(), *values)
    except Exception as error:  # noqa: BLE001 - a cron that ran without a note has run all the same
        log(None, "warning", "cron.not_noted", step=name, error=failure_code(error))
