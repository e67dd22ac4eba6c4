"""Who is meant by a betNr or an id of EspoCRM: all records and numbers of one person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.core.database import database_errors
from services.core.errors import InvalidInput, NotFound

ENTITY_TYPE = "CBeteiligte"
_BETNR = re.compile(r"\d{1,12}")
_ID = re.compile(r"[0-9A-Za-z-]{1,36}")

_IDS_OF_BETNR = """
SELECT entity_id FROM sync_state WHERE entity_type = 'CBeteiligte' AND advoware_id = $1
UNION SELECT entity_id FROM (
    SELECT entity_id FROM create_intent WHERE entity_type = 'CBeteiligte' AND advoware_id = $1
    UNION SELECT entity_id FROM sync_audit WHERE entity_type = 'CBeteiligte' AND split_part(advoware_id, '/', 1) = $1
) AS former
WHERE NOT EXISTS (
    SELECT 1 FROM sync_state AS own WHERE own.entity_type = 'CBeteiligte' AND own.deleted_at IS NULL
        AND own.entity_id = former.entity_id AND own.advoware_id <> $1)
"""
_BETNRS_OF_ID = """
SELECT advoware_id AS betnr FROM (
    SELECT advoware_id FROM sync_state WHERE entity_type = 'CBeteiligte' AND entity_id = $1
    UNION SELECT advoware_id FROM create_intent WHERE entity_type = 'CBeteiligte' AND entity_id = $1
    UNION SELECT advoware_id FROM sync_audit WHERE entity_type = 'CBeteiligte' AND entity_id = $1
) AS known
WHERE advoware_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM sync_state AS other WHERE other.entity_type = 'CBeteiligte' AND other.deleted_at IS NULL
        AND other.advoware_id = known.advoware_id AND other.entity_id <> $1)
"""
#: A part may have been moved to another person: what it has left behind (``<id>@<link>``) names the new one.
_PARTS = """
SELECT entity_id FROM sync_state WHERE entity_type IN ('CAdressen', 'CBankverbindungen')
    AND (split_part(advoware_id, '/', 1) = ANY($2) OR (released_from = ANY($2) AND advoware_id IS NULL)
        OR (base->>'beteiligteId' = ANY($1) AND strpos(entity_id, '@') = 0))
UNION SELECT entity_id FROM sync_audit AS former WHERE entity_type IN ('CAdressen', 'CBankverbindungen')
    AND split_part(advoware_id, '/', 1) = ANY($2) AND NOT EXISTS (
        SELECT 1 FROM sync_state AS own WHERE own.entity_type = former.entity_type AND own.deleted_at IS NULL
            AND own.entity_id = former.entity_id AND split_part(own.advoware_id, '/', 1) <> ALL($2))
"""
_IS_KNOWN = """
SELECT EXISTS (SELECT 1 FROM sync_state WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM create_intent WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM sync_audit WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM notification WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM responsible WHERE entity_id = $1)
"""


@dataclass(frozen=True)
class Person:
    """The records of one person: CBeteiligte, their numbers in Advoware, and the parts that belong to them."""

    entity_ids: tuple[str, ...]
    betnrs: tuple[str, ...]
    part_ids: tuple[str, ...]

    @property
    def all_ids(self) -> list[str]:
        """The ids of all records in EspoCRM."""
        return [*self.entity_ids, *self.part_ids]

    def is_named_by(self, line: Mapping[str, Any]) -> bool:
        """Whether a line of a task about many records is about this person."""
        return str(line.get("betnr")) in self.betnrs


async def find_person(pool: asyncpg.Pool, given: str) -> Person:
    """Find a person by betNr or by the id of the CBeteiligte.

    A number that another living record has now is that record's, and not of the one that had it before; a record that
    has another number now is not found by its former one.

    Raises:
        InvalidInput: it is neither a number nor an id.
        NotFound: nothing is held about it.
        Unavailable: PostgreSQL does not answer.
    """
    async with database_errors():
        ids, betnrs = await _linked_with(pool, given)
        part_ids = await _column(pool, _PARTS, list(ids), list(betnrs))
        if not part_ids and not await _is_any_known(pool, ids):
            raise NotFound("BitByLaw", f"nothing is held about {given}")
    return Person(
        entity_ids=tuple(sorted(ids)),
        betnrs=tuple(sorted(betnrs)),
        part_ids=tuple(sorted(part_ids)),
    )


async def _is_any_known(pool: asyncpg.Pool, ids: set[str]) -> bool:
    for entity_id in ids:
        if await pool.fetchval(_IS_KNOWN, entity_id):
            return True
    return False


async def _column(pool: asyncpg.Pool, query: str, *values: Any) -> set[str]:
    """The different values of a query's only column."""
    return {row[0] for row in await pool.fetch(query, *values)}


async def _linked_with(pool: asyncpg.Pool, given: str) -> tuple[set[str], set[str]]:
    """The ids of the CBeteiligte and the numbers that belong to a given number or id."""
    if _BETNR.fullmatch(given):
        ids = await _column(pool, _IDS_OF_BETNR, given)
        return ids, {given}
    if _ID.fullmatch(given):
        betnrs = await _column(pool, _BETNRS_OF_ID, given)
        return {given}, betnrs
    raise InvalidInput("neither a betNr (digits) nor the id of a record in EspoCRM")
