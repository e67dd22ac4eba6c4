"""The generations of the old system's table ``calendar_sync``, and how each one stored a row.

Names and types are [A]: only the columns that all of them have are documented.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

Row = dict[str, Any]


@dataclass(frozen=True)
class Generation:
    """One generation.

    Attributes:
        name: for tests and the command line.
        table: the statements that make the table; empty: there was none.
        mark: the private property that holds a Termin's number in its event; empty: there was none.
        stored: a row, which is made with Python's own types, as this table stores it.
    """

    name: str
    table: str
    mark: str
    stored: Callable[[Row], Row]


_COLUMNS: Final = (
    *("sync_id", "employee_kuerzel", "advoware_frnr", "google_event_id"),
    *("source_system", "sync_strategy", "sync_status", "last_sync"),
    *("advoware_write_allowed", "deleted"),
)


def _as_is(row: Row) -> Row:
    return {name: row[name] for name in _COLUMNS}


def _with_times(row: Row) -> Row:
    return {
        **_as_is(row),
        "created_at": row["last_sync"],
        "updated_at": row["last_sync"],
    }


def _as_text(row: Row) -> Row:
    number = row["advoware_frnr"]
    if number is not None:
        number = str(number)
    moment: datetime | None = row["last_sync"]
    if moment is not None:
        moment = moment.replace(tzinfo=None)
    write_allowed = "false"
    if row["advoware_write_allowed"]:
        write_allowed = "true"
    deleted = None
    if row["deleted"]:
        deleted = "true"
    return {
        **_as_is(row),
        "sync_id": str(row["sync_id"]),
        "advoware_frnr": number,
        "last_sync": moment,
        "advoware_write_allowed": write_allowed,
        "deleted": deleted,
    }


def _numbered(row: Row) -> Row:
    stored = _as_is(row)
    del stored["sync_id"]  # a serial number
    stored["deleted"] = int(row["deleted"])
    return stored


GENERATIONS: Final = {
    generation.name: generation
    for generation in (
        Generation("none", "", "", _as_is),
        Generation("unmarked", "", "frNr", _as_is),
        Generation(
            "uuid",
            """
            CREATE TABLE calendar_sync (
                sync_id uuid PRIMARY KEY, employee_kuerzel varchar(10) NOT NULL, advoware_frnr integer,
                google_event_id varchar(255), source_system varchar(20), sync_strategy varchar(50),
                sync_status varchar(20) DEFAULT 'synced', last_sync timestamptz, advoware_write_allowed boolean
                DEFAULT false, deleted boolean DEFAULT false, created_at timestamptz, updated_at timestamptz
            );
            CREATE INDEX calendar_sync_frnr ON calendar_sync (advoware_frnr);
            CREATE UNIQUE INDEX calendar_sync_google ON calendar_sync (google_event_id) WHERE false;
            """,
            "advoware_frnr",
            _with_times,
        ),
        Generation(
            "text",
            """
            CREATE TABLE calendar_sync (
                sync_id text, employee_kuerzel text, advoware_frnr text, google_event_id text, source_system text,
                sync_strategy text, sync_status text, last_sync timestamp, advoware_write_allowed text, deleted text
            );
            """,
            "frNr",
            _as_text,
        ),
        Generation(
            "serial",
            """
            CREATE TABLE calendar_sync (
                sync_id serial PRIMARY KEY, employee_kuerzel varchar(10), advoware_frnr bigint,
                google_event_id varchar, source_system varchar, sync_strategy varchar, sync_status varchar,
                last_sync timestamptz, advoware_write_allowed boolean, deleted smallint DEFAULT 0, note jsonb
            );
            """,
            "",
            _numbered,
        ),
    )
}
