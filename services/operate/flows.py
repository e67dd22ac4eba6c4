"""Steps, topics, HTTP and cron as a graph, from the steps' own config, with the counts of the last hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.core.database import database_errors
from services.core.operation.steps import Step
from services.operate.parts import Part, part
from services.operate.sources import Sources

#: The calendar's audit knows no topics; its lines are of this one.
CALENDAR_TOPIC = "calendar_sync_employee"


@dataclass(frozen=True)
class Count:
    """How many syncs a topic had in the last hour, and how many of them failed."""

    done: int
    failed: int


@dataclass(frozen=True)
class FlowsView:
    """The steps of all flows, and the counts by topic."""

    steps: list[Step]
    counts: Part[dict[str, Count]]


async def flows_view(sources: Sources) -> FlowsView:
    """The graph with its counts."""
    steps = await sources.steps()
    counts = await part(counts_of_last_hour(sources), "PostgreSQL")
    return FlowsView(steps, counts)


async def counts_of_last_hour(sources: Sources) -> dict[str, Count]:
    """The counts by topic.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    since = sources.resources.clock() - timedelta(hours=1)
    pool = await sources.resources.database()
    async with database_errors():
        rows = await pool.fetch(
            """
            SELECT topic, count(*) FILTER (WHERE NOT failed) AS done, count(*) FILTER (WHERE failed) AS failed
            FROM (
                SELECT topic, error IS NOT NULL OR result = 'failed' AS failed FROM sync_audit WHERE at >= $1
                UNION ALL
                SELECT $2, error IS NOT NULL OR action = 'failed' FROM calendar_sync_audit WHERE at >= $1
            ) AS lines GROUP BY topic
            """,
            since,
            CALENDAR_TOPIC,
        )
    return {row["topic"]: Count(row["done"], row["failed"]) for row in rows}
