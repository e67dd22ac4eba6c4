"""The audit of what operators do by hand (`db/migrations/0017_operate.sql`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from services.core.database import database_errors
from services.core.resources import Resources

Via = Literal["board", "cli"]
Result = Literal["done", "nothing", "failed"]
#: So many ids of one action are kept.
MAX_IDS = 200
PAGE_ROWS = 50


@dataclass(frozen=True)
class Operator:
    """Who acts: the name of an operator's key, or of the user on the command line."""

    name: str
    via: Via


@dataclass(frozen=True)
class OperatorAction:
    """One row of the audit."""

    action_id: int
    at: datetime
    operator: str
    via: str
    action: str
    target: str
    ids: Sequence[str]
    count: int
    result: str
    error: str | None


async def write_action(
    resources: Resources,
    operator: Operator,
    *,
    action: str,
    target: str,
    ids: Sequence[str],
    count: int,
    result: Result,
    error: str | None = None,
) -> None:
    """Append one row.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    pool = await resources.database()
    async with database_errors():
        await pool.execute(
            """
            INSERT INTO operator_action (at, operator, via, action, target, ids, count, result, error)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            """,
            resources.clock(),
            operator.name,
            operator.via,
            action,
            target,
            list(ids[:MAX_IDS]),
            count,
            result,
            error,
        )


async def list_actions(resources: Resources, offset: int = 0) -> list[OperatorAction]:
    """A page of `PAGE_ROWS` rows, the newest first."""
    pool = await resources.database()
    async with database_errors():
        rows: list[asyncpg.Record] = await pool.fetch(
            "SELECT * FROM operator_action ORDER BY action_id DESC LIMIT $1 OFFSET $2",
            PAGE_ROWS,
            offset,
        )
    return [OperatorAction(**_values(row)) for row in rows]


def _values(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row)
