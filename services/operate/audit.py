"""The audit of what operators do by hand: written for the board and the commands, read page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.core.database import database_errors
from services.core.operation import operator_actions
from services.core.operation.operator_actions import ActionResult, record_action
from services.core.resources import Resources
from services.operate.parts import PAGE_ROWS
from services.operate.redact import redacted_or_none

Via = Literal["board", "cli"]
#: So many ids of one action are kept.
MAX_IDS = 200


@dataclass(frozen=True)
class Operator:
    """Who acts: the name of an operator's key, or of the user on the command line."""

    name: str
    via: Via

    @property
    def who(self) -> str:
        """As the audit names him: ``board:ada``, ``cli:root``."""
        return f"{self.via}:{self.name}"


@dataclass(frozen=True)
class Action:
    """One row of the audit."""

    at: datetime
    who: str
    action: str
    target: str
    count: int | None
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
    result: ActionResult,
    error: str | None = None,
) -> None:
    """Append one row.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    named = list(ids[:MAX_IDS])
    details: dict[str, Any] = {"ids": named, "count": count}
    if error:
        details["error"] = error
    row = operator_actions.OperatorAction(
        who=operator.who,
        action=action,
        target=target,
        result=result,
        details=details,
        at=resources.clock(),
    )
    await record_action(await resources.database(), row)


async def list_actions(resources: Resources, offset: int = 0) -> list[Action]:
    """A page of `PAGE_ROWS` rows and one more, the newest first.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    pool = await resources.database()
    async with database_errors():
        rows = await pool.fetch(
            """
            SELECT at, who, action, target, result, details FROM operator_action
            ORDER BY at DESC, operator_action_id DESC LIMIT $1 OFFSET $2
            """,
            PAGE_ROWS + 1,
            offset,
        )
    return [_action(dict(row)) for row in rows]


def _action(row: dict[str, Any]) -> Action:
    details = row.pop("details")
    return Action(
        **row,
        count=details.get("count"),
        error=redacted_or_none(details.get("error")),
    )
