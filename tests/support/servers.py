"""PostgreSQL and Redis of a test process, databases in them, and the settings with which the product finds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psycopg
from hasty_loop import HASTE

from cli import embedded
from cli.system import ESPOCRM_TWIN_KEY
from config import PostgresSettings
from sandbox.advoware.app import DEFAULT_CREDENTIALS, AdvowareTwin
from sandbox.espocrm.access import ADMIN_ID
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.google.app import GoogleTwin
from services.core.database import open_database

#: A database to which all migrations were applied; the others are copies of it.
TEMPLATE = "migrated"


@dataclass(frozen=True)
class Stores:
    """The servers of this test process."""

    postgres: embedded.EmbeddedPostgres
    redis: embedded.EmbeddedRedis

    @asynccontextmanager
    async def new_database(self) -> AsyncIterator[str]:
        """A database with all migrations applied, dropped afterwards; its name.

        Its files are copied: the default, which writes them to the log, takes four times as long.
        """
        name = f"test_{uuid4().hex[:12]}"
        admin = await asyncpg.connect(
            host=self.postgres.host, user=self.postgres.user, database="postgres"
        )
        await admin.execute(
            f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY"
        )
        try:
            yield name
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await admin.close()

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """A database without any table, dropped afterwards; its libpq URL."""
        name = f"empty_{uuid4().hex[:12]}"
        admin = self.postgres.url("postgres")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY")
            yield self.postgres.url(name)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def variables(self, database: str) -> dict[str, Any]:
        """How the product finds these servers and that database."""
        return {
            "POSTGRES_HOST": self.postgres.host,
            "POSTGRES_USER": self.postgres.user,
            "POSTGRES_DB_NAME": database,
            "REDIS_HOST": self.redis.host,
            "REDIS_PORT": self.redis.port,
            "REDIS_PASSWORD": self.redis.password,
        }

    async def prepare(self) -> None:
        """Make the server quick, and the template."""
        self._without_fsync()
        admin = self.postgres.url("postgres")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE} STRATEGY FILE_COPY")
        settings = PostgresSettings(
            host=self.postgres.host, user=self.postgres.user, db_name=TEMPLATE
        )
        pool = await open_database(settings)
        await pool.close()

    def _without_fsync(self) -> None:
        """Many databases are created quickly; no test cuts the power of the machine."""
        admin = self.postgres.url("postgres")
        with psycopg.connect(admin, autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")


def advoware_variables(twin: AdvowareTwin) -> dict[str, Any]:
    """How the product finds this Advoware, and logs in to it."""
    login = DEFAULT_CREDENTIALS
    return {
        "ADVOWARE_API_BASE_URL": twin.url,
        "ADVOWARE_AUTH_URL": twin.url,
        "ADVOWARE_APP_ID": login.app_id,
        "ADVOWARE_API_KEY": login.api_key,
        "ADVOWARE_KANZLEI": login.kanzlei,
        "ADVOWARE_DATABASE": login.database,
        "ADVOWARE_USER": login.user,
        "ADVOWARE_PASSWORD": login.password,
    }


def espocrm_variables(twin: EspoCRMTwin) -> dict[str, Any]:
    """How the product finds this EspoCRM; its tasks go to the administrator."""
    return {
        "ESPOCRM_API_BASE_URL": f"{twin.url}/api/v1",
        "ESPOCRM_MARVIN_API_KEY": ESPOCRM_TWIN_KEY,
        "VMH_TASK_ASSIGNED_USER_ID": ADMIN_ID,
    }


def google_variables(twin: GoogleTwin, account: Path) -> dict[str, Any]:
    """How the product finds this Google, with the service account in that file."""
    return {
        "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": str(account),
        "GOOGLE_CALENDAR_API_ENDPOINT": twin.url,
    }


def hasty_variables() -> dict[str, Any]:
    """Limits of time for a loop whose clock runs fast (`hasty_loop`)."""
    return {"POSTGRES_TIMEOUT_SECONDS": 10 * HASTE, "REDIS_TIMEOUT_SECONDS": 5 * HASTE}
