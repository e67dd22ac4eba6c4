"""Does the cost grow with the changes or with the size? Queries of crons, board and audit on ever more generated rows.

The product's own functions are called; every query that they send is noted and explained (EXPLAIN ANALYZE) afterwards,
so nothing here repeats a query.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks import machine
from benchmarks.bench import folder
from benchmarks.results import number
from cli import embedded
from config import PROJECT_ROOT, load_settings
from services.calendar_sync.employees import EmployeeStore
from services.calendar_sync.store import CalendarStore
from services.core.database import POOL_SIZE, migrate
from services.core.jobs.look_again import Notes
from services.operate import audit, beteiligte, calendars, overview
from services.operate.sources import Sources
from services.privacy.cleaning import Cleaning
from services.vmh_sync.beteiligte.plan import ENTITY_TYPE
from services.vmh_sync.notification.store import NotificationStore
from services.vmh_sync.store import SyncStore

SIZES = (100, 1_000, 10_000, 100_000)
REPEATS = 3
DOCUMENT = PROJECT_ROOT / "docs" / "scaling.md"
BEGIN = "<!-- begin: written by make curves -->"
END = "<!-- end: written by make curves -->"
PAGE = 200
#: $1 records: Beteiligte with three lines of audit each, and as many appointments with two, 500 for each employee.
#: One in a hundred has a problem, one line in a thousand failed, one record in a thousand is gone, and one appointment
#: in a hundred was deleted.
FILL = (
    """
    INSERT INTO sync_state (entity_type, entity_id, advoware_id, base, synced_at, deleted_at)
    SELECT 'CBeteiligte', lpad(n::text, 17, '0'), n::text, '{"name": {"espocrm": "Muster", "advoware": "Muster"}}',
        now(), CASE WHEN n % 1000 = 0 THEN now() END
    FROM generate_series(1, $1::int) AS n
    """,
    """
    INSERT INTO sync_audit (at, entity_type, entity_id, topic, source, result, duration_ms, advoware_id)
    SELECT now() - (3 * $1::int - n) * interval '60 days' / (3 * $1::int), 'CBeteiligte',
        lpad((1 + n % $1::int)::text, 17, '0'), 'vmh.beteiligte.update', 'webhook',
        CASE WHEN n % 1000 = 7 THEN 'failed' ELSE 'no_change' END, 40,
        (1 + n % $1::int)::text
    FROM generate_series(1, 3 * $1::int) AS n
    """,
    """
    INSERT INTO calendar_sync (sync_id, employee_kuerzel, advoware_frnr, google_event_id, source_system, sync_strategy,
        advoware_write_allowed, sync_status, deleted, deleted_at, last_sync, advoware_hash, google_hash, first_day,
        last_day, created_at, updated_at)
    SELECT gen_random_uuid(), 'K' || n / 500, n, 'event' || n, 'advoware', 'source_system_wins', false, 'synced',
        n % 100 = 0, CASE WHEN n % 100 = 0 THEN now() END, now(), md5(n::text), md5(n::text), current_date,
        current_date, now(), now()
    FROM generate_series(1, $1::int) AS n
    """,
    """
    INSERT INTO calendar_sync_audit
        (at, employee_kuerzel, sync_id, advoware_frnr, google_event_id, side, action, reason)
    SELECT now() - (interval '60 days') * random(), employee_kuerzel, sync_id, advoware_frnr, google_event_id, 'google',
        CASE WHEN advoware_frnr % 1000 = 7 THEN 'protected' ELSE 'created' END, 'new'
    FROM calendar_sync, generate_series(1, 2) WHERE $1::int > 0 ORDER BY random()
    """,
    """
    INSERT INTO calendar_sync_run (employee_kuerzel, result, ended_at, succeeded_at)
    SELECT DISTINCT employee_kuerzel, 'no_change', now(), now() FROM calendar_sync WHERE $1::int > 0
    """,
    """
    INSERT INTO calendar_sync_cursor (employee_kuerzel, calendar_id, updated_at)
    SELECT DISTINCT employee_kuerzel, employee_kuerzel, now() FROM calendar_sync WHERE $1::int > 0
    """,
    """
    INSERT INTO notification (problem_key, entity_type, entity_id, action_type, details, fingerprint, task_id,
        started_at, attempted_at)
    SELECT 'p' || n, 'CBeteiligte', lpad((100 * n)::text, 17, '0'), 'conflict', '{"reason": "x"}', 'f', 't' || n, now(),
        now()
    FROM generate_series(1, $1::int / 100) AS n
    """,
    """
    INSERT INTO operator_action (at, who, action, target, result)
    SELECT now() - n * interval '1 minute', 'board:ada', 'retry', 'CBeteiligte/' || n, 'done'
    FROM generate_series(1, $1::int / 10) AS n
    """,
)
#: What asyncpg itself sends when a connection goes back into the pool.
_RESET = "pg_advisory_unlock_all"
_QUERIES = ("SELECT", "(SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Cost:
    """What the queries of one question take: milliseconds in PostgreSQL, rows read."""

    milliseconds: float
    rows: float


Question = Callable[[], Awaitable[Any]]
Curves = dict[str, dict[int, Cost]]


def questions(sources: Sources, pool: asyncpg.Pool) -> dict[str, Question]:
    """What is asked, by its name in the table."""
    resources = sources.resources
    states, pairs = SyncStore(pool), CalendarStore(pool)
    kind, entity_id, now = ENTITY_TYPE, f"{17:017d}", resources.now()
    return {
        "cron: next Beteiligte to look for": lambda: states.live_entities(
            kind, "", PAGE
        ),
        "cron: look again": lambda: Notes(pool).left_behind(kind, now, PAGE),
        "cron: problems without a Task": lambda: NotificationStore(pool).unfinished(
            now, PAGE
        ),
        "cron: employees with a calendar": EmployeeStore(pool).occupied,
        "one calendar: anything new?": lambda: pairs.pairs_digest("K0"),
        "one calendar: its pairs": lambda: pairs.load_pairs("K0"),
        "night: remove what is old, nothing is": Cleaning(resources=resources).run,
        "one Beteiligter: state": lambda: states.load(kind, entity_id),
        "one Beteiligter: neighbours of a number": lambda: states.neighbours(
            kind, 17, 3
        ),
        "one Beteiligter: parts": lambda: states.load_parts("CAdressen", "17", "17"),
        "board: overview": lambda: overview.overview(sources),
        "board: Beteiligte, EspoCRM away": lambda: beteiligte.beteiligte_view(
            sources, "", "", 1
        ),
        "board: failed ones, EspoCRM away": lambda: beteiligte.beteiligte_view(
            sources, "failed", "", 1
        ),
        "board: one Beteiligter": lambda: beteiligte.beteiligter_view(
            sources, entity_id, 1
        ),
        "board: runs of a topic": lambda: beteiligte.runs_view(
            sources, "vmh.beteiligte.update", 1
        ),
        "board: calendars": lambda: calendars.calendars_view(sources, "", "", 1),
        "board: one calendar": lambda: calendars.calendar_view(sources, "K0", 1),
        "board: one appointment": lambda: calendars.appointment_view(sources, "17", 1),
        "board: actions": lambda: audit.list_actions(resources),
        "audit: history of a Termin": lambda: pairs.history(frnr=17),
        "audit: numbers of all employees": pairs.statistics,
    }


async def curves(sizes: tuple[int, ...], migrations: Path | None = None) -> Curves:
    """The cost of each question at each size. ``migrations``: another folder of them, to compare."""
    found: Curves = {}
    async with folder() as data, embedded.postgres(data / "pg") as server:
        for size in sizes:
            costs = await _at(server, size, migrations)
            for name, cost in costs.items():
                found.setdefault(name, {})[size] = cost
            sys.stdout.write(f"{size:,} records: done\n")
            sys.stdout.flush()
    return found


async def _at(
    server: embedded.EmbeddedPostgres, size: int, migrations: Path | None
) -> dict[str, Cost]:
    name = f"curve_{size}"
    admin = await asyncpg.connect(server.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    if migrations is not None:
        async with asyncpg.create_pool(server.url(name), min_size=1) as other:
            await migrate(other, migrations)
    settings = load_settings(
        {
            "POSTGRES_HOST": server.host,
            "POSTGRES_USER": server.user,
            "POSTGRES_DB_NAME": name,
            "REDIS_PORT": embedded.free_port(),
            "III_URL": f"ws://127.0.0.1:{embedded.free_port()}",
            "ESPOCRM_API_BASE_URL": "",
            "ADVOWARE_APP_ID": "",
        },
        env_file="",
    )
    async with Sources(settings) as sources:
        pool = await sources.resources.database()
        await fill(pool, size)
        return await costs(sources, pool)


async def fill(pool: asyncpg.Pool, size: int) -> None:
    """Generate so many records, and let PostgreSQL look at them."""
    for statement in FILL:
        await pool.execute(statement, size, timeout=600)
    await pool.execute("VACUUM ANALYZE", timeout=600)


async def costs(sources: Sources, pool: asyncpg.Pool) -> dict[str, Cost]:
    """The cost of each question."""
    asked: list[Any] = []
    await _watch(pool, asked.append)
    found = {}
    for name, ask in questions(sources, pool).items():
        asked.clear()
        await ask()
        sent = [query for query in asked if _is_of_the_question(query.query)]
        found[name] = await _explained(pool, sent)
    return found


def _is_of_the_question(query: str) -> bool:
    return query.lstrip().startswith(_QUERIES) and _RESET not in query


async def _watch(pool: asyncpg.Pool, note: Callable[[Any], None]) -> None:
    """Let each connection of the pool report what it is asked."""
    connections = [await pool.acquire() for _ in range(POOL_SIZE)]
    for connection in connections:
        connection.add_query_logger(note)
        await pool.release(connection)


async def _explained(pool: asyncpg.Pool, queries: list[Any]) -> Cost:
    milliseconds, rows = 0.0, 0.0
    for sent in queries:
        plans = [await _explain(pool, sent.query, sent.args) for _ in range(REPEATS)]
        milliseconds += min(plan["Execution Time"] for plan in plans)
        rows += _rows_read(plans[0]["Plan"])
    return Cost(milliseconds, rows)


async def _explain(pool: asyncpg.Pool, query: str, values: Any) -> dict[str, Any]:
    """How PostgreSQL does it; what it would change is undone."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SET LOCAL bitbylaw.cleaning = 'on'")
            text = await connection.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values
            )
        finally:
            await transaction.rollback()
    plan: dict[str, Any] = json.loads(text)[0]
    return plan


def _rows_read(node: dict[str, Any]) -> float:
    """The rows that the plan reads from tables and indexes, also those that it drops."""
    rows = 0.0
    is_scan = "Scan" in node["Node Type"] and "Relation Name" in node
    if is_scan:
        dropped = node.get("Rows Removed by Filter", 0)
        again = node.get("Rows Removed by Index Recheck", 0)
        rows = node["Actual Loops"] * (node["Actual Rows"] + dropped + again)
    return rows + sum(_rows_read(part) for part in node.get("Plans", []))


def table(found: Curves, sizes: tuple[int, ...]) -> list[str]:
    """The lines of a table: milliseconds and rows read at each size, and how many times as many at the last one."""
    headings = ["what", *(f"{size:,}: ms" for size in sizes)]
    headings += [*(f"{size:,}: rows" for size in sizes), "rows, last to first"]
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    for name, by_size in found.items():
        measured = [by_size[size] for size in sizes]
        cells = [name, *(number(cost.milliseconds) for cost in measured)]
        cells += [f"{cost.rows:,.0f}" for cost in measured]
        growth = measured[-1].rows / max(1, measured[0].rows)
        lines.append(f"| {' | '.join([*cells, f'x {number(growth)}'])} |")
    return lines


def write_document(lines: list[str], document: Path = DOCUMENT) -> None:
    """Replace what lies between the two marks."""
    text = document.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    document.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}")


def main() -> None:
    """Measure, print the table, write it into docs/scaling.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--migrations", type=Path, help="another folder of migrations")
    given = parser.parse_args()
    sizes = tuple(int(size) for size in given.sizes.split(","))
    lines = table(asyncio.run(curves(sizes, given.migrations)), sizes)
    sys.stdout.write("\n".join(lines) + "\n")
    if sizes == SIZES and given.migrations is None:
        facts = ", ".join(f"{name} {value}" for name, value in machine.about().items())
        write_document([f"{facts}.", "", *lines])


if __name__ == "__main__":
    main()
