"""docs/data-protection.md names every table, every key of Redis and every log file that exists."""

from __future__ import annotations

import re

import pytest
from beteiligte_office import Office, office
from operator_desk import all_tables

from config import PROJECT_ROOT
from services.advoware import (
    LOGIN_LOCK_KEY,
    LOGIN_REFUSED_KEY,
    TOKEN_KEY,
    TOKEN_TIMESTAMP_KEY,
)
from services.api.replays import received_key
from services.beteiligte_check import DELETED_CURSOR
from services.calendar_sync.employees import LAST_SUCCESS, lock_key
from services.core.jobs.pending import pending_key
from services.core.locks import beteiligte_lock_key
from services.core.operation.cron_runs import OLDEST_UNSYNCED_KEY
from services.core.resources import Resources

__all__ = ["office"]

PAGE = (PROJECT_ROOT / "docs" / "data-protection.md").read_text("utf-8")


def documented(heading: str) -> set[str]:
    """The names in the first column of a chapter's table."""
    chapter = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


async def test_every_table_is_documented(resources: Resources) -> None:
    existing = await all_tables(resources)
    assert existing - documented("Tables") == set()


@pytest.mark.parametrize(
    "key",
    [
        *(TOKEN_KEY, TOKEN_TIMESTAMP_KEY, LOGIN_LOCK_KEY, LOGIN_REFUSED_KEY),
        OLDEST_UNSYNCED_KEY,
        *(DELETED_CURSOR, LAST_SUCCESS, lock_key("<Kürzel>"), "health:probe"),
        *(beteiligte_lock_key("<id>"), pending_key("<topic>", "<id>")),
        *("rate_limit:{<name>}:bucket", "rate_limit:{<name>}:log"),
        *("access:refused:<group>", received_key("<topic>", "<mac>")),
    ],
)
def test_every_key_is_documented(key: str) -> None:
    assert key in documented("Keys of Redis")


async def test_no_other_key_is_in_redis_after_a_sync(
    office: Office, resources: Resources
) -> None:
    await office.linked_person()
    known = {
        re.sub(r"<[^>]+>", ".+", re.escape(k).replace("\\<", "<"))
        for k in documented("Keys of Redis")
    }
    for redis in (resources.redis, resources.calendar_redis):
        async for key in redis.scan_iter():
            assert any(re.fullmatch(pattern, key) for pattern in known), key
            if await redis.ttl(key) == -1:
                assert re.search(rf"`{re.escape(key)}` \\|.*\\| stays \\|", PAGE), key


def test_every_log_is_documented() -> None:
    for log in ("worker.log", "board.log", "engine.log", "redis.log", "twins.log"):
        assert log in documented("Logs")
