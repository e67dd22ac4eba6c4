"""Everything that is held about a person, to be handed out (Art. 15 DSGVO): tables, queue, Redis, logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.core.database import database_errors
from services.core.resources import Resources
from services.core.store_errors import redis_errors
from services.privacy import logs
from services.privacy.person import Person, find_person
from services.privacy.queue_tables import open_queue

Row = dict[str, Any]
Holdings = dict[str, Any]

#: Not the rows of a record that once had the number and has another one now: that is another person.
_OF_ANOTHER = """EXISTS (SELECT 1 FROM sync_state AS own WHERE own.deleted_at IS NULL
    AND own.entity_type = {table}.entity_type AND own.entity_id = {table}.entity_id
    AND split_part(own.advoware_id, '/', 1) <> ALL($2))"""
#: Of a part with another number now: whether it was not moved, but its CBeteiligte had this number by mistake.
_BY_MISTAKE = """EXISTS (SELECT 1 FROM sync_state AS own
    JOIN sync_state AS holder ON holder.entity_type = 'CBeteiligte'
        AND holder.advoware_id = split_part(own.advoware_id, '/', 1)
    JOIN sync_audit AS former ON former.entity_type = 'CBeteiligte' AND former.entity_id = holder.entity_id
    WHERE former.advoware_id = {number} AND own.deleted_at IS NULL
        AND own.entity_type = {table}.entity_type AND own.entity_id = {table}.entity_id
        AND split_part(own.advoware_id, '/', 1) <> ALL($2))"""
_HAD_NUMBER = """EXISTS (SELECT 1 FROM sync_audit AS former WHERE former.entity_type = 'CBeteiligte'
    AND former.entity_id = ANY($1) AND former.advoware_id = {number})"""
#: A part may be moved to another person: its rows are about whose number they name.
_BY_NUMBER = f"""CASE WHEN entity_type IN ('CAdressen', 'CBankverbindungen') AND {{number}} IS NOT NULL
    THEN ({{number}} = ANY($2) AND NOT {_BY_MISTAKE}) OR (entity_id = ANY($1) AND {_HAD_NUMBER})
    ELSE entity_id = ANY($1) OR ({{number}} = ANY($2) AND NOT {_OF_ANOTHER}) END"""
_BETNR_OF_PROBLEM = "(notification.details->>'betnr')"
_IN_LIST = """EXISTS (SELECT 1 FROM jsonb_path_query(details, '$.records[*].betnr') AS betnr
    WHERE betnr #>> '{}' = ANY($2))"""


def _by_number(table: str, number: str) -> str:
    """Which rows of a table are a person's whose rows name a number in Advoware."""
    return _BY_NUMBER.format(table=table, number=number)


#: The tables with rows of a person, and which rows: $1 the ids in EspoCRM, $2 the betNr.
TABLES: Mapping[str, str] = {
    "sync_state": """entity_id = ANY($1) OR split_part(advoware_id, '/', 1) = ANY($2)
        OR (released_from = ANY($2) AND advoware_id IS NULL)""",
    "create_intent": _by_number(
        "create_intent",
        "split_part(create_intent.advoware_id, '/', 1)",
    ),
    "sync_audit": _by_number(
        "sync_audit",
        "split_part(sync_audit.advoware_id, '/', 1)",
    ),
    "notification": f"{_by_number('notification', _BETNR_OF_PROBLEM)} OR {_IN_LIST}",
    "responsible": "entity_id = ANY($1) OR entity_id = ANY($2)",
    "look_again": "entity_id = ANY($1) OR entity_id = ANY($2)",
    "shadow_write": """flow = 'vmh' AND (
        subject = ANY($1) OR record_id = ANY($1) OR (kind = 'Beteiligte' AND record_id = ANY($2)))""",
    "paused_job": "payload->>'entity_id' = ANY($1) OR payload->>'entity_id' = ANY($2)",
    "operator_action": """split_part(target, '/', 2) = ANY($2) OR EXISTS (
        SELECT 1 FROM unnest($1::text[]) AS id WHERE strpos(target || details::text, id) > 0)""",
}
#: Texts of appointments belong to no record; they are searched by the name.
OVERWRITTEN = "SELECT * FROM calendar_sync_overwritten WHERE strpos(lower(resource::text), lower($1)) > 0"
#: A shorter name stands in texts about anything.
SHORTEST_NAME = 6


async def rows_of(connection: Any, person: Person) -> dict[str, list[Row]]:
    """The rows of a person, by table.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    found: dict[str, list[Row]] = {}
    async with database_errors():
        for table, condition in TABLES.items():
            rows = await connection.fetch(
                f"SELECT * FROM {table} WHERE {condition}",  # noqa: S608 - the two are written above
                person.all_ids,
                list(person.betnrs),
            )
            found[table] = list(map(dict, rows))
        found["calendar_sync_overwritten"] = await _overwritten(connection, found)
    return found


async def _overwritten(connection: Any, found: Mapping[str, list[Row]]) -> list[Row]:
    """The kept events in which the person's whole name stands."""
    events: dict[int, Row] = {}
    for name in _whole_names(found["responsible"]):
        for row in await connection.fetch(OVERWRITTEN, name):
            overwritten_id = row["overwritten_id"]
            events[overwritten_id] = dict(row)
    return list(events.values())


def _whole_names(responsible: Sequence[Row]) -> set[str]:
    """The names of first and last name that are long enough to be searched."""
    names = set()
    for row in responsible:
        name = row["name"] or ""
        if len(name) >= SHORTEST_NAME and " " in name:
            names.add(name)
    return names


async def redis_keys(resources: Resources, person: Person) -> dict[str, str]:
    """The keys whose name holds an id of the person, with what is stored there.

    Raises:
        Unavailable: Redis does not answer.
    """
    found = {}
    with redis_errors("the keys cannot be listed"):
        for redis in (resources.redis, resources.calendar_redis):
            for entity_id in person.all_ids:
                async for key in redis.scan_iter(match=f"*{entity_id}*", count=1000):
                    found[key] = str(await redis.get(key))
    return found


async def export(resources: Resources, given: str, log_directory: Path) -> Holdings:
    """All that is held about a person: ``{"person", "tables", "queue", "redis", "logs"}``, ready for JSON.

    ``queue`` is None if the queue is not in PostgreSQL. ``log_directory`` need not exist.

    Raises:
        InvalidInput, NotFound: see `find_person`.
        Unavailable: PostgreSQL or Redis does not answer.
    """
    pool = await resources.database()
    person = await find_person(pool, given)
    queue = None
    async with open_queue(resources.settings.postgres) as tables:
        if tables is not None:
            queue = await tables.jobs(person.all_ids)
    found = await rows_of(pool, person)
    problems = [_without_others(row, person) for row in found["notification"]]
    return {
        "person": {
            "entity_ids": list(person.entity_ids),
            "betnrs": list(person.betnrs),
            "part_ids": list(person.part_ids),
        },
        "exported_at": resources.clock().isoformat(),
        "tables": {**found, "notification": problems},
        "queue": queue,
        "redis": await redis_keys(resources, person),
        "logs": logs.lines_with(log_directory, person.all_ids),
    }


def _without_others(row: Row, person: Person) -> Row:
    """A problem; of one that is a list of records, the other persons' lines are left out."""
    details = row["details"]
    if "records" not in details:
        return row
    own = [line for line in details["records"] if person.is_named_by(line)]
    return {**row, "details": {**details, "records": own}}


def as_text(holdings: Holdings) -> str:
    """What `export` has found, for people to read."""
    person = holdings["person"]
    entity_ids = ", ".join(person["entity_ids"])
    betnrs = ", ".join(person["betnrs"]) or "-"
    lines = [
        f"Auskunft über gespeicherte Daten, {holdings['exported_at']}",
        f"EspoCRM: {entity_ids}; Advoware: {betnrs}",
    ]
    for table, rows in holdings["tables"].items():
        lines += _section(f"Tabelle {table}", rows)
    queue = holdings["queue"]
    if queue is None:
        lines += ["", "Warteschlange: nicht in PostgreSQL"]
    else:
        lines += _section("Warteschlange", queue)
    redis = holdings["redis"]
    lines += ["", f"Redis: {len(redis)}", *_value_lines(redis)]
    log_lines = holdings["logs"]
    lines += ["", f"Protokolldateien: {len(log_lines)}"]
    for line in log_lines:
        lines.append(f"  {line}")
    return "\n".join(lines)


def _section(title: str, rows: Sequence[Row]) -> list[str]:
    lines = ["", f"{title}: {len(rows)}"]
    for row in rows:
        lines += ["", *_value_lines(row)]
    return lines


def _value_lines(row: Row) -> list[str]:
    lines = []
    for name, value in row.items():
        if value is not None:
            lines.append(f"  {name}: {value}")
    return lines
