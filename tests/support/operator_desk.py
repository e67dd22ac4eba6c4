"""The operator at the command line, and a look at everything that is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import asyncpg
from command_line import run_program
from typer.testing import Result

from config import Settings
from local_engine.database import Database
from services.core.resources import Resources


async def called(settings: Settings, *arguments: str, **variables: str) -> Result:
    """What ``bitbylaw ...`` comes to in this process; ``variables`` override the settings."""
    environment: Mapping[str, str] = {
        **settings.environment(),
        "BITBYLAW_ENV_FILE": "",
        "COLUMNS": "200",
        **variables,
    }
    result = await run_program(arguments, environment)
    assert not isinstance(result.exception, Exception), result.exc_info
    return result


async def command(
    resources: Resources, *arguments: str, **variables: str
) -> tuple[int, str]:
    """The same: exit status, and output with errors."""
    result = await called(resources.settings, *arguments, **variables)
    return result.exit_code, result.output


async def dump(resources: Resources) -> str:
    """Every table of the database with the queue's, every key of Redis."""
    pool = await resources.database()
    stored: dict[str, Any] = {}
    async with pool.acquire() as connection:
        for table in await tables(connection):
            statement = "SELECT row_to_json(t)::text FROM {} t".format
            rows = await connection.fetch(statement(table))
            stored[table] = [row[0] for row in rows]
    for redis in (resources.redis, resources.calendar_redis):
        async for key in redis.scan_iter():
            kind = await redis.type(key)
            stored[key] = (
                await redis.lrange(key, 0, -1)
                if kind == "list"
                else str(await redis.get(key))
            )
    return json.dumps(stored, ensure_ascii=False)


async def tables(connection: asyncpg.Connection) -> list[str]:
    """All tables of the database that are not PostgreSQL's own, with their schemas."""
    rows = await connection.fetch(
        """
        SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
        WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE' ORDER BY 1
        """
    )
    return [row["name"] for row in rows]


async def all_tables(resources: Resources) -> set[str]:
    """The names of the product's tables and of the embedded engine's, without their schemas."""
    given = resources.settings.postgres
    engine = Database(f"host={given.host} user={given.user} dbname={given.db_name}")
    await engine.open()
    try:
        names = await tables(await resources.database())
    finally:
        await engine.close()
    return {name.rpartition(".")[2] for name in names}
