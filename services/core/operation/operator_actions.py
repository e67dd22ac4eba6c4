"""The audit of what operators do: who, when, what, to what, and what came of it. No personal data beyond ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from services.core.database import database_errors

ActionResult = Literal["done", "nothing_to_do", "refused", "failed"]
#: Who acts when a pause has come to its end by itself.
SYSTEM = "system"


@dataclass(frozen=True)
class OperatorAction:
    """One line of the audit. ``who``: ``cli:<user>``, ``board:<key>`` or `SYSTEM`; ``target`` such as ``flow:vmh``."""

    who: str
    action: str
    target: str
    result: ActionResult
    details: Mapping[str, Any]
    at: datetime


async def record_action(
    executor: asyncpg.Pool | asyncpg.Connection,
    action: OperatorAction,
) -> None:
    """Append a line; on a connection it is part of its transaction.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    async with database_errors():
        await executor.execute(
            "INSERT INTO operator_action (at, who, action, target, result, details) VALUES ($1, $2, $3, $4, $5, $6)",
            action.at,
            action.who,
            action.action,
            action.target,
            action.result,
            dict(action.details),
        )


async def latest_actions(
    pool: asyncpg.Pool,
    *,
    limit: int = 100,
    before: datetime | None = None,
) -> list[OperatorAction]:
    """The newest lines first; ``before`` pages on from the last line's time.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    async with database_errors():
        rows = await pool.fetch(
            """
            SELECT who, action, target, result, details, at FROM operator_action
            WHERE $2::timestamptz IS NULL OR at < $2 ORDER BY at DESC, operator_action_id DESC LIMIT $1
            """,
            limit,
            before,
        )
    return [OperatorAction(**dict(row)) for row in rows]
