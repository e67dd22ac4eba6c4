"""What asyncpg and Redis raise, translated once into errors with a remedy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import asyncpg
from redis.exceptions import (
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from services.core.errors import DatabaseUnusable, Unavailable

#: For one use of a pool: waiting for a free connection, and the statements.
USE_SECONDS = 60.0

#: What asyncpg raises when the connection fails, not the statement.
CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # What is left of a connection that the server has ended while it waited in the pool; the pool opens another.
    asyncpg.InternalClientError,
)
#: All that a use of PostgreSQL may raise.
DATABASE_ERRORS = (*CONNECTION_ERRORS, asyncpg.PostgresError)

#: Conditions of the server that pass or that an operator ends, by the beginning of PostgreSQL's error code.
_PASSING = {
    "08": "cannot be reached",
    "25006": "is read-only: POSTGRES_HOST must name the primary, not a standby",
    "40": "another transaction was in the way",
    "53100": "its disk is full: free space there",
    "53200": "it has no memory left",
    "53300": "it has no connection left: raise its max_connections, or run fewer workers",
    "53": "it lacks resources, see its log",
    "55": "another session was in the way",
    "57014": "the statement was cancelled",
    "57": "it is starting or stopping",
    "58": "its disk or operating system fails, see its log",
    "F0": "its configuration is broken, see its log",
    "XX": "an internal error, see its log",
}
#: Conditions that only a person can end.
_LASTING = {
    "0A000": "PostgreSQL is too old for our statements: version 15 or newer is needed",
    "28": "PostgreSQL refuses the login: POSTGRES_USER, POSTGRES_PASSWORD and its pg_hba.conf",
    "3D": "PostgreSQL has no such database: POSTGRES_DB_NAME",
    "3F": "PostgreSQL lacks our schema: apply the migrations (a restart of the worker does)",
    "42501": "POSTGRES_USER lacks rights on our tables: make it their owner",
    "42703": "PostgreSQL lacks a column: apply the migrations (a restart of the worker does)",
    "42883": "PostgreSQL lacks a function: apply the migrations (a restart of the worker does)",
    "42P01": "PostgreSQL lacks a table: apply the migrations (a restart of the worker does)",
}


@asynccontextmanager
async def database_errors(seconds: float | None = USE_SECONDS) -> AsyncIterator[None]:
    """Turn what is wrong with PostgreSQL into errors with a remedy; the block may take so many seconds.

    What is wrong with a statement or its values stays as asyncpg raises it: a `UniqueViolationError` means something
    to some callers, and all others are defects of this product.

    Raises:
        Unavailable: unreachable, read-only, disk full, no connection left, deadlock, ...; worth another try.
        DatabaseUnusable: login, database, rights or tables are missing.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except DATABASE_ERRORS as error:
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error


def _translated(error: Exception) -> Unavailable | DatabaseUnusable | None:
    code = str(getattr(error, "sqlstate", None) or "")
    lasting = _meaning(_LASTING, code)
    if lasting:
        return DatabaseUnusable(lasting)
    name = type(error).__name__
    passing = _meaning(_PASSING, code)
    if passing:
        return Unavailable("PostgreSQL", f"{passing} ({name})")
    if isinstance(error, CONNECTION_ERRORS):
        return Unavailable("PostgreSQL", f"cannot be reached ({name})")
    return None


def _meaning(meanings: Mapping[str, str], code: str) -> str | None:
    """The entry of the code itself, or of its class."""
    return meanings.get(code) or meanings.get(code[:2])


@contextmanager
def redis_errors(reason: str = "cannot be reached") -> Iterator[None]:
    """Turn what is wrong with Redis into an error that says what could not be done.

    Raises:
        Unavailable: with this reason.
    """
    try:
        yield
    except RedisError as error:
        raise Unavailable("Redis", reason) from error


#: How PostgreSQL says that it cannot write, although it answers.
_POSTGRES_REFUSES_WRITES: dict[type, str] = {
    asyncpg.DiskFullError: "disk full",
    asyncpg.ReadOnlySQLTransactionError: "read-only",
}


def why_no_writes(error: Exception) -> str | None:
    """Why a store that answers takes no writes; None if the error means something else.

    What a pool raises while it is opened is translated already: then its cause counts as well.
    """
    if isinstance(error, ReadOnlyError):
        return "read-only"
    if isinstance(error, OutOfMemoryError):
        return "memory full"
    if isinstance(error, ResponseError) and str(error).startswith("MISCONF"):
        return "it cannot save to its disk"
    for candidate in (error, error.__cause__):
        if type(candidate) in _POSTGRES_REFUSES_WRITES:
            return _POSTGRES_REFUSES_WRITES[type(candidate)]
    return None
