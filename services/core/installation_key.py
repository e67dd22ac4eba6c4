"""The key with which values are hashed that are not to be kept: random, one for each installation (`erasure_key`)."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any


async def installation_key(connection: Any, now: datetime) -> bytes:
    """The key; it is made at the first call, at this time (aware). ``connection`` may be a pool.

    Raises:
        asyncpg.PostgresError, OSError: for the caller's `database_errors`.
    """
    await connection.execute(
        "INSERT INTO erasure_key (key, made_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        secrets.token_bytes(32),
        now,
    )
    return bytes(await connection.fetchval("SELECT key FROM erasure_key"))
