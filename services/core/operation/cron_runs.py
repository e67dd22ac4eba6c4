"""What the crons leave for the board and the alerts: when each last did its work, and since when a record waits."""

from __future__ import annotations

from datetime import datetime

from redis.exceptions import RedisError

from services.core.database import database_errors
from services.core.log import log
from services.core.resources import Resources

#: In Redis: when the oldest record that waits for its sync was changed, in Unix seconds; 0: none waits.
OLDEST_UNSYNCED_KEY = "metrics:oldest_unsynced"


async def note_cron_run(resources: Resources, cron: str) -> None:
    """Remember that a cron has done its work now.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    async with database_errors():
        pool = await resources.database()
        await pool.execute(
            """
            INSERT INTO cron_run (cron, succeeded_at) VALUES ($1, $2)
            ON CONFLICT (cron) DO UPDATE SET succeeded_at = excluded.succeeded_at
            """,
            cron,
            resources.clock(),
        )


async def cron_runs(resources: Resources) -> dict[str, datetime]:
    """The last success of each cron that had one.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    async with database_errors():
        pool = await resources.database()
        rows = await pool.fetch("SELECT cron, succeeded_at FROM cron_run ORDER BY cron")
    return {row["cron"]: row["succeeded_at"] for row in rows}


async def note_oldest_unsynced(resources: Resources, moment: datetime | None) -> None:
    """Keep for all workers since when the oldest record waits; None: none does. Redis may be away."""
    value = moment.timestamp() if moment else 0.0
    try:
        await resources.redis.set(OLDEST_UNSYNCED_KEY, value)
    except RedisError:
        log(None, "warning", "metrics.not_noted")
