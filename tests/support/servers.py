"""PostgreSQL and Redis of a test process, databases in them, and the settings with which the product finds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from hasty_loop import HASTE

from cli import embedded
from cli.system import ESPOCRM_TWIN_KEY
from config import PostgresSettings, Settings, load_settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.advoware.credentials import DEFAULT_CREDENTIALS
from sandbox.espocrm.access import ADMIN_ID
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.google.app import GoogleTwin
from services.core.database import open_database

#: A database to which all migrations were applied; the others are copies of it.
TEMPLATE = "migrated"
#: What changes when tables, columns, rules, triggers or functions do, or the database's own settings, but not by rows.
SCHEMA = """
    SELECT (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_attribute WHERE attrelid >= 16384) AS columns,
           (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_constraint) AS rules,
           (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_trigger) AS triggers,
           (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_index) AS indexes,
           (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_proc) AS functions,
           (SELECT count(*) FROM schema_migration) AS migrations,
           (SELECT count(*) FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
             WHERE d.datname = current_database()) AS settings
"""


@dataclass(frozen=True)
class Stores:
    """The servers of this test process."""

    postgres: embedded.EmbeddedPostgres
    redis: embedded.EmbeddedRedis
    #: Databases of tests that are over, with a connection that stays: a new one takes longer than to remove the rows.
    used: list[tuple[str, psycopg.Connection]] = field(default_factory=list)
    schema: list[Any] = field(default_factory=list)  #: that of the template

    @asynccontextmanager
    async def new_database(self) -> AsyncIterator[str]:
        """A database with all migrations applied and without rows; its name.

        One that was used before is emptied, which takes a fraction of the time; but for one whose tables or settings
        were changed: that is dropped.
        """
        while self.used:
            name, connection = self.used.pop()
            if self._is_emptied(connection):
                break
            connection.close()
            self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        else:
            name = f"test_{uuid4().hex[:12]}"
            self._administer(
                f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY"
            )
            connection = self._connect(name)
        yield name
        self.used.append((name, connection))

    def _is_emptied(self, connection: psycopg.Connection) -> bool:
        """Whether the rows are removed, whoever is still connected; not if tables or settings were changed."""
        try:
            if connection.execute(SCHEMA).fetchone() != self.schema[0]:
                return False
            connection.execute(DISCONNECT)
            connection.execute(EMPTY)
        except psycopg.Error:
            return False
        return True

    def _administer(self, statement: str) -> None:
        with self._connect("postgres") as admin:
            admin.execute(statement)

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.postgres.url(database), autocommit=True)

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """A database without any table, dropped afterwards; its libpq URL."""
        name = f"empty_{uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {name} STRATEGY FILE_COPY")
        yield self.postgres.url(name)
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

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
        self._administer(f"CREATE DATABASE {TEMPLATE} STRATEGY FILE_COPY")
        settings = PostgresSettings(
            host=self.postgres.host, user=self.postgres.user, db_name=TEMPLATE
        )
        pool = await open_database(settings)
        await pool.close()
        with self._connect(TEMPLATE) as connection:
            self.schema.append(connection.execute(SCHEMA).fetchone())

    def _without_fsync(self) -> None:
        """Many databases are created quickly; no test cuts the power of the machine."""
        with self._connect("postgres") as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")


#: Removes all rows, past the trigger that keeps the audit. One statement: a test must not wait for forty. A few rows
#: are deleted, which takes a tenth of the time: a truncated table and its indexes get new files.
EMPTY = """
    DO $$
    DECLARE
        tables text[];
        large text[] := '{}';
        name text;
        has_rows boolean;
        counter text;
    BEGIN
        PERFORM set_config('session_replication_role', 'replica', true);
        SELECT array_agg(format('%I', tablename)) INTO tables FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'schema_migration';
        FOREACH name IN ARRAY tables LOOP
            EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || name || ')' INTO has_rows;
            IF has_rows AND pg_relation_size(name) > 200000 THEN
                large := large || name;
            ELSIF has_rows THEN
                EXECUTE 'DELETE FROM ' || name;
            END IF;
        END LOOP;
        IF large <> '{}' THEN
            EXECUTE 'TRUNCATE ' || array_to_string(large, ', ') || ' CASCADE';
        END IF;
        FOR counter IN SELECT format('%I', sequencename) FROM pg_sequences WHERE last_value IS NOT NULL LOOP
            PERFORM setval(counter::regclass, 1, false);
        END LOOP;
    END $$
"""
#: Ends all other connections.
DISCONNECT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


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


def known_settings(variables: Mapping[str, Any]) -> Settings:
    """The settings of these variables; the worlds, whose workers start again all the time, read them once."""
    return _read_once(tuple(sorted(variables.items())))


@lru_cache(maxsize=64)
def _read_once(variables: tuple[tuple[str, Any], ...]) -> Settings:
    return load_settings(dict(variables))
